"""What a search costs, in microseconds of one core, so that a plan can choose.

Fitted to a graph "HNSW32,SQfp16" of 200,000 rows of 128 dimensions, on an idle core with AVX-512, every query
new and with a filter of its own: asked the same again and again, a processor learns a filter by heart. What
dimensions add is of 50,000 rows of 256. Elsewhere, or on a busy core, everything takes longer alike.
"""

# Looking through all rows: one stepped over by its bit, one compared, and one fetched from memory because
# nobody foresaw that it is kept. Where more than one in ten is kept, that is foreseen well enough.
_STEP = 0.0018
_COMPARE, _COMPARE_DIM = 0.002, 0.00014
_SURPRISE, _SURPRISE_DIM, _FORESEEN = 0.05, 0.0004, 0.1
# Copying what is kept: what it takes to begin, finding it among the rows, and a row copied and compared.
_BEGIN, _FIND = 20.0, 0.00015
_COPY, _COPY_DIM = 0.025, 0.0006
# The graph: the way down, then a row of the beam, whose neighbours are fetched and compared; the beam's
# upkeep grows with its square.
_DESCENT, _BEAM, _BEAM_DIM, _BEAM_SQUARED = 30.0, 1.0, 0.0077, 0.0008

# More of a small graph is in the caches: of 5,000, 20,000 and 60,000 rows a beam of 128 took 0.29, 0.42 and
# 0.62 of what it takes of 200,000.
_FITTED_ROWS, _OF_ROWS = 200_000, 1 / 3

# Rows that a thread has room for to copy; with more of them the memory costs more than the copy.
ROOM_ROWS = 8_192


def scanned_us(kept_rows: int, rows: int, dim: int) -> float:
    """All ``rows`` looked at, ``kept_rows`` of them compared."""
    surprises = min(kept_rows, _FORESEEN * rows) * (1 - (kept_rows / rows) ** 2)
    compared = (_COMPARE + _COMPARE_DIM * dim) * kept_rows
    return _STEP * rows + compared + (_SURPRISE + _SURPRISE_DIM * dim) * surprises


def gathered_us(kept_rows: int, rows: int, dim: int) -> float:
    """``kept_rows`` of ``rows`` copied and compared."""
    if kept_rows > ROOM_ROWS:
        return float("inf")
    return _BEGIN + _FIND * rows + (_COPY + _COPY_DIM * dim) * kept_rows


def exact_us(kept_rows: int, rows: int, dim: int) -> float:
    """The cheaper of the two."""
    return min(scanned_us(kept_rows, rows, dim), gathered_us(kept_rows, rows, dim))


def graph_us(beam: int, rows: int, dim: int) -> float:
    """The best of a ``beam`` in a graph of ``rows``."""
    size: float = (rows / _FITTED_ROWS) ** _OF_ROWS
    return size * (_DESCENT + (_BEAM + _BEAM_DIM * dim) * beam + _BEAM_SQUARED * beam**2)
