"""Writing generations into Milvus, and the alias that follows the pointer."""

from typing import Any

import pytest

from serving.errors import BadInput, Unavailable, Unverified
from serving.index.store import point, read_pointer
from serving.milvus import publish
from serving.milvus.client import Client
from serving.milvus.collection import alias_name, collection_name, generation_of
from serving.milvus.opening import opened
from serving.milvus.publish import Followed, follow, write


def release(shop, snapshot: str, environment: str = "local") -> str:
    manifest = shop.build(snapshot)
    point(shop.store, environment, manifest, "test", "test", read_pointer(shop.store, environment))
    return str(manifest.id)


def live(milvus: Client, environment: str = "local") -> str | None:
    """The generation that the alias leads to; it must be whole."""
    collection = milvus.target_of(alias_name(environment))
    return opened(milvus, collection).about.generation if collection else None


def test_names() -> None:
    name = collection_name("0123456789abcdef")
    assert (name, generation_of(name)) == ("imgsearch_0123456789abcdef", "0123456789abcdef")
    for foreign in ("imgsearch_local", "imgsearch_0123456789ABCDEF", f"{name}\n", f"x{name}", ""):
        assert generation_of(foreign) is None
    for environment in ("a b", 'x"', "", "é", "0123456789abcdef"):
        if environment:
            with pytest.raises(BadInput, match="cannot be an alias in Milvus"):
                alias_name(environment)


def test_the_alias_follows_the_pointer_and_goes_back(shop, milvus: Client) -> None:
    assert follow(shop.store, "local", milvus) is None
    first = release(shop, "s1")
    assert follow(shop.store, "local", milvus) == Followed(first, written=True)
    assert follow(shop.store, "local", milvus) == Followed(first)
    second = release(shop, "s2")
    assert follow(shop.store, "local", milvus) == Followed(second, written=True)
    assert live(milvus) == second
    assert release(shop, "s1") == first
    assert follow(shop.store, "local", milvus) == Followed(first)
    assert live(milvus) == first


def test_what_nobody_can_need_is_dropped(shop, milvus: Client) -> None:
    """Two are kept here; a foreign collection, and what another environment serves, stay."""
    milvus.call("create_collection", "imgsearch_of_somebody", dimension=4)
    promoted = release(shop, "s1", "staging")
    follow(shop.store, "staging", milvus)
    generations = [release(shop, snapshot) for snapshot in ("s2",)]
    follow(shop.store, "local", milvus)
    milvus.call("create_collection", collection_name("0" * 16), dimension=4)  # begun, and left
    generations.append(release(shop, "s3"))
    follow(shop.store, "local", milvus)
    generations.append(release(shop, "s4"))
    done = follow(shop.store, "local", milvus, keep=2)
    assert done == Followed(generations[2], written=True, dropped=[collection_name(generations[0])])
    kept = {collection_name(one) for one in (promoted, *generations[1:])}
    assert set(milvus.call("list_collections")) == kept | {"imgsearch_of_somebody"}


class Dying(Client):
    """Does as its model, and dies right after the call named, at its ``time``."""

    def __init__(self, model: Client, method: str, time: int) -> None:
        self._model, self._method, self._left = model, method, time

    def call(self, method: str, *args: Any, timeout_s: float | None = None, **kwargs: Any) -> Any:
        done = self._model.call(method, *args, timeout_s=timeout_s, **kwargs)
        if method == self._method:
            self._left -= 1
            if not self._left:
                raise KeyboardInterrupt
        return done

    def target_of(self, alias: str) -> str | None:
        return self._model.target_of(alias)


def test_a_publisher_that_is_killed_leaves_the_old_generation_or_the_new(shop, milvus: Client) -> None:
    first = release(shop, "s1")
    follow(shop.store, "local", milvus)
    second = release(shop, "s2")
    for method, time, after in (
        ("create_collection", 1, first),
        ("insert", 1, first),  # the rows
        ("create_index", 2, first),
        ("insert", 2, first),  # the description
        ("alter_alias", 1, second),
    ):
        with pytest.raises(KeyboardInterrupt):
            follow(shop.store, "local", Dying(milvus, method, time))
        assert live(milvus) == after, (method, time)
    assert follow(shop.store, "local", milvus) == Followed(second)


def test_a_collection_that_lost_rows_is_written_anew(shop, milvus: Client) -> None:
    generation = release(shop, "s1")
    follow(shop.store, "local", milvus)
    collection = collection_name(generation)
    milvus.call("delete", collection, filter="row in [3, 4]")
    milvus.call("flush", collection)
    with pytest.raises(Unverified, match=r"has \d+ rows, not \d+"):
        opened(milvus, collection)
    assert follow(shop.store, "local", milvus) == Followed(generation, written=True)
    assert live(milvus) == generation


def test_what_milvus_changed_is_not_served(shop, milvus: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are not what was meant: the alias stays."""
    first = release(shop, "s1")
    follow(shop.store, "local", milvus)
    second = release(shop, "s2")

    def wrong(generation):
        for batch in entities(generation):
            yield [one | {"vector": -one["vector"]} for one in batch]

    entities = publish.entities
    monkeypatch.setattr(publish, "entities", wrong)
    with pytest.raises(Unverified, match="does not hold row 0 as it was written"):
        follow(shop.store, "local", milvus)
    assert live(milvus) == first
    monkeypatch.undo()
    assert follow(shop.store, "local", milvus) == Followed(second, written=True)


def test_a_pointer_that_moves_meanwhile_is_followed(
    shop, milvus: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(shop, "s1")
    moved: list[str] = []

    def slow(client: Client, generation: Any) -> None:
        write(client, generation)
        if not moved:
            moved.append(release(shop, "s2"))

    monkeypatch.setattr(publish, "write", slow)
    done = follow(shop.store, "local", milvus)
    assert done is not None
    assert [done.generation] == moved == [live(milvus)]


def test_milvus_that_refuses_or_is_away_is_one_sentence(shop, milvus: Client) -> None:
    with pytest.raises(Unavailable, match=r"^Milvus refuses: query$"):
        milvus.call("query", "nothing", filter="row ==")
    away = Client("http://127.0.0.1:1", None, 1)
    with pytest.raises(Unavailable, match=r"^Milvus does not answer: describe alias$"):
        away.target_of("x")
    release(shop, "s1")
    with pytest.raises(Unavailable, match=r"^Milvus does not answer: has collection$"):
        follow(shop.store, "local", away)
