"""A gate that a person lets pass, with who and why: for the next release alone, and a day at most.

Of the gates that ask whether the shop is really so; none of those that find an index broken.
"""

import time
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.errors import BadInput, Unverified
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
    """Who lets a gate pass in an environment, why, and since when (seconds since 1970)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: str
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    at: float

    def __str__(self) -> str:
        return f"{self.gate} waived by {self.who}: {self.why}"


def waive(store: ObjectStore, environment: str, gates: Iterable[str], who: str, why: str) -> None:
    """Let ``gates`` pass in the next release of ``environment``. Raises ``BadInput``, and waives none."""
    gates = list(gates)
    for gate in gates:
        if gate not in WAIVABLE:
            raise BadInput(f"{gate} cannot be waived; what can: {', '.join(WAIVABLE)}")
    if not why.strip():
        raise BadInput("a waiver needs a reason; say it with --why")
    for gate in gates:
        waiver = Waiver(gate=gate, who=who, why=why.strip(), at=time.time())
        store.put(_key(environment, gate), waiver.model_dump_json(indent=1).encode())


def in_force(store: ObjectStore, environment: str) -> dict[str, Waiver]:
    """By gate. Raises ``Unverified`` for what is no waiver."""
    found = {}
    for key in list(store.list(_key(environment, "").rstrip("/"))):
        try:
            waiver = Waiver.model_validate_json(store.get(key))
        except ValidationError as error:
            raise Unverified(f"{key} is no waiver; remove it, and waive the gate again") from error
        if key == _key(environment, waiver.gate) and time.time() - waiver.at < HOLDS_S:
            found[waiver.gate] = waiver
    return found


def use_up(store: ObjectStore, environment: str, waivers: Mapping[str, Waiver], released_at: float) -> None:
    """After a release (seconds since 1970) those are over that were given before it."""
    for gate, waiver in waivers.items():
        if waiver.at <= released_at:
            store.delete(_key(environment, gate))


def _key(environment: str, gate: str) -> str:
    return f"waivers/{environment}/{gate}"
