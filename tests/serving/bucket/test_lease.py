"""Holders of a lease that come late: frozen by SIGSTOP while another takes over."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.errors import Conflict, NotFound, Unavailable
from serving.object_store import ObjectStore
from tests.between import Answer, Request, between
from tests.gcs_process import BUCKET, EMULATOR, GcsProcess
from tests.stores import opened

ROOT = Path(__file__).resolve().parents[3]

# Stops itself, as a frozen machine does, before or after it noted that it is about to write the pointer.
LATE = """
import os, signal, sys
from pathlib import Path

from serving.bucket.blobs import Blobs
from serving.errors import Conflict
from tests.stores import opened

when, write = sys.argv[3], Blobs.write


def freeze(at):
    if at == when:
        os.kill(os.getpid(), signal.SIGSTOP)


def late_write(self, name, *arguments, **options):
    if name == "pointer":
        freeze("noted")
    return write(self, name, *arguments, **options)


Blobs.write = late_write
store = opened(sys.argv[1], Path(sys.argv[2]))
try:
    with store.exclusive("generations"):
        seen = store.version("pointer")
        freeze("unnoted")
        store.compare_and_set("pointer", b"late", seen)
except Conflict as error:
    print(error, flush=True)
"""

GONE = "generations is held by another process by now: this one did not answer in time\n"
CHANGED = "pointer was changed by another writer\n"


@pytest.fixture
def here(gcs: GcsProcess, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(EMULATOR, gcs.url)
    return f"gs://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def store(here: str, tmp_path: Path) -> Iterator[ObjectStore]:
    found = opened(here, tmp_path / "cache")
    yield found
    found.close()  # type: ignore[attr-defined]


def test_a_late_holder_writes_nothing(here: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = [("unnoted", b"before", GONE), ("noted", b"before", CHANGED), ("noted", None, CHANGED)]
    late = []
    for number, (when, before, _) in enumerate(cases):  # all at once: they take a second to start
        own = f"{here}/{number}"
        store = opened(own, tmp_path / "cache")
        if before is not None:
            store.put("pointer", before)
        command = [sys.executable, "-c", LATE, own, str(tmp_path / "cache"), when]
        late.append((store, subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)))
    for (store, process), (_, before, said) in zip(late, cases, strict=True):
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        with store.exclusive("generations"):  # which leaves the pointer as it is
            process.send_signal(signal.SIGCONT)
            assert process.communicate(timeout=60)[0] == said
        assert caplog.records.pop().getMessage().startswith("generations was held by ")
        assert store.exists("pointer") == (before is not None)
        if before is None:
            with pytest.raises(NotFound, match="there is no object pointer"):
                store.get("pointer")
        else:
            assert store.get("pointer") == before
        store.compare_and_set("pointer", b"after", store.version("pointer"))
        assert store.get("pointer") == b"after"
        store.close()  # type: ignore[attr-defined]


def test_a_holder_of_whose_write_nothing_was_heard_does_not_give_back(
    gcs: GcsProcess, store: ObjectStore, here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write may be under way; who comes next sees to it that it does not arrive."""
    store.put("pointer", b"before")
    away = False

    def network(request: Request, ask: Callable[[], Answer]) -> Answer | None:
        nonlocal away
        answer = ask()
        away = away or (request.method == "POST" and b'"name":"' in answer[2] and b'pointer"' in answer[2])
        return None if away else answer

    with between(network, lambda _: gcs.url) as url:
        monkeypatch.setenv(EMULATOR, url)
        holder = opened(here, tmp_path / "holder", within_s=0.1)
        version = holder.version("pointer")
        with pytest.raises(Unavailable, match="does not answer"), holder.exclusive("generations"):
            holder.compare_and_set("pointer", b"unheard of", version)
        holder.close()  # type: ignore[attr-defined]
    assert store.get("pointer") == b"unheard of"
    heard = store.version("pointer")
    with store.exclusive("generations"):
        assert store.version("pointer") != heard, "what came later would be refused"
        with pytest.raises(Conflict):
            store.compare_and_set("pointer", b"x", heard)
