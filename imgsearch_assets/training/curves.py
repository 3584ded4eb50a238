"""How a training went, epoch by epoch: lines of JSON beside the checkpoint, and a picture of them."""

import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from imgsearch_assets.figures import words
from imgsearch_assets.training.checkpoint import write_whole

Row = Mapping[str, float]

EPOCH = "epoch"
_PAUSE_S = 5.0  # between two pictures: one takes half a second
_PANEL, _DPI = (560, 360), 100  # pixels
# Okabe and Ito: told apart by the colour-blind too.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_LINE: dict[str, Any] = {"marker": ".", "markersize": 4, "linewidth": 1.6}


class Curves:
    """``curves.jsonl`` and ``curves.png`` in ``folder``: a row an epoch, losses named ``loss...``."""

    def __init__(self, folder: Path) -> None:
        self._lines, self._png = folder / "curves.jsonl", folder / "curves.png"
        self._drawn = -math.inf

    def rows(self) -> list[dict[str, float]]:
        """The epochs written so far, in order."""
        if not self._lines.exists():
            return []
        return [json.loads(line) for line in self._lines.read_text().splitlines()]

    def cut(self, epochs: int) -> None:
        """Forget what comes after the first ``epochs``: a resumed training does those again."""
        self._write([row for row in self.rows() if row[EPOCH] <= epochs])

    def add(self, epoch: int, figures: Row) -> None:
        """Write one epoch, counted from 1; the picture follows, where epochs are short not at each."""
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
        if time.monotonic() - self._drawn >= _PAUSE_S:
            self.draw()

    def draw(self) -> None:
        """Bring the picture up to the last epoch."""
        write_whole(self._png, picture(self.rows()))
        self._drawn = time.monotonic()


def picture(rows: Sequence[Row]) -> bytes:
    """PNG of the rows: losses on the left, every other figure on the right, epochs across."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != EPOCH))
    losses = [name for name in names if name.startswith("loss")]
    panels = [("loss", losses), ("held-out figures", [name for name in names if name not in losses])]
    panels = [panel for panel in panels if panel[1]] or [("loss", [])]
    width, height = _PANEL
    # Not pyplot: that keeps what it draws, and knows one figure at a time.
    figure = Figure((width * len(panels) / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
    for axes, (title, of_panel) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        for colour, name in zip(cycle(_COLOURS), of_panel):
            points = [(row[EPOCH], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
            last = next(row[name] for row in reversed(rows) if name in row)
            label = f"{words(name)} {last:.3g}"
            axes.plot(*zip(*points, strict=True) if points else ([], []), color=colour, label=label, **_LINE)
        axes.set_title(title, loc="left", fontsize="medium")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="#e0e3e8")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize="small", frameon=False)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", metadata={"Software": None})
    return sink.getvalue()
