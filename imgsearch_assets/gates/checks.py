"""Gates as the blocking checks of an asset: one that fails stops what is downstream, and tells the way on."""

from collections.abc import Callable, Iterable, Mapping

import dagster as dg

from imgsearch_assets.gates.generation import Gate
from imgsearch_assets.gates.waivers import WAIVABLE, Waiver


def blocking(asset: str, gates: Mapping[str, str]) -> list[dg.AssetCheckSpec]:
    """The checks of ``asset``: a sentence for each gate."""
    return [
        dg.AssetCheckSpec(name, asset=asset, description=text, blocking=True) for name, text in gates.items()
    ]


def results(
    gates: Iterable[Gate], waivers: Mapping[str, Waiver], command: Callable[[str], str]
) -> list[dg.AssetCheckResult]:
    """What came of them; one that failed and is waived passes, and says by whom.

    ``command`` as ``Environment.command``: how a person waives the others.
    """
    return [_result(gate, waivers.get(gate.name), command) for gate in gates]


def _digits(figure: float) -> float:
    """Of a share, as many as anybody reads."""
    return round(float(figure), 6)


def _result(gate: Gate, waiver: Waiver | None, command: Callable[[str], str]) -> dg.AssetCheckResult:
    said, metadata = gate.message, {"measured": _digits(gate.measured), "wanted": _digits(gate.wanted)}
    waived = not gate.passed and waiver is not None
    if waived:
        said = f"{said}; {waiver}"
    elif not gate.passed and gate.name in WAIVABLE:
        said = (
            f"{said}; if it is meant: {command(f'release waive {gate.name}')} --why ..., "
            "then start the job refresh"
        )
    return dg.AssetCheckResult(
        check_name=gate.name,
        passed=gate.passed or waived,
        description=said,
        metadata={**metadata, **({"waived": str(waiver)} if waived else {})},
    )
