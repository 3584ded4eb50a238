"""The gate before a model goes live: not worse than the one that is, measured on the same held-out pictures.

Nor than any that was live before by figures on those pictures: as much as chance allows may be lost once, not
at every registration. A candidate is stored already; registering moves ``live.json``. A refused one stays
stored, and what is live stays live.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from serving.errors import BadInput, NotFound, Unverified
from serving.models import detector, embedder
from serving.models.bundle import Bundle, load_bundle
from serving.models.live import Live, Measured, promote, read_live
from serving.object_store import ObjectStore

# A model to its figures by name, shares all: ``recall_at_1``, ``street_to_shop_recall_at_1``, ``ap50``...
Measure = Callable[[Bundle], Mapping[str, float]]


@dataclass(frozen=True)
class Yardstick:
    """Held-out pictures to compare models by: their version, what measures on them, how many there are."""

    split: str
    measure: Measure
    samples: int


# By which figures it is decided, also under a longer name (``photos_recall_at_1``), and what the first model
# of its name must reach. An embedder of noise finds 1 in 300 products first, a detector of noise nothing; the
# frozen features alone reach 0.13 and 0.5, the first detector 0.95.
FLOORS: Mapping[str, Mapping[str, float]] = {
    embedder.NAME: {
        "recall_at_1": 0.10,
        "recall_at_10": 0.30,
        "category_precision_at_5": 0.30,
    },
    detector.NAME: {"ap50": 0.50, "map50": 0.30},
}

# Figures are kept with four digits.
_ROUNDING = 1e-4

MIN_SAMPLES = 50  # pictures; on fewer, noise may pass for a model


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of a candidate beside what is wanted of it; ``live`` is None where nothing was compared.

    ``best`` is that of an earlier live model where it was better than the present one.
    """

    figure: str
    candidate: float
    live: float | None
    wanted: float
    best: float | None = None

    @property
    def passed(self) -> bool:
        return self.candidate >= self.wanted  # never of NaN

    @property
    def sentence(self) -> str:
        figure = f"{self.figure} is {self.candidate:.4f}"
        if self.live is None:
            return f"{figure}, a first model needs {self.wanted:.4f}"
        before = f", an earlier one had {self.best:.4f}" if self.best is not None else ""
        return f"{figure}, the live model has {self.live:.4f}{before} and {self.wanted:.4f} is wanted"


class TooFew(BadInput):
    """Held-out pictures on which noise may pass for a model: nothing is decided by them."""


class Refused(Unverified):
    """A candidate that is worse than what is live; ``compared`` has every figure."""

    def __init__(self, message: str, compared: tuple[Compared, ...]) -> None:
        super().__init__(message)
        self.compared = compared


@dataclass(frozen=True)
class Registered:
    """What went live, in whose place, and by which figures; ``waived`` are those it would have failed by."""

    bundle: Bundle
    previous: str | None
    compared: tuple[Compared, ...] = ()
    waived: tuple[Compared, ...] = ()

    @property
    def changed(self) -> bool:
        return self.previous != self.bundle.version


def register(
    store: ObjectStore,
    bundle: Bundle,
    yardstick: Yardstick,
    *,
    who: str = "",
    why: str = "",
    waive: bool = False,
) -> Registered:
    """Make the stored ``bundle`` live if it is not worse than the live model on the same held-out pictures.

    Both models are measured by ``yardstick``, whatever their cards claim; figures of earlier live ones on the
    same pictures are remembered. A first model has to reach ``FLOORS``, and so has one that takes the place
    of a live model that does not load. ``waive`` lets a worse one pass, for a reason that ``why`` must give;
    what was better before that is then forgotten.

    Raises ``Refused``, ``TooFew``, ``BadInput`` when there is nothing to decide by or a waiver without a
    reason, and ``Conflict`` when another model went live meanwhile.
    """
    if waive and not (who.strip() and why.strip()):
        raise BadInput("a worse model goes live only with a name and a reason: say who and why")
    live = _live(store, bundle.name)
    previous = live.version if live else None
    if previous == bundle.version:
        return Registered(bundle, previous)
    if yardstick.samples < MIN_SAMPLES and not waive:
        raise TooFew(
            f"{yardstick.samples} pictures are too few to tell a better {bundle.name} from a worse one by; "
            f"give {MIN_SAMPLES} or more to measure with"
        )
    figures, compared = beside_live(store, bundle, yardstick)
    failed = tuple(one for one in compared if not one.passed)
    if failed and not waive:
        told = "; ".join(one.sentence for one in failed)
        stays = f"; {previous} stays live" if previous else ""
        raise Refused(f"{bundle.name} {bundle.version} is refused: {told}{stays}", compared)
    measured = Measured(
        split=yardstick.split,
        samples=yardstick.samples,
        figures={name: value for name, value in figures.items() if math.isfinite(value)},
        waived=bool(failed),
    )
    promote(store, bundle, previous, who=who, why=why, measured=measured)
    return Registered(bundle, previous, compared, failed)


