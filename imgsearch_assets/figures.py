"""Figures as machines keep them and as people read them."""

from collections.abc import Mapping


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
