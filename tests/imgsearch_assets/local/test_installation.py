import os
import shutil
import socket
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from imgsearch_assets.local.installation import Ports, check_home, only_one
from imgsearch_assets.local.processes import free_port
from serving.errors import BadSettings

Usage = namedtuple("Usage", "total used free")


def test_a_taken_port_is_named_with_the_option_that_moves_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadSettings) as error:
            Ports(api=free_port(), dagster=port, pictures=free_port()).check()
    assert error.value.message == f"port {port} is taken; free it or choose another with --dagster-port"


def test_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 5 * 2**20))
    with pytest.raises(BadSettings) as error:
        check_home(tmp_path)
    assert error.value.message == (
        f"5 MiB are free for {tmp_path}, 1024 MiB are needed; free some or choose another folder with --home"
    )


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSettings) as error:
        check_home(tmp_path / "file" / "home")
    assert error.value.message == (
        f"cannot make the folder {tmp_path}/file/home: Not a directory; choose another with --home"
    )


HOLD = (
    "import sys,time; from pathlib import Path; from imgsearch_assets.local.installation import only_one\n"
    "with only_one(Path(sys.argv[1])):\n"
    "    print('held', flush=True); time.sleep(60)\n"
)


def test_a_home_has_one_owner_and_is_free_when_that_one_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(BadSettings) as error, only_one(tmp_path):
            pass
        owner.kill()
    assert error.value.message == (
        f"process {owner.pid} already works in {tmp_path}; stop it or choose another with --home"
    )
    with only_one(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())