def beside_live(
    store: ObjectStore, bundle: Bundle, yardstick: Yardstick
) -> tuple[Mapping[str, float], tuple[Compared, ...]]:
    """The figures of ``bundle`` by ``yardstick``, and those that decide beside the live model's.

    Raises ``BadInput`` where there is no figure to decide by.
    """
    live = _live(store, bundle.name)
    before = _readable(store, bundle.name, live.version if live else None)
    figures = yardstick.measure(bundle)
    compared = compare(
        bundle.name,
        figures,
        None if before is None else yardstick.measure(before),
        yardstick.samples,
        best_before(live, yardstick.split) if live else {},
    )
    return figures, compared


def best_before(live: Live, split: str) -> dict[str, float]:
    """The best of each figure that a live model ever had on the pictures ``split``, since the last waiver.

    A model that somebody rolled back from set no mark.
    """
    left = {one.rolled_back_from for one in live.promotions}
    best: dict[str, float] = {}
    for one in live.promotions:
        if split and one.measured.split == split and one.version not in left:
            for name, value in one.measured.figures.items():
                best[name] = max(value, best.get(name, value))
        if one.measured.waived and one.version not in left:
            break
    return best


def compare(
    name: str,
    candidate: Mapping[str, float],
    live: Mapping[str, float] | None,
    samples: int,
    best: Mapping[str, float] | None = None,
) -> tuple[Compared, ...]:
    """Every figure that decides, of the model ``name``; ``live`` is None where there is nothing to compare.

    ``best`` are figures of earlier live models on the same pictures.

    A figure ``queries`` says of how many pictures those of its kind are; where it is missing, ``samples``.
    A figure that only the live model has counts against the candidate. Raises ``BadInput`` without any.
    """
    floors = FLOORS.get(name)
    if floors is None:
        raise BadInput(f"no figures are known to decide by for a model named {name!r}")
    decisive = {
        figure: (floor, f"{figure.removesuffix(kind)}queries")
        for figure in sorted({*candidate, *(live or {})})
        for kind, floor in floors.items()
        if figure == kind or figure.endswith(f"_{kind}")
    }
    compared = []
    for figure, (floor, queries) in decisive.items():
        mine = candidate.get(figure, math.nan)
        if live is None:
            compared.append(Compared(figure, mine, None, floor))
        elif figure in live:
            mark = max(live[figure], (best or {}).get(figure, 0.0))
            asked = live.get(queries, 0.0)
            wanted = mark - tolerance(mark, int(asked) if asked >= 1 else samples) - _ROUNDING
            earlier = mark if mark > live[figure] + _ROUNDING else None
            compared.append(Compared(figure, mine, live[figure], wanted, earlier))
    if not compared:
        raise BadInput(
            f"there is no figure to decide by: {', '.join(floors)} on the same pictures are what counts"
        )
    return tuple(compared)


def tolerance(share: float, samples: int) -> float:
    """One standard error of a share over ``samples`` pictures: as much less may be chance alone.

    Smoothed by two pictures of each outcome (Agresti and Coull, 1998), so that a live model without a
    single mistake leaves some too. More would let quality seep away model by model.
    """
    smoothed = (share * samples + 2) / (samples + 4)
    return math.sqrt(smoothed * (1 - smoothed) / (samples + 4))


def _live(store: ObjectStore, name: str) -> Live | None:
    """None where nothing was ever live, and where the pointer is none: it is written anew then."""
    try:
        return read_live(store, name)
    except (NotFound, Unverified):
        return None


def _readable(store: ObjectStore, name: str, version: str | None) -> Bundle | None:
    if version is None:
        return None
    try:
        return load_bundle(store, name, version)
    except (NotFound, Unverified):  # no service can serve it either: of an older format, or damaged
        return None
