"""A gate that a person lets pass, with who and why: for the next release alone, and a day at most.

Of the gates that ask whether the shop is really so; none of those that find an index broken. A waiver names
the release that was live when it was given, so whatever goes over that ends it, needed or not, in the very
compare-and-set of the pointer.
"""

import time
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgsearch_assets.gates.generation import Gate
from serving.errors import BadInput, Conflict, Unverified
from serving.index.store import Pointer, Release, read_pointer
from serving.object_store import ObjectStore

# One that nobody needed is not there for another day's trouble.
HOLDS_S = 24 * 3600.0
WAIVABLE = (
    "enough_rows",
    "few_rejected",
    "few_removed",
    "few_changed",
    "few_not_downloaded",
    "coverage",
    "enough_products",
)


class Waiver(BaseModel):
    """Who lets a gate pass in an environment, why, since when (seconds since 1970), and ``over`` what.

    That is the release that was live then, None before the first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: str
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    at: float
    over: Release | None = None

    def is_over(self, pointer: Pointer | None) -> bool:
        """Whether another release than what it was given over is live in ``pointer``."""
        return self.over != _live(pointer)

    def __str__(self) -> str:
        return f"{self.gate} waived by {self.who}: {self.why}"


def waive(store: ObjectStore, environment: str, gates: Iterable[str], who: str, why: str) -> None:
    """Let ``gates`` pass in the next release of ``environment``.

    Raises ``BadInput``, or ``Unverified`` where the pointer is none, and waives none.
    """
    gates = list(gates)
    for gate in gates:
        if gate not in WAIVABLE:
            raise BadInput(f"{gate} cannot be waived; what can: {', '.join(WAIVABLE)}")
    if not why.strip():
        raise BadInput("a waiver needs a reason; say it with --why")
    over = _live(read_pointer(store, environment).pointer)
    for gate in gates:
        waiver = Waiver(gate=gate, who=who, why=why.strip(), at=time.time(), over=over)
        store.put(_key(environment, gate), waiver.model_dump_json(indent=1).encode())


def in_force(store: ObjectStore, environment: str) -> dict[str, Waiver]:
    """By gate. Raises ``Unverified`` for what is no waiver."""
    given = {}
    for key in list(store.list(_key(environment, "").rstrip("/"))):
        try:
            waiver = Waiver.model_validate_json(store.get(key))
        except ValidationError as error:
            raise Unverified(f"{key} is no waiver; remove it, and waive the gate again") from error
        # The clock may have been ahead when it was given.
        if key == _key(environment, waiver.gate) and abs(time.time() - waiver.at) < HOLDS_S:
            given[waiver.gate] = waiver
    if not given:
        return {}
    pointer = read_pointer(store, environment).pointer
    return {gate: waiver for gate, waiver in given.items() if not waiver.is_over(pointer)}


def needed(gates: Iterable[Gate], waivers: Mapping[str, Waiver]) -> tuple[Waiver, ...]:
    """Those of ``waivers`` by which one of ``gates`` passed."""
    return tuple(waivers[gate.name] for gate in gates if not gate.passed and gate.name in waivers)


def reason(snapshot: str, waived: Iterable[Waiver]) -> str:
    """Why a release is made of ``snapshot``: by which waivers."""
    return "; ".join([f"snapshot {snapshot}", *map(str, waived)])


def still_in_force(
    waived: Iterable[Waiver], environment: str, pointer: Pointer | None, snapshot: str
) -> None:
    """Raises ``Conflict`` when one by which a gate passed on the way is over: it was for another release.

    Not where that other one is live and of the same ``snapshot``: another model makes it again.
    """
    for waiver in waived:
        if waiver.is_over(pointer) and not _made(pointer, snapshot, waiver):
            raise Conflict(
                f"{waiver}, and that was for the next release in {environment}, which another run made "
                "meanwhile; if it is still meant, waive it again, then start the job refresh"
            )


def _made(pointer: Pointer | None, snapshot: str, waiver: Waiver) -> bool:
    why = "" if pointer is None else pointer.live.why
    return why.startswith(f"snapshot {snapshot}; ") and str(waiver) in why


def _live(pointer: Pointer | None) -> Release | None:
    """Whether it is on trial does not make it another."""
    return None if pointer is None else pointer.live.model_copy(update={"on_trial": False})


def _key(environment: str, gate: str) -> str:
    return f"waivers/{environment}/{gate}"
