from datetime import UTC, datetime
from pathlib import Path

from imgsearch_assets.images.store import (
    FETCHES,
    PERMANENT,
    REASONS,
    Fetch,
    fetch_rows,
    fetch_table,
    picture_key,
)
from serving.errors import BadImage
from serving.object_store import LocalObjectStore


def fetch(url: str, status: str = "ok") -> Fetch:
    return Fetch(
        url=url,
        status=status,  # type: ignore[arg-type]
        reason=None,
        http_status=200,
        sha256="ab" * 32,
        size_bytes=10,
        width=3,
        height=4,
        etag=None,
        last_modified=None,
        fetched_at=datetime(2026, 6, 1, 12, tzinfo=UTC),
        attempts=1,
        retry_after=None,
    )


def test_fetches_come_back_as_they_went(tmp_path: Path) -> None:
    table = fetch_table(LocalObjectStore(tmp_path))
    table.append(fetch_rows([fetch("http://a"), fetch("http://b")]))
    table.append(fetch_rows([fetch("http://a", "failed")]))
    rows = {row["url"]: Fetch(**row) for row in table.read().to_pylist()}
    assert rows == {"http://a": fetch("http://a", "failed"), "http://b": fetch("http://b")}


def test_the_schema_has_the_fields_of_a_fetch() -> None:
    assert FETCHES.names == list(Fetch.__dataclass_fields__)


def test_every_bad_image_is_a_permanent_reason() -> None:
    assert BadImage.REASONS < PERMANENT < REASONS


def test_a_picture_lies_under_its_hash() -> None:
    assert picture_key("ab12") == "images/ab12"
