"""The replay report of two generations, made once and kept: its figures, its page and its sheet.

``reports/replay/<after>/<before>.json``, ``.html`` and ``.jpeg``; they go when the generation does.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from imgsearch_assets.environment import PRODUCTION
from imgsearch_assets.release.replay import compare
from imgsearch_assets.release.replay_page import Album, page, sheet
from serving.errors import BadSettings, NotFound, Unverified
from serving.index.artifact import load
from serving.index.generation import manifest_key
from serving.index.replays import FOLDER, report_key
from serving.index.store import Release, read_manifest, read_pointer
from serving.object_store import ObjectStore

log = logging.getLogger(__name__)


class Report(BaseModel):
    """How much of what is shown changes from one generation to another; see ``replay.Comparison``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: str
    after: str
    queries: int
    changed: int
    overlap_at_10: float
    rank_biased_overlap: float
    gone: int
    new: int

    @property
    def page_key(self) -> str:
        return report_key(self.before, self.after, "html")

    def sheet(self, store: ObjectStore) -> bytes | None:
        """A JPEG of what changed most, None where nothing did."""
        key = report_key(self.before, self.after, "jpeg")
        return store.get(key) if store.exists(key) else None

    @classmethod
    def kept(cls, store: ObjectStore, before: str, after: str) -> Self | None:
        key = report_key(before, after, "json")
        if not store.exists(key):
            return None
        try:
            return cls.model_validate_json(store.get(key))
        except ValidationError:
            return None  # of another version of this code; made anew


def replay(store: ObjectStore, before: str, after: str, recorded: Sequence[str] = ()) -> Report | None:
    """The report of two generations, kept already or made now; None where ``before`` cannot be read any more.

    Raises ``NotFound`` or ``Unverified`` of ``after``.
    """
    if (known := Report.kept(store, before, after)) is not None:
        return known
    try:
        old = load(store, read_manifest(store, before))
    except (NotFound, Unverified) as error:
        log.warning("there is nothing to compare %s with: %s", after, error)
        return None
    new = load(store, read_manifest(store, after), old)
    comparison = compare(old, new, recorded)
    report = Report(
        before=before,
        after=after,
        queries=len(comparison.queries),
        changed=comparison.changed,
        overlap_at_10=round(comparison.overlap, 4),
        rank_biased_overlap=round(comparison.rbo, 4),
        gone=len(comparison.gone),
        new=len(comparison.new),
    )
    album = Album(store, old, new)
    if (jpeg := sheet(comparison, album)) is not None:
        store.put(report_key(before, after, "jpeg"), jpeg)
    store.put(report.page_key, page(comparison, album))
    # Last: where it is, the others are.
    store.put(report_key(before, after, "json"), report.model_dump_json(indent=1).encode())
    return report


def compared_with(store: ObjectStore, pointer: str) -> Release | None:
    """What the live generation of ``pointer`` is compared with: production's, else what was live before it.

    None where there is neither.
    """
    production = read_pointer(store, PRODUCTION).pointer
    if production is not None:
        return production.live
    staged = read_pointer(store, pointer).pointer
    return staged.previous if staged else None


def recorded_queries(path: Path | None) -> list[str]:
    """The product ids of a file, one a line. Raises ``BadSettings``."""
    if path is None:
        return []
    try:
        return [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"IMGSEARCH_REPLAY_QUERIES: {path} cannot be read: {error}") from None


def tidy(store: ObjectStore) -> None:
    """Remove the reports of generations that are there no more."""
    for key in list(store.list(FOLDER)):
        if not store.exists(manifest_key(key.split("/")[2])):
            store.delete(key)
