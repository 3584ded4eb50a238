"""How many pictures and texts the front has looked at at once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from serving.errors import Overloaded

# At once that a new front lets in, those that are always let in, and how much fewer there may be after one
# that took too long.
FIRST, LEAST, _SHRINK = 16, 4, 0.8


class Pace:
    """Lets in as many at once as are done within ``target_s``, ``LEAST`` to ``most``.

    What they lean on has to be shared: what is let in beyond makes all others later, and when it is refused
    half way, what was done for it is lost. One more at a time, one fifth fewer when one of a crowd is late,
    as congestion is avoided (Chiu and Jain 1989). What is known already needs no place, nor does who waits
    for what another asked. When nobody is left, what was learned of the crowd is forgotten.
    """

    def __init__(self, target_s: float, most: int) -> None:
        self._target_s = target_s
        self._most = most
        self._limit = float(min(FIRST, most))
        self._in_work = 0
        self._shrunk_s = 0.0  # when it last did

    @contextmanager
    def place(self) -> Iterator[None]:
        """For one, while the block runs. Raises ``Overloaded`` when there is none."""
        if self._in_work >= int(self._limit):
            raise Overloaded("too many searches at once; try again in a moment")
        self._in_work += 1
        crowd, began_s = self._in_work, time.monotonic()
        full = crowd >= int(self._limit)
        try:
            yield
        finally:
            self._learn(began_s, crowd, full)
            self._in_work -= 1
            if not self._in_work:
                self._limit = max(self._limit, float(min(FIRST, self._most)))

    def _learn(self, began_s: float, crowd: int, full: bool) -> None:
        """From one that took until now; ``full`` when no other was let in beside its ``crowd``."""
        now_s = time.monotonic()
        if now_s - began_s <= self._target_s:
            if full:
                self._limit = min(self._most, self._limit + 1 / self._limit)
        elif crowd > LEAST and began_s >= self._shrunk_s:  # those of before say nothing of what there are now
            self._limit = max(min(LEAST, self._most), self._limit * _SHRINK)
            self._shrunk_s = now_s
