"""What filling a feature table is going to take: said before it starts, for a new model fills all of it."""

import io
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.models import runtime
from serving.models.preprocess import open_picture

# Fewer are done sooner than measured.
WORTH_MEASURING = 256
_SIDE = 600  # pixels, as a shop's picture has them


@dataclass(frozen=True)
class Budget:
    """``lacking`` of ``what`` (boxes, pictures), at ``per_second``; None where nobody knows."""

    what: str
    lacking: int
    per_second: float | None
    known_from: str

    @property
    def seconds(self) -> float | None:
        return self.lacking / self.per_second if self.per_second else None

    @property
    def sentence(self) -> str:
        if not self.lacking:
            return f"no {self.what} are lacking"
        if self.seconds is None:
            return f"{self.lacking:,} {self.what} are lacking"
        return (
            f"{self.lacking:,} {self.what} are lacking: about {_time(self.seconds)} at "
            f"{self.per_second:,.1f} a second ({self.known_from})"
        )

    def figures(self) -> dict[str, int | float | str]:
        """Of a materialization, to hold beside what it took."""
        known = {
            "expected_seconds": round(self.seconds or 0.0, 1),
            "expected_per_second": round(self.per_second or 0.0, 1),
        }
        return {"lacking": self.lacking, **(known if self.per_second else {}), "budget": self.sentence}


def plan(
    what: str, lacking: int, last_known: Callable[[], float | None], measured: Callable[[], float]
) -> Budget:
    """The budget at the speed last known of this version, or else as ``measured`` where that is worth it."""
    if not lacking:
        return Budget(what, 0, None, "")
    if known := last_known():
        return Budget(what, lacking, known, "as it was last")
    if lacking < WORTH_MEASURING:
        return Budget(what, lacking, None, "")
    return Budget(what, lacking, measured(), "measured on noise")


def measured_speed(look: Callable[[Sequence[NDArray[np.uint8]]], object], batch: int) -> float:
    """Pictures a second that are opened and put through ``look``, ``batch`` at a time, a thread a core."""
    sink = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (_SIDE // 8, _SIDE // 8, 3), np.uint8)
    Image.fromarray(noise).resize((_SIDE, _SIDE)).save(sink, "JPEG", quality=90)

    def once(_: int) -> None:
        look([open_picture(sink.getvalue()) for _ in range(batch)])

    runtime.tune(threads=1)
    cores = runtime.cores()
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(once, range(cores)))  # the first look prepares
        started = time.monotonic()
        list(pool.map(once, range(cores)))
        return batch * cores / max(time.monotonic() - started, 1e-6)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
