from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations

import faiss
import numpy as np
import pyarrow as pa
import pytest

from serving.errors import NotFound, Unavailable, Unverified
from serving.index import artifact, memory
from serving.index.artifact import load, write_segment
from serving.index.generation import Manifest, Segment
from serving.index.store import verify


def test_what_was_built_is_loaded(shop) -> None:
    generation = load(shop.store, shop.build())
    assert generation.base.index.ntotal == shop.items.num_rows
    assert generation.base.attributes.ids.to_pylist() == sorted(shop.ids)
    items = shop.items.to_pylist()
    for product in (0, 17, 59):
        name = generation.base.attributes.ids[product].as_py()
        own = [place for place, item in enumerate(items) if item["product_id"] == name]
        own.sort(key=lambda place: (items[place]["sha256"], items[place]["box"]))
        rows = generation.vectors(product)
        assert rows.dtype == np.float32
        assert rows.shape == (len(own), shop.dim)
        np.testing.assert_allclose(rows, shop.vectors[own], atol=1e-3)
        assert generation.base.first_row[product + 1] - generation.base.first_row[product] == len(own)


@contextmanager
def instead(store, segment: Segment, data: bytes) -> Iterator[None]:
    """``data`` in place of what a file holds."""
    good = store.get(segment.key)
    store.put(segment.key, data)
    yield
    store.put(segment.key, good)


def test_every_flipped_byte_is_refused(shop) -> None:
    manifest = shop.build()
    rng = np.random.default_rng(0)
    for segment in manifest.segments:
        good = shop.store.get(segment.key)
        for place in rng.integers(len(good), size=20):
            bad = bytearray(good)
            bad[place] ^= 1 << int(rng.integers(8))
            with (
                instead(shop.store, segment, bytes(bad)),
                pytest.raises(Unverified, match=f"{segment.key} does not have the hash that its name says"),
            ):
                load(shop.store, manifest)
    load(shop.store, manifest)


def test_a_file_cut_short_or_gone_is_refused(shop) -> None:
    manifest = shop.build()
    for segment in manifest.segments:
        data = shop.store.get(segment.key)
        with instead(shop.store, segment, data[:-1]):
            with pytest.raises(Unverified, match=f"has {len(data) - 1} bytes, not {len(data)}"):
                load(shop.store, manifest)
            shop.store.delete(segment.key)
            with pytest.raises(NotFound, match=f"there is no object {segment.key}"):
                load(shop.store, manifest)
    load(shop.store, manifest)


def test_files_in_each_others_place_are_refused(shop) -> None:
    manifest = shop.build()
    for segment, other in permutations(manifest.segments, 2):
        with (
            instead(shop.store, segment, shop.store.get(other.key)),
            pytest.raises(Unverified, match=segment.key),
        ):
            load(shop.store, manifest)


def with_base(shop, manifest: Manifest, data: bytes) -> Manifest:
    """``manifest`` with another graph, hashed and sized as it should be: the work of a wrong publisher."""
    base = write_segment(shop.store, "base", data)
    segments = [base if segment.kind == "base" else segment for segment in manifest.segments]
    return Manifest.model_validate(
        manifest.model_dump() | {"segments": [segment.model_dump() for segment in segments]}
    )


def graph(
    vectors: np.ndarray, factory: str = "HNSW32,SQfp16", metric: int = faiss.METRIC_INNER_PRODUCT
) -> bytes:
    index = faiss.index_factory(vectors.shape[1], factory, metric)
    index.add(vectors)
    data: bytes = faiss.serialize_index(index).tobytes()
    return data


def test_a_graph_of_another_shape_is_refused(shop) -> None:
    manifest = shop.build()
    rows, dim = shop.vectors.shape
    kinds = "IndexHNSWSQ of IndexScalarQuantizer"
    wanted = f"says {kinds} of {rows} x {dim} with metric 0"
    for data, found in (
        (graph(shop.vectors[:-1]), f"{kinds} of {rows - 1} x {dim} with metric 0"),
        (graph(shop.vectors[:, :-1].copy()), f"{kinds} of {rows} x {dim - 1} with metric 0"),
        (graph(shop.vectors, metric=faiss.METRIC_L2), f"{kinds} of {rows} x {dim} with metric 1"),
        (graph(shop.vectors, factory="Flat"), f"IndexFlatIP of {rows} x {dim} with metric 0"),
    ):
        with pytest.raises(Unverified) as refused:
            load(shop.store, with_base(shop, manifest, data))
        assert found in str(refused.value)
        assert wanted in str(refused.value)


