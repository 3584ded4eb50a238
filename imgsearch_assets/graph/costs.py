"""What a run cost: seconds of its steps by class of machine, times a price list. No IO."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgsearch_assets.graph.machines import Machine, machine_of


class Prices(BaseModel):
    """Money an hour for a machine of each class. All of them are given, or none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    currency: str = Field(min_length=1)
    cpu: float = Field(ge=0)
    gpu: float = Field(ge=0)
    io: float = Field(ge=0)

    @classmethod
    def read(cls, told: object) -> object:
        """Of a setting's text. Raises ``ValueError``."""
        if not isinstance(told, str):
            return told
        try:
            return cls.model_validate_json(told)
        except ValidationError:
            raise ValueError(f"must have all of what this has: {EXAMPLE}") from None

    def of(self, machine: Machine, seconds: float) -> float:
        found: float = getattr(self, machine)
        return found * seconds / 3600

    def __str__(self) -> str:
        return self.model_dump_json()


# Of the order of public list prices on demand in 2025: 4 cores with 16 GB; the same with a small GPU; 2 cores
# with 8 GB. An example to replace by what is really paid.
EXAMPLE = Prices(currency="USD", cpu=0.19, gpu=0.71, io=0.07)


@dataclass(frozen=True)
class Step:
    """A step, its seconds from its first start to its end, and what they cost."""

    name: str
    machine: Machine
    seconds: float
    cost: float


@dataclass(frozen=True)
class RunCost:
    """The steps of one run, the costliest first, and the products that were new to it."""

    steps: tuple[Step, ...]
    new_items: int

    @property
    def cost(self) -> float:
        return sum(step.cost for step in self.steps)

    @property
    def seconds(self) -> dict[str, float]:
        """By class of machine."""
        found: Counter[str] = Counter()
        for step in self.steps:
            found[step.machine] += step.seconds  # type: ignore[assignment]
        return dict(found)

    @property
    def per_1000_new(self) -> float | None:
        """Of the whole run, fixed costs included; None of a run without a new item."""
        return self.cost / self.new_items * 1_000 if self.new_items else None


def cost_of(seconds: Mapping[str, float], new_items: int, prices: Prices) -> RunCost:
    """Of ``seconds`` by step."""
    return RunCost(tuple(sorted(_steps(seconds, prices), key=lambda step: -step.cost)), new_items)


def _steps(seconds: Mapping[str, float], prices: Prices) -> Iterable[Step]:
    for name, spent in seconds.items():
        machine = machine_of(name)
        yield Step(name, machine, spent, prices.of(machine, spent))
