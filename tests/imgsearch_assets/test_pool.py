import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from imgsearch_assets.pool import processes

_PARENT = """
import os, time
from imgsearch_assets.pool import processes
if __name__ == "__main__":
    with processes() as pool:
        print(*pool.map(pid, range(4)), flush=True)
        time.sleep(60)
"""


def own(_: int) -> int:
    return os.getpid()


def test_they_are_others() -> None:
    with processes() as pool:
        assert os.getpid() not in set(pool.map(own, range(4)))


@pytest.mark.slow
def test_none_is_left_when_their_parent_is_killed(tmp_path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT.replace("if __name__", "def pid(_):\n    return os.getpid()\nif __name__"))
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = {int(pid) for pid in parent.stdout.readline().split()}
    assert workers
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not any(psutil.pid_exists(pid) for pid in workers):
            break
        time.sleep(0.1)
    assert not [pid for pid in workers if psutil.pid_exists(pid)]
