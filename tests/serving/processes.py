"""Services as processes of their own, for tests: started on free ports, told to stop."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Start = Callable[..., tuple[subprocess.Popen[str], str]]


@contextmanager
def starting(home: Path) -> Iterator[Start]:
    """Start ``python -m serving ...`` on a free port; the process and its address. All end with the block.

    What a process logs is in ``home``, in a file of the service's name.
    """
    started = []

    def run(*arguments: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
        with (home / f"{arguments[0]}.log").open("w") as log:  # a pipe that nobody reads fills up
            process = subprocess.Popen(
                [sys.executable, "-m", "serving", *arguments, "--port", "0"],
                env=os.environ
                | {"IMGSEARCH_HOME": str(home), "IMGSEARCH_POLL_INTERVAL_S": "0.05"}
                | environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        started.append(process)
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("listening on 127.0.0.1:"), (home / f"{arguments[0]}.log").read_text()
        return process, said.split()[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def stopped(process: subprocess.Popen[str], log: Path, signum: int = signal.SIGTERM) -> list[dict]:
    """Tell a process to stop, see that it ends well; the lines of its log."""
    process.send_signal(signum)
    said, _ = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, ""), log.read_text()
    lines = log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]  # gRPC's core has words of its own
