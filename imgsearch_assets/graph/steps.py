"""What every step of the pipeline does alike: tell what went wrong, how long it took, and show a table."""

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from imgsearch_assets.figures import visible
from serving.errors import ImgsearchError, Unavailable

# The outside world may be back in a moment; nothing else gets better by trying again.
RETRY = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL)

# Pools of steps: one at a time over all runs, as far as Dagster promises that (see dagster.yaml), so that a
# run finds the work of one that it overlaps done. What must not meet holds a lock of the store: snapshots,
# releases, what is named while others are pruned, the ledger, and tables that are written back as one.
CATALOGUE, DOWNLOADS, GPU, RELEASE = "catalogue", "downloads", "gpu", "release"

_PREVIEW_ROWS = 10
_SAMPLE_ROWS = 5
_CELL_CHARACTERS = 80
# What Markdown reads as more than text: a product may be called anything, and a picture would be fetched.
_MARKS = re.compile(r"[\\`*~\[\]<>!|&]|(?<!\w)_|_(?!\w)")
_LINK = re.compile(r"https?://[^\s<>|\\`]+")


@contextmanager
def step() -> Iterator[None]:
    """Turn an error we know into a failure with its sentence; only what is away is tried again."""
    try:
        yield
    except ImgsearchError as error:
        raise dg.Failure(error.message, allow_retries=isinstance(error, Unavailable)) from error


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> dg.FloatMetadataValue:
        return dg.MetadataValue.float(round(time.monotonic() - self._started, 2))


def preview(table: pa.Table, rows: int = _PREVIEW_ROWS) -> dg.MarkdownMetadataValue:
    """The first ``rows`` as a table to read."""
    names = table.column_names
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [
        f"| {' | '.join(_cell(row[name]) for name in names)} |" for row in table.slice(0, rows).to_pylist()
    ]
    return dg.MetadataValue.md("\n".join(lines))


def sample(table: pa.Table, kind: str) -> dg.MarkdownMetadataValue:
    """How many rows have each value of the column ``kind``, and the first few of each as a table to read."""
    counts = Counter(map(str, table[kind].to_pylist()))
    if not counts:
        return preview(table)
    some = [table.filter(pc.equal(table[kind], pa.scalar(name))).slice(0, _SAMPLE_ROWS) for name in counts]
    said = ", ".join(f"{name} {count}" for name, count in counts.items())
    shown = preview(pa.concat_tables(some), _SAMPLE_ROWS * len(counts))
    return dg.MetadataValue.md(f"{said}\n\n{shown.value}")


def reasons(failed: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    """Failures by reason, as a table to read."""
    return preview(
        pa.table({"reason": pa.array(failed, pa.string()), "count": pa.array(failed.values(), pa.int64())})
    )


def _cell(value: object) -> str:
    text = _cut(visible(" ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return " ".join(
        f"<{word}>" if _LINK.fullmatch(word) else _MARKS.sub(r"\\\g<0>", word) for word in text.split(" ")
    )


def _cut(text: str) -> str:
    """Not within an address: one that is cut leads nowhere."""
    if len(text) <= _CELL_CHARACTERS:
        return text
    begin = text.rfind(" ", 0, _CELL_CHARACTERS) + 1
    word, _, more = text[begin:].partition(" ")
    if "://" not in word:
        return f"{text[:_CELL_CHARACTERS]} …"
    return f"{text[:begin]}{word}{' …' if more else ''}"
