"""A test that is skipped fails CI, unless it needs a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = """
import os
from tests.skipped import Skipped

def pytest_configure(config):
    if os.environ.get("CI"):
        config.pluginmanager.register(Skipped())
"""


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("@pytest.mark.skipif(True, reason='needs a GPU')\ndef test(): ...", 0),
        ("@pytest.mark.skip(reason='no network')\ndef test(): ...", 1),
        ("def test(): pytest.skip('no network')", 1),
        ("pytest.skip('no network', allow_module_level=True)", 1),
        ("pytest.importorskip('no_such_module', reason='no network')", 1),
        ("@pytest.fixture\ndef gone(): pytest.skip('no network')\ndef test(gone): ...", 1),
        ("@pytest.mark.xfail\ndef test(): assert False", 0),
        ("def test(): ...", 0),
    ],
)
@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "1")], ids=["alone", "with workers"])
def test_in_ci(tmp_path: Path, code: str, status: int, workers: tuple[str, ...]) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(f"import pytest\n{code}\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        *workers,
        str(tmp_path),
    ]
    told = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "PYTEST"))}
    told |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, env=told | {"CI": "1"}, capture_output=True, text=True)
    assert done.returncode == status, done.stdout
    assert ("in CI no test may be skipped: " in done.stdout) == bool(status)
    if status:
        assert "no network" in done.stdout
        assert subprocess.run(command, env=told, capture_output=True).returncode in (0, 5)


def test_ci_says_that_it_is_one() -> None:
    assert "export CI=1" in (ROOT / ".ci/run").read_text()
    assert "Skipped()" in (ROOT / "tests/conftest.py").read_text()
