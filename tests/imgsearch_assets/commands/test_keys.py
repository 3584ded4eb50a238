import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imgsearch_assets.cli import app
from serving.errors import Unauthenticated
from serving.identity.keys import Key
from serving.identity.store import read_keys
from serving.object_store import LocalObjectStore

run = CliRunner().invoke


@pytest.fixture
def home(tmp_path: Path) -> list[str]:
    (tmp_path / "objects").mkdir()
    return ["--home", str(tmp_path)]


def holder(home: list[str], told: str, scope: str, environment: str = "local") -> str:
    known = read_keys(LocalObjectStore(Path(home[1]) / "objects"), environment)
    return known.holder(told, scope, time.time()).id


def keys(home: list[str]) -> tuple[Key, ...]:
    return read_keys(LocalObjectStore(Path(home[1]) / "objects"), "local").keys


def test_a_key_from_the_first_day_to_the_last(home: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run(app, ["keys", "list", *home]).output == "there is no API key in local yet\n"
    done = run(app, ["keys", "create", *home, "--name", "till 7", "--scope", "search", "--rate", "5/second"])
    told = done.stdout.strip()
    key_id = told[5:17]
    assert (done.exit_code, done.stderr) == (
        0,
        f"API key {key_id}; keep it now, it is not shown again:\n",
    )
    assert holder(home, told, "search") == key_id
    both = run(
        app,
        ["keys", "create", *home, "--name", "Ada", "--scope", "search", "--scope", "admin", "--days", "2"],
    ).stdout.strip()
    assert holder(home, both, "search") == holder(home, both, "admin") == both[5:17]

    turned = run(app, ["keys", "rotate", key_id, *home, "--grace-s", "60"])
    assert holder(home, turned.stdout.strip(), "search") == holder(home, told, "search") == key_id
    assert turned.stderr.endswith("the old secret works for 60 s more\n")
    (earlier,) = [key.earlier for key in keys(home) if key.id == key_id]
    assert earlier is not None
    until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(earlier.until))
    monkeypatch.setenv("COLUMNS", "250")
    assert f"│ active; the old secret too, until {until} │" in run(app, ["keys", "list", *home]).output
    monkeypatch.setenv("COLUMNS", "160")
    gone = run(app, ["keys", "revoke", key_id, *home])
    assert (gone.exit_code, gone.output) == (0, f"{key_id} is revoked in local\n")
    with pytest.raises(Unauthenticated, match="was revoked"):
        holder(home, turned.stdout.strip(), "search")

    lines = run(app, ["keys", "list", *home]).output.splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert rows[0] == [key_id, "till 7", "search", "5/second", today, "", "revoked"]
    assert rows[1][:5] == [both[5:17], "Ada", "admin, search", "default", today]
    assert rows[1][6] == "active"


def test_each_environment_has_its_own(home: list[str]) -> None:
    create = ["keys", "create", *home, "--name", "a", "--scope", "search"]
    told = run(app, [*create, "--environment", "production"]).stdout.strip()
    assert holder(home, told, "search", "production") == told[5:17]
    with pytest.raises(Unauthenticated, match="this API key is not known here"):
        holder(home, told, "search")
    wrong = run(app, [*create, "--environment", "moon"])
    assert wrong.exit_code == 2
    assert "'moon' is not one of 'local', 'staging', 'production'" in wrong.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["create", "--name", "a", "--scope", "root"], "scopes: Input should be 'search' or 'admin'"),
        (
            ["create", "--name", "a", "--scope", "search", "--rate", "lots"],
            "rate: a rate is as in 10/second or 600/minute, or 0 for none",
        ),
        (["revoke", "0123456789ab"], "there is no API key 0123456789ab"),
        (["rotate", "0123456789ab"], "there is no API key 0123456789ab"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(home: list[str], command: list[str], said: str) -> None:
    done = run(app, ["keys", *command, *home])
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"imgsearch: {said}\n")
    nowhere = run(app, ["keys", *command, "--home", f"{home[1]}/typo"])
    assert "typo/objects is not there; expected is the folder of an installation" in nowhere.stderr
