"""Building an index where FAISS has a GPU. Everything is there without one, too, and slower.

Which build of FAISS is installed decides: its wheels for GPUs cluster there, a build with cuVS makes graphs,
too. What comes out is the same kind of index as without, and passes the same gates.
"""

import faiss
import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.progress import Advance


def gpus() -> int:
    """How many FAISS can use."""
    return int(faiss.get_num_gpus())


def builds_graphs() -> bool:
    return gpus() > 0 and hasattr(faiss, "GpuIndexCagra")


def train_on(lists: faiss.IndexIVF) -> None:
    """Let the middles of lists be found on all GPUs, if there are any."""
    if gpus():
        lists.clustering_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(lists.d))


def graph(vectors: NDArray[np.float32], index: faiss.IndexHNSWSQ, advance: Advance) -> faiss.IndexHNSWSQ:
    """``index`` with ``vectors`` float32 (n, d) and a CAGRA graph of them in the place of its own.

    The upper levels are made by the processor: CAGRA has one level only.
    """
    links = index.hnsw.nb_neighbors(0)
    config = faiss.GpuIndexCagraConfig()
    config.graph_degree, config.intermediate_graph_degree = links, 2 * links
    made = faiss.GpuIndexCagra(
        faiss.StandardGpuResources(), vectors.shape[1], faiss.METRIC_INNER_PRODUCT, config
    )
    made.train(vectors)
    found = faiss.IndexHNSWCagra(vectors.shape[1], links // 2, faiss.METRIC_INNER_PRODUCT)
    found.base_level_only = False
    made.copyTo(found)
    advance(len(vectors))
    return with_links(index, found, vectors)


def with_links(
    index: faiss.IndexHNSWSQ, other: faiss.IndexHNSW, vectors: NDArray[np.float32]
) -> faiss.IndexHNSWSQ:
    """``index``, empty before, with ``vectors`` float32 (n, d) and the links of ``other``, made of them."""
    index.storage.add(vectors)
    index.hnsw = other.hnsw
    index.ntotal = len(vectors)
    return index