def test_a_graph_that_answers_otherwise_is_refused(shop) -> None:
    manifest = shop.build()
    with pytest.raises(Unverified, match=r"row 0 of generation \w+ finds 0\.2\d+, not (1\.0|0\.9)\d+"):
        load(shop.store, with_base(shop, manifest, graph(shop.vectors * 0.5)))


def test_a_hostile_file_is_not_believed(shop) -> None:
    """Its first vector claims four terabytes; hash and size are those of the manifest."""
    manifest = shop.build()
    data = bytearray(graph(shop.vectors))
    # Before it: kind 4, dimension 4, rows 8, two unused 16, trained 1, metric 4.
    assert int.from_bytes(data[37:45], "little") < 100
    data[37:45] = (2**39).to_bytes(8, "little")
    hostile = with_base(shop, manifest, bytes(data))
    key = hostile.segment("base").key
    with pytest.raises(Unverified, match=f"{key} cannot be read by FAISS") as refused:
        load(shop.store, hostile)
    assert "vector_byte_limit" in str(refused.value.__cause__)


def test_a_table_that_is_none_or_lacks_a_column_is_refused(shop) -> None:
    manifest = shop.build()
    fakes = {"items": b"PAR1", "products": shop.store.get(manifest.segment("items").key)}
    texts = {"items": "is no Parquet table", "products": "has no column name of type string"}
    for kind, data in fakes.items():
        fake = write_segment(shop.store, kind, data)  # type: ignore[arg-type]
        changed = manifest.model_copy(
            update={"segments": tuple(fake if s.kind == kind else s for s in manifest.segments)}
        )
        with pytest.raises(Unverified, match=texts[kind]):
            load(shop.store, changed)


def test_without_memory_for_two_the_second_is_not_loaded(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = shop.build()
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000)
    with pytest.raises(Unavailable, match=rf"generation {manifest.id} needs \d+ MiB of memory and 0 MiB are"):
        load(shop.store, manifest)


def test_without_memory_for_what_tables_unpack_to_it_is_not_loaded(
    shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are small, for what they say repeats itself: that is seen once they are read."""
    shop.products = shop.products.set_column(1, "name", pa.array(["the same long name " * 5_000] * 60))
    manifest = shop.build()
    free = sum(segment.size_bytes for segment in manifest.files) * 10
    monkeypatch.setattr(memory, "available_bytes", lambda: free)
    with pytest.raises(Unavailable, match=rf"generation {manifest.id} needs 17 MiB of memory and \d MiB are"):
        load(shop.store, manifest)


def test_the_limits_of_faiss_hold_while_loading_only(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    before = faiss.get_deserialization_vector_byte_limit()
    manifest, seen = shop.build(), []
    read = faiss.read_index

    def reading(path: str, flags: int) -> faiss.Index:
        seen.append(faiss.get_deserialization_vector_byte_limit())
        return read(path, flags)

    monkeypatch.setattr(artifact.faiss, "read_index", reading)
    load(shop.store, manifest)
    assert seen == [manifest.segment("base").size_bytes]
    assert faiss.get_deserialization_vector_byte_limit() == before


def test_a_store_that_gives_back_other_bytes_is_found_out(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    put = shop.store.put
    monkeypatch.setattr(shop.store, "put", lambda key, data: put(key, data[:-1] + b"?"))
    with pytest.raises(Unverified, match="does not have the hash that its name says"):
        write_segment(shop.store, "items", b"abc")


def test_a_damaged_file_of_an_earlier_build_is_written_anew(shop) -> None:
    segment = write_segment(shop.store, "items", b"abc")
    shop.store.put(segment.key, b"abd")
    assert write_segment(shop.store, "items", b"abc") == segment
    verify(shop.store, segment)
