import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from imgsearch_assets.local.processes import ProcessGroup, answers, free_port, port_is_free
from serving.errors import Unavailable

SERVER = "import socket,sys,time; s=socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def wait_free(port: int) -> None:
    """Until nobody listens there: a process may be dead for a while before it is gone from the list."""
    deadline = time.monotonic() + 20
    while not port_is_free(port):
        assert time.monotonic() < deadline, f"somebody still listens on port {port}"
        time.sleep(0.05)


def test_children_are_ready_then_stopped_with_the_block(tmp_path: Path) -> None:
    port = free_port()
    with ProcessGroup(tmp_path / "logs", {}) as group:
        group.start("server", python(SERVER, port))
        group.wait_ready("server", answers(port), timeout_s=20)
        assert not port_is_free(port)
        assert group.ended() is None
    assert port_is_free(port)


def test_a_child_that_ends_while_starting_is_named_with_its_last_words(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path, {"WORD": "no disk"}) as group:
        group.start("sorter", python("import os,sys; sys.exit(os.environ['WORD'])"))
        with pytest.raises(Unavailable) as error:
            group.wait_ready("sorter", lambda: False, timeout_s=20)
    log = tmp_path / "sorter.log"
    assert error.value.message == (
        f"sorter ended with status 1 while starting; the last line of {log} is: no disk"
    )


FORKS = (
    "import subprocess, sys, time\n"
    f"child = subprocess.Popen([sys.executable, '-c', {SERVER!r}, sys.argv[1]])\n"
    "time.sleep(60)"
)


def test_what_a_killed_child_had_started_is_ended_too(tmp_path: Path) -> None:
    port = free_port()
    with ProcessGroup(tmp_path, {}) as group:
        group.start("parent", python(FORKS, port))
        group.wait_ready("parent", answers(port), timeout_s=20)
        parent = next(child for child in psutil.Process().children() if str(port) in child.cmdline())
        parent.kill()
        while group.ended() is None:
            time.sleep(0.05)
        group.forget("parent")
    wait_free(port)


SAYS = "import time; print('warming up'); print('listening on 127.0.0.1:7', flush=True); time.sleep(60)"


def test_the_address_is_that_of_this_start(tmp_path: Path) -> None:
    (tmp_path / "speaker.log").write_text("listening on 127.0.0.1:1\n")
    with ProcessGroup(tmp_path, {}) as group:
        group.start("speaker", python(SAYS))
        assert group.wait_address("speaker", timeout_s=20) == "127.0.0.1:7"


def test_somebody_elses_port_is_not_readiness(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path, {}) as group:
        group.start("short", python("raise SystemExit('taken')"))
        while group.ended() is None:
            time.sleep(0.05)
        with pytest.raises(Unavailable, match="short ended with status 1 while starting"):
            group.wait_ready("short", lambda: True, timeout_s=20)


def test_a_child_that_is_never_ready(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path, {}) as group:
        group.start("sleeper", python("import time; time.sleep(60)"))
        with pytest.raises(Unavailable, match=r"sleeper was not ready after 0 s; .*sleeper.log is empty"):
            group.wait_ready("sleeper", lambda: False, timeout_s=0.3)


def test_a_child_that_ended_later_is_named(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path, {}) as group:
        group.start("short", python("pass"))
        deadline = time.monotonic() + 20
        while group.ended() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert group.ended() == "short"
        group.forget("short")
        assert group.ended() is None


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_children_of_a_killed_parent_are_stopped(tmp_path: Path) -> None:
    port = free_port()
    code = (
        "import sys,time; from pathlib import Path; from imgsearch_assets.local.processes import *\n"
        f"with ProcessGroup(Path({str(tmp_path)!r}), {{}}) as g:\n"
        f"    g.start('server', [sys.executable, '-c', {SERVER!r}, '{port}'])\n"
        f"    g.wait_ready('server', answers({port}), 20)\n"
        "    print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(python(code), stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        os.kill(parent.pid, signal.SIGKILL)
    wait_free(port)
