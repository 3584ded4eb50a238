"""What every object store promises, of a folder and of a bucket, and what a folder is by itself."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import BadSettings, Conflict, NotFound
from serving.object_store import LocalObjectStore, ObjectStore
from tests.gcs_process import BUCKET, EMULATOR
from tests.stores import LEASE_S, opened

ROOT = Path(__file__).resolve().parents[2]
Place = Callable[[], str]


@pytest.fixture(scope="module", params=["folder", "bucket"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], str]]:
    """A new one at each call."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "bucket":
            patch.setenv(EMULATOR, request.getfixturevalue("gcs").url)
            yield lambda: f"gs://{BUCKET}/{uuid.uuid4().hex}"
        else:
            yield lambda: str(tmp_path_factory.mktemp("objects"))


@pytest.fixture
def here(place: Place) -> str:
    return place()


@pytest.fixture
def store(here: str, tmp_path: Path) -> Iterator[ObjectStore]:
    found = opened(here, tmp_path / "cache")
    yield found
    if hasattr(found, "close"):
        found.close()


@pytest.fixture
def folder(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "objects")


def test_an_object_is_there_once_put(store: ObjectStore, here: str) -> None:
    assert not store.exists("a/b")
    store.put("a/b", b"one")
    store.put("a/b", b"four")
    assert store.exists("a/b")
    assert store.get("a/b") == b"four"
    assert store.size("a/b") == 4
    assert store.local_path("a/b").read_bytes() == b"four"
    assert store.local_path("a/b").is_relative_to(store.files)
    assert store.where("a/b") == f"{here}/a/b"
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")


def test_an_object_that_is_not_there(store: ObjectStore) -> None:
    for ask in (store.get, store.size, store.local_path, store.age_s, store.renew):
        with pytest.raises(NotFound, match="there is no object a/b"):
            ask("a/b")
    assert store.version("a/b") is None
    store.forget_file("a/b")


def test_an_object_may_be_empty(store: ObjectStore) -> None:
    store.put("a", b"")
    assert (store.get("a"), store.size("a"), store.local_path("a").read_bytes()) == (b"", 0, b"")


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a/./b", "a//b", "a/", "a b", "a\0b", "x~"]
)
def test_a_key_never_leaves_the_store(store: ObjectStore, key: str) -> None:
    for ask in (store.get, store.exists, store.version, store.local_path, store.list, store.delete):
        with pytest.raises(NotFound, match="is not a key of an object"):
            ask(key)
    for write in (lambda: store.put(key, b"x"), lambda: store.compare_and_set(key, b"x", None)):
        with pytest.raises(NotFound, match="is not a key of an object"):
            write()


def test_a_listing_is_in_order_and_shows_whole_objects_only(store: ObjectStore) -> None:
    for key in ("t/b", "t/a/z", "t/a/y", "t/a.b", "t/a-b/c", "u/c", "tt/d"):
        store.put(key, b"")
    with store.exclusive("t/lock"):
        store.compare_and_set("t/pointer", b"x", None)
        assert list(store.list("t")) == ["t/a-b/c", "t/a.b", "t/a/y", "t/a/z", "t/b", "t/pointer"]
    assert list(store.list("nothing")) == []


def test_an_object_has_an_age(store: ObjectStore) -> None:
    store.put("a", b"x")
    time.sleep(0.02)
    store.put("b", b"x")
    assert 60 > store.age_s("a") > store.age_s("b")
    version = store.version("a")
    store.renew("a")
    assert store.age_s("a") < store.age_s("b")
    assert store.version("a") == version


def test_a_listing_tells_ages(store: ObjectStore) -> None:
    for name in ("t/a", "t/b/c"):
        store.put(name, b"x")
        time.sleep(0.02)
    store.compare_and_set("t/gone", b"x", None)
    store.delete("t/gone")
    store.renew("t/a")
    ages = dict(store.ages("t"))
    assert list(ages) == ["t/a", "t/b/c"]
    assert 0 <= ages["t/a"] < ages["t/b/c"] < 60


def test_a_failed_put_leaves_the_old_object(store: ObjectStore) -> None:
    store.put("a", b"old")
    with pytest.raises(TypeError):
        store.put("a", "not bytes")  # type: ignore[arg-type]
    assert store.get("a") == b"old"


def test_many_objects_are_made_durable_at_once(store: ObjectStore) -> None:
    for name in ("a", "b"):
        store.put(f"images/{name}", b"x", sync=False)
    store.sync()
    assert list(store.list("images")) == ["images/a", "images/b"]


def test_a_large_object(store: ObjectStore) -> None:
    data = os.urandom(20 * 2**20)  # in a bucket two parts
    store.put("large", data)
    assert store.get("large") == data
    assert store.local_path("large").read_bytes() == data


