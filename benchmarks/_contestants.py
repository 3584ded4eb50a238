"""Indexes under one roof: build of the same vectors, ask on one thread, say how large.

``ladder`` holds the settings of an index's one search parameter, from fast to thorough.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks._catalogue import built
from benchmarks._peers import FOLDER, NotInstalled, library
from serving.index.search import search

Rows = NDArray[np.float32]
Found = NDArray[np.int64]
Ask = Callable[[Rows, int, int], Found]

K = 10
BEAMS = (
    10,
    12,
    14,
    16,
    18,
    20,
    22,
    24,
    28,
    32,
    36,
    40,
    48,
    56,
    64,
    80,
    96,
    128,
    160,
    192,
    256,
    384,
    512,
    768,
)
# annoy's README has no default for trees; more of them find more and take more memory.
_ANNOY_TREES = 50
_SEARCH_K = tuple(int(500 * 1.15**step) for step in range(50))
# The values of hnswlib's own example.
_HNSWLIB_M, _HNSWLIB_EF_CONSTRUCTION = 16, 200


@dataclass(frozen=True)
class Contestant:
    """``batch`` and ``single`` answer ``xq`` float32 (nq, d) with int64 (nq, k), in one call or one a query.

    ``single`` alone where an index has no call for many.
    """

    name: str
    parameter: str
    ladder: tuple[int, ...]
    batch: Ask | None
    single: Ask
    build_s: float
    bytes_a_vector: float


def one_by_one(ask: Ask) -> Ask:
    return lambda xq, k, setting: np.concatenate(
        [ask(xq[row : row + 1], k, setting) for row in range(len(xq))]
    )


def ours(xb: Rows, folder: Path) -> list[Contestant]:
    """The graph of a generation by itself, and the search of the service with its planner."""
    made = built(xb, 1, folder)
    generation, size = made.generation, made.base_bytes / len(xb)

    def graph(xq: Rows, k: int, ef: int) -> Found:
        parameters = faiss.SearchParametersHNSW(efSearch=ef)
        return np.asarray(generation.base.index.search(xq, k, params=parameters)[1])

    def served(xq: Rows, k: int, _: int) -> Found:
        rows = [[hit.row for hit in search(generation, xq[at : at + 1], k).hits] for at in range(len(xq))]
        return np.array(rows, np.int64)

    return [
        Contestant("our graph", "efSearch", BEAMS, graph, one_by_one(graph), made.build_s, size),
        Contestant("ours, served", "", (0,), None, served, made.build_s, size),
    ]


def exact(xb: Rows) -> Contestant:
    index = faiss.IndexFlatIP(xb.shape[1])
    started = time.process_time()
    index.add(xb)
    seconds = time.process_time() - started

    def ask(xq: Rows, k: int, _: int) -> Found:
        return np.asarray(index.search(xq, k)[1])

    return Contestant("exact (FAISS flat)", "", (0,), ask, one_by_one(ask), seconds, 4 * xb.shape[1])


def graph_of(name: str, xb: Rows, factory: str, ef_construction: int) -> Contestant:
    """A FAISS graph of other settings than ours, to see what makes a difference."""
    index = faiss.index_factory(xb.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = ef_construction
    started = time.process_time()
    index.add(xb)
    seconds = time.process_time() - started

    def ask(xq: Rows, k: int, ef: int) -> Found:
        return np.asarray(index.search(xq, k, params=faiss.SearchParametersHNSW(efSearch=ef))[1])

    size = faiss.serialize_index(index).nbytes / len(xb)
    return Contestant(name, "efSearch", BEAMS, ask, one_by_one(ask), seconds, size)


def annoy(xb: Rows) -> Contestant:
    from annoy import AnnoyIndex  # type: ignore[import-not-found]

    index: Any = AnnoyIndex(xb.shape[1], "angular")
    index.set_seed(0)
    started = time.process_time()
    for row, vector in enumerate(xb):
        index.add_item(row, vector)
    index.build(_ANNOY_TREES, n_jobs=1)
    seconds = time.process_time() - started
    with tempfile.NamedTemporaryFile(suffix=".annoy") as file:
        index.save(file.name)  # from here on it is mapped, as its users have it
        size = Path(file.name).stat().st_size / len(xb)

    def ask(xq: Rows, k: int, search_k: int) -> Found:
        found = np.full((len(xq), k), -1, np.int64)
        for row, vector in enumerate(xq):
            ids = index.get_nns_by_vector(vector, k, search_k)
            found[row, : len(ids)] = ids
        return found

    return Contestant("annoy", "search_k", _SEARCH_K, None, ask, seconds, size)


def hnswlib(xb: Rows) -> Contestant:
    import hnswlib as peer  # type: ignore[import-not-found]

    index: Any = peer.Index(space="ip", dim=xb.shape[1])
    index.set_num_threads(1)
    started = time.process_time()
    index.init_index(len(xb), ef_construction=_HNSWLIB_EF_CONSTRUCTION, M=_HNSWLIB_M)
    index.add_items(xb, num_threads=1)
    seconds = time.process_time() - started
    with tempfile.NamedTemporaryFile(suffix=".hnsw") as file:
        index.save_index(file.name)
        size = Path(file.name).stat().st_size / len(xb)

    def ask(xq: Rows, k: int, ef: int) -> Found:
        index.set_ef(ef)
        return np.asarray(index.knn_query(xq, k, num_threads=1)[0]).astype(np.int64)

    return Contestant("hnswlib", "ef", BEAMS, ask, one_by_one(ask), seconds, size)


def usearch(xb: Rows) -> Contestant:
    from usearch.index import Index  # type: ignore[import-not-found]

    index: Any = Index(ndim=xb.shape[1], metric="ip", dtype="f16")
    started = time.process_time()
    index.add(np.arange(len(xb)), xb, threads=1)
    seconds = time.process_time() - started
    size = index.serialized_length / len(xb)

    def ask(xq: Rows, k: int, ef: int) -> Found:
        index.expansion_search = ef
        return np.asarray(index.search(xq, k, threads=1).keys).astype(np.int64).reshape(len(xq), k)

    return Contestant("usearch", "expansion_search", BEAMS, ask, one_by_one(ask), seconds, size)


PEERS: dict[str, Callable[[Rows], Contestant]] = {"annoy": annoy, "hnswlib": hnswlib, "usearch": usearch}


def install(names: list[str]) -> dict[str, str]:
    """Put ``names`` of ``PEERS`` on the path; those that cannot be had, with the reason."""
    lacking = {}
    paragraphs = (Path(__file__).parent / "search-peers.txt").read_text().split("\n\n")
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        lines = next(part for part in paragraphs if f"{name}==" in part)
        # Each by itself: where one cannot be had, the others still can.
        wanted = FOLDER / f"search-{name}.txt"
        wanted.write_text(lines)
        try:
            sys.path.append(str(library(wanted)))
        except NotInstalled as error:
            lacking[name] = str(error)
    return lacking
