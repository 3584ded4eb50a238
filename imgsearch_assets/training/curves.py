"""How a training went, epoch by epoch: lines of JSON beside the checkpoint, and a picture of them."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Row = Mapping[str, float]

EPOCH = "epoch"
_PANEL = (560, 360)  # pixels, of which the margins are
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 52, 44
_FINER = 2  # drawn so many times as large, then averaged: Pillow's lines have no smooth edges
_INK, _GRID = (40, 44, 52), (224, 227, 232)
# Okabe and Ito: told apart by the colour-blind too.
_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233))


class Curves:
    """``curves.jsonl`` and ``curves.png`` in ``folder``: a row an epoch, losses named ``loss...``."""

    def __init__(self, folder: Path) -> None:
        self._lines, self._png = folder / "curves.jsonl", folder / "curves.png"

    def rows(self) -> list[dict[str, float]]:
        """The epochs written so far, in order."""
        if not self._lines.exists():
            return []
        return [json.loads(line) for line in self._lines.read_text().splitlines()]

    def cut(self, epochs: int) -> None:
        """Forget what comes after the first ``epochs``: a resumed training does those again."""
        self._write([row for row in self.rows() if row[EPOCH] <= epochs])

    def add(self, epoch: int, figures: Row) -> None:
        """Write one epoch, counted from 1; the picture follows."""
        rows = [row for row in self.rows() if row[EPOCH] < epoch]
        self._write([*rows, {EPOCH: epoch, **figures}])

    def _write(self, rows: Sequence[Row]) -> None:
        """Whole or not at all, as the checkpoint is."""
        self._lines.parent.mkdir(parents=True, exist_ok=True)
        if not rows:
            self._lines.unlink(missing_ok=True)
            self._png.unlink(missing_ok=True)
            return
        partial = self._lines.with_suffix(".partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in rows))
        partial.replace(self._lines)
        self._png.write_bytes(picture(rows))


def picture(rows: Sequence[Row]) -> bytes:
    """PNG of the rows: losses on the left, every other figure on the right, epochs across."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != EPOCH))
    losses = [name for name in names if name.startswith("loss")]
    panels = [("loss", losses), ("held-out figures", [name for name in names if name not in losses])]
    panels = [panel for panel in panels if panel[1]]
    width, height = _PANEL
    whole = Image.new("RGB", (width * _FINER * max(1, len(panels)), height * _FINER), "white")
    for number, (title, of_panel) in enumerate(panels):
        part = Image.new("RGB", (width * _FINER, height * _FINER), "white")
        _panel(ImageDraw.Draw(part), title, of_panel, rows)
        whole.paste(part, (number * width * _FINER, 0))
    sink = io.BytesIO()
    whole.reduce(_FINER).save(sink, "PNG")
    return sink.getvalue()


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers, at most ``most`` + 1 of them, that span ``low`` .. ``high``."""
    span = max(high - low, abs(high) * 1e-3, 1e-9)
    rough = span / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _panel(draw: ImageDraw.ImageDraw, title: str, names: Sequence[str], rows: Sequence[Row]) -> None:
    text = ImageFont.load_default(12 * _FINER)
    heading = ImageFont.load_default(14 * _FINER)
    width, height = _PANEL
    values = [row[name] for row in rows for name in names if math.isfinite(row.get(name, math.nan))] or [0.0]
    marks = ticks(min(values), max(values))
    epochs = [row[EPOCH] for row in rows]
    across = [one for one in ticks(min(epochs), max(epochs), 8) if one == int(one) and one <= max(epochs)]

    def at(epoch: float, value: float) -> tuple[float, float]:
        x = (epoch - min(epochs)) / max(max(epochs) - min(epochs), 1)
        y = (value - marks[0]) / (marks[-1] - marks[0])
        return (
            (_LEFT + x * (width - _LEFT - _RIGHT)) * _FINER,
            (height - _BOTTOM - y * (height - _TOP - _BOTTOM)) * _FINER,
        )

    for mark in marks:
        draw.line((at(min(epochs), mark), at(max(max(epochs), min(epochs) + 1), mark)), _GRID, _FINER)
        x, y = at(min(epochs), mark)
        draw.text((x - 8 * _FINER, y), f"{mark:g}", _INK, text, anchor="rm")
    for epoch in across:
        if epoch >= min(epochs):
            x, y = at(epoch, marks[0])
            draw.text((x, y + 8 * _FINER), f"{epoch:g}", _INK, text, anchor="mt")
    x = (_LEFT + (width - _LEFT - _RIGHT) / 2) * _FINER
    draw.text((x, (height - 6) * _FINER), "epoch", _INK, text, anchor="ms")
    draw.text((_LEFT * _FINER, 10 * _FINER), title, _INK, heading, anchor="lt")
    legend = _LEFT * _FINER
    for number, name in enumerate(names):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [at(row[EPOCH], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
        if len(points) > 1:
            draw.line(points, colour, 2 * _FINER, joint="curve")
        radius = 2.5 * _FINER
        for px, py in points[-1:] if len(points) > 40 else points:
            draw.ellipse((px - radius, py - radius, px + radius, py + radius), colour)
        label = f"{name} {next(row[name] for row in reversed(rows) if name in row):.3g}"
        draw.text((legend, 32 * _FINER), label, colour, text, anchor="lt")
        legend += round(draw.textlength(label, text)) + 14 * _FINER
