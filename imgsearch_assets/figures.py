"""Figures as machines keep them and as people read them."""

import unicodedata
from collections.abc import Mapping

# Control and format characters (of direction, too), and what ends a line.
_UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}


def rounded(figures: Mapping[str, float]) -> dict[str, float]:
    """To the four digits that are kept."""
    return {name: round(value, 4) for name, value in figures.items()}


def words(name: str) -> str:
    """A figure's name as people write it."""
    for code, said in (("_at_", "@"), ("map@", "mAP@"), ("category_precision", "category precision")):
        name = name.replace(code, said)
    return name.replace("_", " ")


def shown(name: str, value: float | None) -> str:
    """A figure as text: counts whole, shares with three digits, a dash for what there is none of."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if name.endswith(("queries", "pictures")) else f"{value:.3f}"


def visible(text: str) -> str:
    """``text`` of anybody, whose control characters are written out: to a terminal they would be commands."""
    return "".join(
        it.encode("unicode_escape").decode() if unicodedata.category(it) in _UNSEEN else it for it in text
    )
