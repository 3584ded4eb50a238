"""Child processes of a local installation: started in order, watched together, stopped together."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serving.errors import Unavailable

# Long enough for a service to drain its calls and for Dagster to close its runs.
STOP_GRACE_S = 15.0
_PR_SET_PDEATHSIG = 1
_LISTENING = "listening on "
_LIBC = ctypes.CDLL(None)  # looked up here: between fork and exec there is no time for an import


def _mortal() -> None:
    """Run in the child before its program: it can be told to stop, and stops when its parent is gone.

    A parent may ignore signals (a shell's background job does, and so does what Dagster makes of one), and a
    child would go on doing so. The kernel tells of a parent's end, even by SIGKILL, on Linux only.
    """
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, signal.SIG_DFL)
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _kill_group(pid: int) -> None:
    """End what is left of a child's session: a child that was killed leaves its own children behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:``port``."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def answers(port: int) -> Callable[[], bool]:
    """A readiness check: something accepts connections on 127.0.0.1:``port``."""

    def check() -> bool:
        with socket.socket() as client:
            client.settimeout(0.5)
            return client.connect_ex(("127.0.0.1", port)) == 0

    return check


@dataclass
class ProcessGroup:
    """Children whose output goes to ``logs/<name>.log``; all are stopped when the block ends."""

    logs: Path
    environment: Mapping[str, str]
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _started_at: dict[str, int] = field(default_factory=dict)  # bytes of each log before this start

    def __enter__(self) -> "ProcessGroup":
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str], **environment: str) -> None:
        """Start ``command``; ``environment`` is added to the group's."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self._started_at[name] = log.tell()
            self._children[name] = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment, **environment},
                # Ctrl-C reaches the terminal's whole group; the children are stopped by us, in order.
                start_new_session=True,
                preexec_fn=_mortal,
            )

    def wait_ready(self, name: str, ready: Callable[[], object], timeout_s: float) -> None:
        """Return once ``ready()``. Raises ``Unavailable`` when the child ends first or the time is over."""
        deadline = time.monotonic() + timeout_s
        while True:
            is_ready = ready()
            # Asked afterwards: what answers at a child's port need not be the child.
            status = self._children[name].poll()
            if status is not None:
                raise Unavailable(
                    f"{name} ended with status {status} while starting; {self._last_words(name)}"
                )
            if is_ready:
                return
            if time.monotonic() > deadline:
                raise Unavailable(f"{name} was not ready after {timeout_s:.0f} s; {self._last_words(name)}")
            time.sleep(0.1)

    def wait_address(self, name: str, timeout_s: float) -> str:
        """The host:port that a child says it is ``listening on``. Raises what ``wait_ready`` raises."""

        def said() -> str | None:
            with (self.logs / f"{name}.log").open(errors="replace") as log:
                log.seek(self._started_at[name])
                found = [line for line in log if line.startswith(_LISTENING)]
            return found[0].removeprefix(_LISTENING).strip() if found else None

        self.wait_ready(name, said, timeout_s)
        return said() or ""

    def ended(self) -> str | None:
        """The name of a child that is no longer running, if there is one."""
        return next((name for name, child in self._children.items() if child.poll() is not None), None)

    def forget(self, name: str) -> None:
        """No longer watch a child that has ended, nor leave anything that it had started."""
        _kill_group(self._children.pop(name).pid)

    def _last_words(self, name: str) -> str:
        log = self.logs / f"{name}.log"
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return f"the last line of {log} is: {lines[-1][:500]}" if lines else f"{log} is empty"

    def stop(self) -> None:
        """SIGTERM to every child, last started first; SIGKILL to what is left after ``STOP_GRACE_S``."""
        for child in reversed(self._children.values()):
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + STOP_GRACE_S
        for child in reversed(self._children.values()):
            try:
                child.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            _kill_group(child.pid)
        self._children.clear()