def test_compare_and_set_lets_one_writer_win(store: ObjectStore) -> None:
    first = store.compare_and_set("pointer", b"1", None)
    assert store.version("pointer") == first
    with pytest.raises(Conflict, match="pointer was changed by another writer"):
        store.compare_and_set("pointer", b"2", None)
    store.compare_and_set("pointer", b"2", first)
    with pytest.raises(Conflict, match="pointer was changed by another writer"):
        store.compare_and_set("pointer", b"3", first)
    assert store.get("pointer") == b"2"
    store.delete("pointer")
    with pytest.raises(Conflict, match="pointer was changed by another writer"):
        store.compare_and_set("pointer", b"3", first)
    assert not store.exists("pointer")


KEYS = st.sampled_from(["a", "b.c", "d/e", "d/f.g", "d/f/h", "d.x"])
STEPS = st.tuples(st.sampled_from(["put", "set", "set late", "renew", "delete"]), KEYS, st.binary(max_size=8))


@settings(max_examples=25)
@given(steps=st.lists(STEPS, max_size=12))
def test_it_behaves_as_a_dictionary(
    place: Place, steps: list[tuple[str, str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = opened(place(), tmp_path_factory.getbasetemp() / "cache")
    known: dict[str, bytes] = {}
    late = str(2**40)
    for how, key, data in steps:
        if how == "put":
            store.put(key, data)
        elif how == "set":
            before = store.version(key)
            assert (before is None) == (key not in known)
            assert store.compare_and_set(key, data, before) == store.version(key)
        elif how == "set late":
            with pytest.raises(Conflict):
                store.compare_and_set(key, data, late)
            continue
        elif how == "renew":
            if key in known:
                store.renew(key)
            continue
        else:
            store.delete(key)
            known.pop(key, None)
            continue
        known[key] = data
    assert {key: store.get(key) for key in known} == known
    assert {key: store.local_path(key).read_bytes() for key in known} == known
    assert list(store.list("d")) == sorted(key for key in known if key.startswith("d/"))
    assert {key for key in KEYS.elements if store.exists(key)} == set(known)
    if hasattr(store, "close"):
        store.close()


RACER = """
import sys
from pathlib import Path

from serving.errors import Conflict
from tests.stores import opened

store = opened(sys.argv[1], Path(sys.argv[2]))
for _ in range(20):
    with store.exclusive("counting"):
        store.put("m", str(int(store.get("m")) + 1).encode())
    while True:
        version, n = store.version("n"), int(store.get("n"))
        try:
            store.compare_and_set("n", str(n + 1).encode(), version)
            break
        except Conflict:
            continue
"""


def process(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)


def ended(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=60)
    return process.returncode


def test_no_increment_is_lost_between_processes(store: ObjectStore, here: str, tmp_path: Path) -> None:
    for name in ("m", "n"):
        store.put(name, b"0")
    racers = [process(RACER, here, tmp_path / "cache") for _ in range(3)]
    assert [ended(racer) for racer in racers] == [0, 0, 0]
    assert (store.get("m"), store.get("n")) == (b"60", b"60")


HOLDER = """
import sys
from pathlib import Path

from tests.stores import opened

store = opened(sys.argv[1], Path(sys.argv[2]))
with store.exclusive("releases"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_block_ends_with_its_process(store: ObjectStore, here: str, tmp_path: Path) -> None:
    holder = process(HOLDER, here, tmp_path / "cache")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    entered = threading.Event()

    def enter() -> None:
        with store.exclusive("releases"):
            entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    assert not entered.wait(2 * LEASE_S), "it is held while its holder lives"
    holder.kill()
    assert entered.wait(60)
    waiting.join()
    assert ended(holder) == -signal.SIGKILL


def test_blocks_within_each_other(store: ObjectStore) -> None:
    with store.exclusive("releases"), store.exclusive("generations"):
        store.compare_and_set("pointer", b"x", None)
        store.put("other", b"x")
    with store.exclusive("generations"), store.exclusive("releases"):
        store.delete("other")


def test_what_killed_writers_left_is_removed_once_it_is_old(folder: LocalObjectStore) -> None:
    folder.put("t/whole", b"x")
    old, young = (folder.root / "t" / f"{name}.half~" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"not done")
    for path in (old, folder.local_path("t/whole")):
        os.utime(path, (0, 0))
    assert list(folder.list("t")) == ["t/whole"]
    folder.tidy("t", 60)
    assert sorted(path.name for path in (folder.root / "t").iterdir()) == ["whole", "young.half~"]


def test_a_failed_put_leaves_no_litter(folder: LocalObjectStore) -> None:
    folder.put("a", b"old")
    with pytest.raises(TypeError):
        folder.put("a", "not bytes")  # type: ignore[arg-type]
    assert [path.name for path in folder.root.iterdir()] == ["a"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        BadSettings, match=r"cannot make the object store folder .*file/objects: Not a directory"
    ):
        LocalObjectStore(tmp_path / "file" / "objects")
