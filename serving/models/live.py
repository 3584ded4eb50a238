"""Which version of a model is in use, and which were before: ``models/<name>/live.json``.

The one object of a model that moves, by compare-and-set: of two who promote at once one wins, and the other
learns it.
"""

import time
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.errors import Conflict, NotFound, Unverified
from serving.object_store import ObjectStore

# Promotions that are remembered: what a roll-back can go back to.
REMEMBERED = 20


class Whichever(Enum):
    """The one value of ``ANY``."""

    ANY = "any"


ANY = Whichever.ANY  # whatever is live, or nothing


class Stored(Protocol):
    """A model by name and version."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...


class Measured(BaseModel):
    """What decided: the figures of a model on the held-out pictures ``split``, and how many those are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str = ""
    samples: int = 0
    figures: Mapping[str, Annotated[float, Field(allow_inf_nan=False)]] = {}
    waived: bool = False  # worse than was wanted, and let pass


class Promotion(BaseModel):
    """A version made live: by whom, why, when (seconds since 1970), and by which figures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    who: str = ""
    why: str = ""
    at: float = 0.0
    measured: Measured = Measured()
    # The version that this roll-back left; not one that the next roll-back should return to.
    rolled_back_from: str | None = None


class Live(BaseModel):
    """The version in use; ``promotions`` the latest first, that of ``version`` too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(pattern="^[0-9a-f]{16}$")
    promotions: tuple[Promotion, ...] = ()

    @property
    def promotion(self) -> Promotion:
        """How ``version`` went live; of a pointer that does not say, nothing is known but the version."""
        return next(iter(self.promotions), Promotion(version=self.version))

    @property
    def previous(self) -> str | None:
        """What a roll-back goes back to: the latest before this one that nobody rolled back from."""
        bad = {self.version, *(one.rolled_back_from for one in self.promotions)}
        return next((one.version for one in self.promotions if one.version not in bad), None)


def read_live(store: ObjectStore, name: str) -> Live:
    """Raises ``NotFound`` when the model was never registered, ``Unverified`` for a pointer that is none."""
    try:
        data = store.get(live_key(name))
    except NotFound:
        raise NotFound(f"no model named {name!r} is registered in this object store") from None
    try:
        return Live.model_validate_json(data)
    except ValidationError as error:
        raise Unverified(
            f"{live_key(name)} names no version of a model; imgsearch model register writes it anew"
        ) from error


def live_version(store: ObjectStore, name: str) -> str:
    """The version in use. Raises as ``read_live``."""
    return read_live(store, name).version


def promote(
    store: ObjectStore,
    bundle: Stored,
    expected: str | Whichever | None = ANY,
    *,
    who: str = "",
    why: str = "",
    rolled_back_from: str | None = None,
    measured: Measured | None = None,
) -> None:
    """Make a stored model the live one of its name; when it is that already, nothing changes.

    ``expected`` is the version that must be live now (None: none, or a pointer that is none). Raises
    ``Conflict`` when another is, or when somebody else moved the pointer at the same moment, and
    ``NotFound`` when the model is not stored.
    """
    name, version = bundle.name, bundle.version
    if not store.exists(f"models/{name}/{version}/bundle.json"):
        raise NotFound(f"there is no version {version} of the model {name!r} in this object store")
    token = store.version(live_key(name))
    live = None
    if token is not None:
        try:
            live = read_live(store, name)
        except Unverified:
            if expected is not None:
                raise
    present = live.version if live else None
    if expected is not ANY and present != expected:
        raise Conflict(f"{present or 'no version'} of the model {name!r} is live, not {expected or 'none'}")
    if present == version:
        return
    promotion = Promotion(
        version=version,
        who=who,
        why=why,
        at=time.time(),
        measured=measured or Measured(),
        rolled_back_from=rolled_back_from,
    )
    earlier = live.promotions if live else ()
    if live and not earlier:  # a pointer of before promotions were remembered
        earlier = (live.promotion,)
    moved = Live(version=version, promotions=(promotion, *earlier)[:REMEMBERED])
    store.compare_and_set(live_key(name), moved.model_dump_json(indent=1).encode(), expected=token)


def live_key(name: str) -> str:
    return f"models/{name}/live.json"
