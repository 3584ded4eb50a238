"""A model's card for people, after Mitchell et al., Model Cards for Model Reporting (arXiv:1810.03993)."""

from collections.abc import Mapping

from serving.models.card import Card


def model_card(card: Card) -> str:
    """The card as Markdown: what the model is, what it was measured and trained on, what it is for."""
    rows = {
        "version": f"`{card.version}`",
        "architecture": f"`{card.architecture}`",
        "input": _input(card),
        "gives": _gives(card),
        "reads text": _text(card),
        "data set": _known(card.dataset),
        "held-out split": _known(card.split),
        "weights": f"{card.weights_size_bytes / 1e6:.1f} MB, sha256 `{card.weights_sha256}`",
    }
    parts = [
        f"# {card.name}",
        _table("", rows),
        "## Measured on the held-out split",
        _table("figure", {name: f"{value:.4g}" for name, value in sorted(card.metrics.items())}),
        "## How it was made",
        _table("parameter", {name: str(value) for name, value in sorted(card.training.items())}),
        "## What it is for, and what not",
        _DETECTOR if card.dim is None else _EMBEDDER,
    ]
    return "\n\n".join(parts) + "\n"


_DETECTOR = (
    "It finds the items a picture is about, of the categories above, so that each can be searched for by "
    "itself. A category it was not trained on is missed or called by another's name. Its scores order the "
    "items of one picture; they are not probabilities, and not comparable between versions."
)
_EMBEDDER = (
    "It tells how alike two products look; the cosine of two vectors is the measure. Vectors of two versions "
    "are not comparable: an index and what is asked of it need the same one. The figures above hold for "
    "pictures like those of the split; for a new kind of picture, measure first. It was not made to "
    "recognise people, and must not be used for that."
)


def _input(card: Card) -> str:
    made = card.preprocessing
    how = "stretched to a square" if made.fit == "stretch" else "the middle square"
    return f"{made.size} x {made.size} pixels, {how}, {made.resample}, fingerprint `{made.fingerprint}`"


def _gives(card: Card) -> str:
    if card.dim is None:
        return "boxes of " + ", ".join(card.categories) if card.categories else "boxes"
    blocks = ", ".join(f"{block.dim} of weight {block.weight:g}" for block in card.blocks)
    return f"{card.dim} numbers, unit length" + (f": {blocks}" if blocks else "")


def _text(card: Card) -> str:
    if card.text is None:
        return "no"
    tokens = "CLIP's own tokens" if card.text.tokenizer == "clip" else "tokens of its tokenizer.json"
    return f"yes, {card.text.context_length} {tokens}"


def _known(name: str) -> str:
    return f"`{name}`" if name else "not said"


def _table(head: str, rows: Mapping[str, str]) -> str:
    if not rows:
        return "Nothing is recorded."
    lines = [f"| {head} | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items())])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
