import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.errors import BadSettings, Conflict, NotFound
from serving.object_store import LocalObjectStore


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "objects")


def test_an_object_is_there_once_put(store: LocalObjectStore) -> None:
    assert not store.exists("a/b")
    store.put("a/b", b"one")
    store.put("a/b", b"four")
    assert store.exists("a/b")
    assert store.get("a/b") == b"four"
    assert store.size("a/b") == 4
    assert store.local_path("a/b").read_bytes() == b"four"
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")


def test_an_object_that_is_not_there(store: LocalObjectStore) -> None:
    for ask in (store.get, store.size, store.local_path):
        with pytest.raises(NotFound, match="there is no object a/b"):
            ask("a/b")
    assert store.version("a/b") is None


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "a b", "a\0b", "x~"])
def test_a_key_never_leaves_the_store(store: LocalObjectStore, key: str) -> None:
    with pytest.raises(NotFound, match="is not a key of an object"):
        store.put(key, b"x")


def test_a_listing_is_in_order_and_shows_whole_objects_only(store: LocalObjectStore) -> None:
    for key in ("t/b", "t/a/z", "t/a/y", "u/c"):
        store.put(key, b"")
    (store.root / "t" / "half~").write_bytes(b"not done")
    store.compare_and_set("t/pointer", b"x", None)
    assert list(store.list("t")) == ["t/a/y", "t/a/z", "t/b", "t/pointer"]
    assert list(store.list("nothing")) == []


def test_what_killed_writers_left_is_removed_once_it_is_old(store: LocalObjectStore) -> None:
    store.put("t/whole", b"x")
    old, young = (store.root / "t" / f"{name}.half~" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"not done")
    for path in (old, store.local_path("t/whole")):
        os.utime(path, (0, 0))
    store.tidy("t", 60)
    assert sorted(path.name for path in (store.root / "t").iterdir()) == ["whole", "young.half~"]


def test_an_object_has_an_age(store: LocalObjectStore) -> None:
    store.put("a", b"x")
    assert store.age_s("a") < 60
    os.utime(store.local_path("a"), (0, 0))
    assert store.age_s("a") > 1e9
    store.renew("a")
    assert store.age_s("a") < 60
    for ask in (store.age_s, store.renew):
        with pytest.raises(NotFound, match="there is no object b"):
            ask("b")


def test_a_failed_put_leaves_the_old_object_and_no_litter(store: LocalObjectStore) -> None:
    store.put("a", b"old")
    with pytest.raises(TypeError):
        store.put("a", "not bytes")  # type: ignore[arg-type]
    assert store.get("a") == b"old"
    assert [path.name for path in store.root.iterdir()] == ["a"]


def test_many_objects_are_made_durable_at_once(store: LocalObjectStore) -> None:
    for name in ("a", "b"):
        store.put(f"images/{name}", b"x", sync=False)
    store.sync()
    assert list(store.list("images")) == ["images/a", "images/b"]


def test_compare_and_set_lets_one_writer_win(store: LocalObjectStore) -> None:
    first = store.compare_and_set("pointer", b"1", None)
    assert store.version("pointer") == first
    with pytest.raises(Conflict, match="pointer was changed by another writer"):
        store.compare_and_set("pointer", b"2", None)
    store.compare_and_set("pointer", b"2", first)
    with pytest.raises(Conflict):
        store.compare_and_set("pointer", b"3", first)
    assert store.get("pointer") == b"2"


COUNT = """
import sys
from pathlib import Path
from serving.errors import Conflict
from serving.object_store import LocalObjectStore

store = LocalObjectStore(Path(sys.argv[1]))
for _ in range(25):
    while True:
        version, n = store.version("n"), int(store.get("n"))
        try:
            store.compare_and_set("n", str(n + 1).encode(), version)
            break
        except Conflict:
            continue
"""


def test_no_increment_is_lost_between_processes(store: LocalObjectStore) -> None:
    store.put("n", b"0")
    writers = [subprocess.Popen([sys.executable, "-c", COUNT, store.root]) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert store.get("n") == b"75"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        BadSettings, match=r"cannot make the object store folder .*file/objects: Not a directory"
    ):
        LocalObjectStore(tmp_path / "file" / "objects")
