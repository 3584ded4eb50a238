"""What the base of a generation may be: a graph; or, past one machine's memory, lists of quantised vectors.

Both keep the vectors as float16 beside what finds them. A graph needs them all the time. Lists find by 16 to
64 bytes a vector and look at the vectors of a few hundred candidates only: these may stay in a mapped file.
"""

import re
from functools import lru_cache

import faiss

# Of so many candidates for each row that is wanted the vectors themselves are looked at.
_CANDIDATES = 16
# A beam of two is one list more.
_LISTS_A_BEAM = 0.5


def empty(dim: int, factory: str) -> faiss.Index:
    """An index of ``generation.FACTORY`` to be trained and filled; inner product."""
    return faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)


def tables_bytes(factory: str) -> int:
    """What FAISS works out, beside what is in the file, when it reads one of ``generation.FACTORY``."""
    lists = re.match(r"IVF(\d+),PQ(\d+),", factory)
    return 256 * 4 * int(lists[1]) * int(lists[2]) if lists else 0


@lru_cache(256)
def _graph_parameters(beam: int) -> faiss.SearchParametersHNSW:
    return faiss.SearchParametersHNSW(efSearch=beam)  # nobody changes it, so threads may share it


@lru_cache(256)
def _list_parameters(beam: int) -> faiss.IndexRefineSearchParameters:
    lists = faiss.SearchParametersIVF(nprobe=max(1, round(beam * _LISTS_A_BEAM)))
    return faiss.IndexRefineSearchParameters(k_factor=_CANDIDATES, base_index_params=lists)


def parameters(index: faiss.Index, beam: int) -> faiss.SearchParameters:
    """How to search with a beam of so many rows, or the lists that find about as well."""
    return _graph_parameters(beam) if isinstance(index, faiss.IndexHNSW) else _list_parameters(beam)


def vectors_of(index: faiss.Index) -> faiss.IndexScalarQuantizer:
    """The float16 vectors of a base, or those of an index that is nothing else."""
    if isinstance(index, faiss.IndexHNSW):
        return faiss.downcast_index(index.storage)
    return faiss.downcast_index(index.refine_index) if isinstance(index, faiss.IndexRefine) else index


def shape(index: faiss.Index) -> tuple[int, int, int, str]:
    """Dimensions, rows, metric and kinds of an index, inner ones included."""
    inner = [index]
    if isinstance(index, faiss.IndexRefine):
        inner.append(faiss.downcast_index(index.base_index))
    kinds = " of ".join(type(part).__name__ for part in [*inner, vectors_of(index)])
    return index.d, index.ntotal, index.metric_type, kinds
