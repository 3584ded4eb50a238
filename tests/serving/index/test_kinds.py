"""A base of quantised lists with the vectors beside them, through everything that a graph goes through."""

from typing import Any

import faiss
import numpy as np
import pytest
from pydantic import ValidationError

from imgsearch_assets.gates.generation import run_gates
from imgsearch_assets.index.base import build_base
from imgsearch_assets.index.generation import build_generation
from imgsearch_assets.release.publish import publish
from serving.errors import BadInput, Unverified
from serving.index import kinds
from serving.index.artifact import load
from serving.index.generation import Manifest, generation_id
from serving.index.loaded import Generation
from serving.index.search import search

LISTS = "IVF16,PQ16x4fs,Refine(SQfp16)"


def built(shop, graph: str = LISTS) -> Manifest:
    return build_generation(
        shop.store,
        shop.products,
        shop.items,
        shop.vectors,
        embedder=shop.embedder,
        preprocessing="pre-1",
        detector="detector-1",
        snapshot="lists",
        graph=graph,
    )


@pytest.fixture(scope="module")
def lists(big_shop) -> Generation:
    return load(big_shop.store, built(big_shop))


def test_it_is_what_it_says(lists: Generation) -> None:
    assert lists.manifest.graph == LISTS
    assert isinstance(lists.base.index, faiss.IndexRefine)
    assert kinds.shape(lists.base.index)[3] == "IndexRefine of IndexIVFPQFastScan of IndexScalarQuantizer"


def test_it_passes_the_gates(big_shop, lists: Generation) -> None:
    assert [gate.name for gate in run_gates(lists, None) if not gate.passed] == []
    pointer = publish(big_shop.store, "lists", lists.manifest.id, "test", "test")
    assert pointer.live.generation == lists.manifest.id


@pytest.mark.parametrize("share", [1.0, 0.3, 0.03, 0.001])
def test_filters_do_not_starve(big_shop, lists: Generation, share: float) -> None:
    rng = np.random.default_rng(0)
    stored = lists.vectors_of(np.arange(lists.manifest.rows))
    found_of_wanted = 0
    for number in range(20):
        xq = big_shop.vectors[rng.integers(len(big_shop.vectors))][None]
        allowed = rng.random(lists.size) < share
        allowed[number] = True
        found = search(lists, xq, 10, None if share == 1 else allowed)
        scores = np.full(lists.size, -2.0)
        np.maximum.at(scores, lists.row_product, stored @ xq[0])
        if share < 1:
            scores[~allowed] = -2
        wanted = min(10, int((scores > -2).sum()))
        assert len(found.hits) == wanted
        least = np.sort(scores)[-wanted]
        found_of_wanted += sum(hit.score >= least - 2e-3 for hit in found.hits) / wanted
    assert found_of_wanted / 20 >= 0.95


def test_another_kind_than_the_manifest_says_is_refused(shop) -> None:
    manifest = shop.build()
    fields = manifest.model_dump() | {"graph": "HNSW16,SQfp16"}
    load(shop.store, other(fields))  # links are not told apart, kinds are
    with pytest.raises(Unverified, match="is IndexHNSWSQ of IndexScalarQuantizer of"):
        load(shop.store, other(fields | {"graph": "IVF4,PQ8x4fs,Refine(SQfp16)"}))


def other(fields: dict[str, Any]) -> Manifest:
    segments = {segment["kind"]: segment["sha256"] for segment in fields["segments"]}
    fields["id"] = generation_id(
        items_sha256=segments["items"], products_sha256=segments["products"], **fields
    )
    return Manifest.model_validate(fields)


def test_too_few_rows_and_parts_that_do_not_divide(shop) -> None:
    with pytest.raises(BadInput, match=r"IVF64,PQ8x4fs,Refine\(SQfp16\) needs 2,496 rows to learn 64 lists"):
        built(shop, "IVF64,PQ8x4fs,Refine(SQfp16)")
    with pytest.raises(BadInput, match=r"IVF4,PQ7,Refine\(SQfp16\) is not for vectors of 16 dimensions"):
        built(shop, "IVF4,PQ7,Refine(SQfp16)")


@pytest.mark.parametrize("graph", ["Flat", "HNSW32", "IVF16,PQ8", "HNSW32,SQfp16,Refine(Flat)", ""])
def test_other_factories_are_no_manifest(shop, graph: str) -> None:
    with pytest.raises(ValidationError, match="should match pattern"):
        Manifest.model_validate(shop.build().model_dump() | {"graph": graph})


def test_rows_stay_in_their_order() -> None:
    xb = np.random.default_rng(0).normal(size=(800, 16)).astype(np.float32)
    told: list[int] = []
    index = build_base(xb, LISTS.replace("PQ16", "PQ8"), told.append)
    assert np.abs(index.reconstruct_n(0, 800) - xb).max() < 5e-3
    assert sum(told) == 800


def test_lists_of_whole_bytes_are_read_however_small_the_shop(shop) -> None:
    """FAISS works out tables when it reads them, which may be larger than the file."""
    generation = load(shop.store, built(shop, "IVF2,PQ16,Refine(SQfp16)"))
    assert kinds.shape(generation.base.index)[3] == "IndexRefine of IndexIVFPQ of IndexScalarQuantizer"
    assert search(generation, generation.vectors(3), 1).hits[0].product == 3
