from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsearch_assets.images.plan import DownloadPlan, plan_downloads
from imgsearch_assets.images.store import FETCHES, PERMANENT, REASONS, Fetch, fetch_rows

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def known(
    url: str,
    *,
    reason: str | None = None,
    status: str | None = None,
    fetched_at: datetime = NOW - HOUR,
    retry_after: datetime | None = None,
) -> Fetch:
    status = status or ("ok" if reason is None else "failed")
    sha256 = "ab" * 32 if status == "ok" else None
    return Fetch(
        url=url,
        status=status,  # type: ignore[arg-type]
        reason=reason,
        http_status=None,
        sha256=sha256,
        size_bytes=None,
        width=None,
        height=None,
        etag='"v1"',
        last_modified=None,
        fetched_at=fetched_at,
        attempts=1,
        retry_after=retry_after,
    )


def plan(urls: list[tuple[str, datetime | None]], fetches: list[Fetch], now: datetime = NOW) -> DownloadPlan:
    table = pa.table(
        {
            "url": pa.array([url for url, _ in urls], pa.string()),
            "updated_at": pa.array([at for _, at in urls], pa.timestamp("us", "UTC")),
        }
    )
    return plan_downloads(table, fetch_rows(fetches), now)


def place(fetch: Fetch, updated_at: datetime | None) -> str:
    """The part of the plan in which the URL of ``fetch`` is."""
    counts = plan([(fetch.url, updated_at)], [fetch]).counts
    (name,) = (name for name, count in counts.items() if count)
    return name


def test_what_is_not_known_is_new_in_the_order_of_the_catalogue() -> None:
    found = plan([("http://b", None), ("http://a", NOW), ("http://b", NOW)], [])
    assert found.new["url"].to_pylist() == ["http://b", "http://a"]
    assert found.total == 2
    assert [target.url for target in found.targets()] == ["http://b", "http://a"]


@pytest.mark.parametrize(
    ("fetch", "updated_at", "where"),
    [
        (known("u"), None, "fresh"),
        (known("u"), NOW - 2 * HOUR, "fresh"),
        (known("u"), NOW, "revalidate"),
        (known("u", status="ok", reason="timeout", retry_after=NOW + HOUR), NOW, "waiting"),
        (known("u", status="ok", reason="timeout", retry_after=NOW), NOW, "revalidate"),
        (known("u", reason="timeout", retry_after=NOW + HOUR), None, "waiting"),
        (known("u", reason="timeout", retry_after=NOW - HOUR), None, "retry"),
        (known("u", reason="http_error", retry_after=NOW + HOUR), NOW, "waiting"),
        (known("u", reason="not_found", retry_after=NOW + HOUR), None, "waiting"),
        (known("u", reason="not_found", retry_after=NOW + HOUR), NOW - 2 * HOUR, "waiting"),
        (known("u", reason="not_found", retry_after=NOW + HOUR), NOW, "retry"),
        (known("u", reason="truncated", retry_after=NOW + HOUR), NOW, "retry"),
        (known("u", reason="truncated", retry_after=NOW), None, "retry"),
    ],
)
def test_where_a_known_url_goes(fetch: Fetch, updated_at: datetime | None, where: str) -> None:
    assert place(fetch, updated_at) == where


def test_a_url_of_two_products_is_as_new_as_the_newer() -> None:
    urls = [("u", NOW - 2 * HOUR), ("u", NOW), ("u", None)]
    assert plan(urls, [known("u")]).counts["revalidate"] == 1


def test_targets_carry_what_is_known() -> None:
    fetch = known("u")
    assert [target.previous for target in plan([("u", NOW)], [fetch]).targets()] == [fetch]


def test_an_empty_catalogue_asks_for_nothing() -> None:
    assert plan([], [known("u")]).counts == {"new": 0, "revalidate": 0, "retry": 0, "waiting": 0, "fresh": 0}


urls = st.sampled_from([f"http://shop.example/{n}.jpg" for n in range(6)])
moments = st.integers(-100, 100).map(lambda minutes: NOW + timedelta(minutes=minutes))
catalogues = st.lists(st.tuples(urls, st.none() | moments), max_size=12)
reasons = st.none() | st.sampled_from(sorted(REASONS))
histories = st.lists(
    st.builds(known, urls, reason=reasons, fetched_at=moments, retry_after=st.none() | moments),
    unique_by=lambda fetch: fetch.url,
    max_size=6,
)


@given(catalogues, histories)
def test_every_url_of_the_catalogue_is_in_one_place(
    catalogue: list[tuple[str, datetime | None]], history: list[Fetch]
) -> None:
    found = plan(catalogue, history)
    parts = [getattr(found, name)["url"].to_pylist() for name in found.counts]
    together = [url for part in parts for url in part]
    assert sorted(together) == sorted({url for url, _ in catalogue})
    assert [target.url for target in found.targets()] == parts[0] + parts[1] + parts[2]
    assert found.revalidate.schema.names == found.retry.schema.names == FETCHES.names


@given(catalogues)
def test_after_a_good_run_nothing_is_asked_again(catalogue: list[tuple[str, datetime | None]]) -> None:
    later = NOW + 2 * HOUR
    history = [known(url, fetched_at=later) for url in {url for url, _ in catalogue}]
    assert plan(catalogue, history, later).total == 0


@given(catalogues, histories)
def test_a_passing_failure_is_never_asked_before_it_is_due(
    catalogue: list[tuple[str, datetime | None]], history: list[Fetch]
) -> None:
    for target in plan(catalogue, history).targets():
        previous = target.previous
        if previous and previous.reason not in PERMANENT and previous.retry_after is not None:
            assert previous.retry_after <= NOW
