"""What of the way over a GPU can be tried without one: the links that come back, and where it is taken."""

import faiss
import numpy as np
import pytest

from benchmarks._catalogue import synthetic
from imgsearch_assets.index import base, gpu
from serving.index import kinds
from serving.index.generation import GRAPH


def test_links_of_another_graph_search_the_same() -> None:
    xb, dim = synthetic(3_000, 1, 32).xb, 32
    other = faiss.IndexHNSWCagra(dim, 32, faiss.METRIC_INNER_PRODUCT)  # as CAGRA's are copied into
    other.base_level_only = False
    other.add(xb)
    index = gpu.with_links(kinds.empty(dim, GRAPH), other, xb)
    del other
    assert kinds.shape(index)[:2] == (dim, 3_000)
    again = faiss.deserialize_index(faiss.serialize_index(index))
    assert base.figures_of(again, xb).recall_at_10 >= 0.99
    assert np.abs(again.reconstruct(7) - xb[7]).max() < 1e-3


def test_without_a_gpu_nothing_of_it_is_used() -> None:
    if gpu.gpus():
        pytest.skip("there is one")
    index = kinds.empty(16, "IVF4,PQ8x4fs,Refine(SQfp16)")
    lists = faiss.extract_index_ivf(index.base_index)
    gpu.train_on(lists)
    assert lists.clustering_index is None
    assert not gpu.builds_graphs()


@pytest.mark.skipif(not gpu.gpus(), reason="needs a GPU and FAISS built for it")
def test_lists_are_learned_on_a_gpu() -> None:
    xb = synthetic(20_000, 1, 64).xb
    index = base.build_base(xb, "IVF64,PQ32x4fs,Refine(SQfp16)", lambda _: None)
    assert base.figures_of(index, xb).recall_at_10 >= 0.95


@pytest.mark.skipif(not gpu.builds_graphs(), reason="needs a GPU and FAISS built with cuVS")
def test_a_graph_is_built_on_a_gpu() -> None:
    xb = synthetic(20_000, 1, 64).xb
    assert base.figures_of(base.build_base(xb, GRAPH, lambda _: None), xb).recall_at_10 >= 0.95
