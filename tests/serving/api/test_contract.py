"""Whatever the description allows, and what it does not, against the running front: Schemathesis."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

# A model that reads no text is told as 501. What is refused though the schema allows it: a picture that is
# none, prices or sides in the wrong order, two sources at once.
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2XX", "4XX", 501]
[checks.positive_data_acceptance]
expected-statuses = ["2XX", 304, 400, 404, 409, 422, 501]
"""


def test_every_operation_keeps_to_the_description(house: Any, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    run = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            *("run", f"{house.url}/openapi.json", "--checks", "all", "--mode", "all", "--seed", "1"),
            *("--max-examples", "40", "--continue-on-failure", "--no-color"),
        ],
        cwd=tmp_path,
        env=os.environ
        | {
            "PYTHONPATH": str(Path(__file__).parent),
            "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
            "PICTURE_HOST": house.picture_host,
        },
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert run.returncode == 0, run.stdout
    tested = re.search(r"Tested: (\d+)", run.stdout)
    assert tested is not None
    assert int(tested[1]) == len(house.http.get("/openapi.json").json()["paths"])
