"""One holder at a time of something that all machines can see, however holders end.

A lease is an object without content. It is taken by writing it in the place of the generation that was seen
(0: of none), so of two takers one is refused; its holder writes it anew again and again. Whoever waits takes
it over once it was not written for as long as it says, by the waiter's own clock: no two clocks are compared.

Its generation is the fencing token: it only grows, and a holder that was late, frozen or cut off cannot write
the lease any more. Nor can it write a pointer. Before a holder writes one, it notes so in the lease, which
shows that it still holds it; and whoever takes over first gives each object noted a new generation, so that
what is still under way from the late holder is refused. Where there is no such object a void takes its place.
"""

import contextlib
import json
import logging
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator

from serving.bucket.blobs import Blobs, Head
from serving.errors import Conflict, ImgsearchError, Unavailable

log = logging.getLogger(__name__)

_POLL_S = (0.02, 0.5)  # the first wait of who has to wait, and the longest
_OWNER, _FOR_S, _WRITES = "owner", "for_s", "writes"


class Lease:
    """Held from ``taken`` to ``free``."""

    def __init__(self, blobs: Blobs, name: str, key: str, for_s: float) -> None:
        self.blobs = blobs
        self._name = name  # of the object
        self._key = key  # what people call it
        self._for_s = for_s
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._generation = 0
        self._writes: tuple[str, ...] = ()
        self._written_at = 0.0  # by this process's clock, before it was sent
        self._lost = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"lease of {key}", daemon=True)

    @classmethod
    def taken(cls, blobs: Blobs, name: str, key: str, for_s: float) -> "Lease":
        """Wait until it is free, or its holder is dead."""
        lease = cls(blobs, name, key, for_s)
        watched, since, wait_s = -1, time.monotonic(), _POLL_S[0]
        while True:
            there = blobs.head(name)
            holder = "" if there is None else there.notes.get(_OWNER, "")
            if there is not None and holder and there.generation != watched:
                watched, since = there.generation, time.monotonic()
            elif there is None or not holder or time.monotonic() - since > float(there.notes[_FOR_S]):
                if lease._took(there, holder):
                    return lease
                continue
            time.sleep(random.uniform(wait_s / 2, wait_s))
            wait_s = min(2 * wait_s, _POLL_S[1])

    def _took(self, there: Head | None, holder: str) -> bool:
        if holder:
            self._writes = tuple(json.loads(there.notes[_WRITES])) if there else ()
        self._generation = there.generation if there else 0
        try:
            self._write()
        except Conflict:
            self._lost, self._writes = False, ()
            return False
        self._keeper.start()
        if holder:
            log.warning("%s was held by %s, which is gone; it is taken over", self._key, holder)
        try:
            for name in self._writes:
                self._fence(name)
        except BaseException:
            self.free()  # as it is: whoever is next fences them
            raise
        self._writes = ()
        return True

    def _fence(self, name: str) -> None:
        """Give the object, or the void in its place, a new generation."""
        while True:
            there = self.blobs.head(name)
            void = there is None or there.void
            data = b"" if void else self.blobs.read(name)
            try:
                if data is not None:
                    self.blobs.write(name, data, there.generation if there else 0, void=void)
                    return
            except Conflict:
                continue  # what was under way came just now, before the new holder looks

    def check(self) -> None:
        """Raises ``Conflict`` when it may be another's by now."""
        if self._lost or time.monotonic() - self._written_at > self._for_s:
            raise Conflict(f"{self._key} is held by another process by now: this one did not answer in time")

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """Around the writing of an object, noted before. Raises ``Conflict`` when the lease is another's.

        Where the block does not learn what became of it, the note stays: it may still be under way.
        """
        self.check()
        with self._lock:
            self._writes = (*self._writes, name)
            self._write()
        try:
            yield
        except Conflict:
            self._writes = self._writes[:-1]
            raise
        self._writes = self._writes[:-1]

    def free(self) -> None:
        """Let others take it, once it is past where something may be under way; never raises."""
        self._stop.set()
        self._keeper.join()
        try:
            if not self._lost and not self._writes:
                self._owner = ""
                self._write()
        except (Conflict, Unavailable) as error:
            log.warning("%s could not be given back: %s", self._key, error)

    def _write(self) -> None:
        at = time.monotonic()
        notes = {_OWNER: self._owner, _FOR_S: repr(self._for_s), _WRITES: json.dumps(self._writes)}
        try:
            self._generation = self.blobs.write(
                self._name, b"", self._generation, notes, within_s=self._for_s / 2
            )
        except Conflict:
            self._lost = True
            raise
        self._written_at = at

    def _keep(self) -> None:
        failed = False
        while not self._stop.wait(self._for_s / 4):
            try:
                with self._lock:
                    self._write()
                failed = False
            except Conflict:
                log.error("%s was taken over by another process: this one did not answer in time", self._key)
                return
            except ImgsearchError as error:
                if not failed:
                    log.warning("%s could not be kept so far: %s", self._key, error)
                failed = True
