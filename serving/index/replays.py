"""The pages that say what a release would change, as the pipeline keeps them in the object store."""

from serving.errors import NotFound, Unverified
from serving.object_store import ObjectStore

FOLDER = "reports/replay"
# Under which the front serves them to administrators.
PATH = "/v1/admin/replays/"
# Of a page that is written; none that is served is larger.
MAX_BYTES = 5 * 2**20


def report_key(before: str, after: str, kind: str) -> str:
    """Of the report of two generations: its figures (``json``), page (``html``) or sheet (``jpeg``)."""
    return f"{FOLDER}/{after}/{before}.{kind}"


def read_page(store: ObjectStore, before: str, after: str) -> bytes:
    """The page, HTML in UTF-8. Raises ``NotFound``, and ``Unverified`` when it is larger than any of ours."""
    key = report_key(before, after, "html")
    if not store.exists(key):
        raise NotFound(f"nobody compared generation {after} with {before}, or its page is pruned")
    if (size := store.size(key)) > MAX_BYTES:
        raise Unverified(f"{key} has {size:,} bytes, at most {MAX_BYTES:,} are shown; remove it")
    return store.get(key)
