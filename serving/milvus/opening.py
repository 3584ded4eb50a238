"""A collection taken into use: what it says of itself is held to what it has."""

from serving.errors import Unverified
from serving.index.filters import FACETS
from serving.milvus.client import Client
from serving.milvus.collection import ABOUT, ROWS, VECTOR, generation_of
from serving.milvus.description import Description
from serving.milvus.searchable import InMilvus
from serving.milvus.table import Table


def opened(client: Client, collection: str, load_s: float | None = None) -> InMilvus:
    """The generation that a collection holds, ready for searches.

    Where Milvus has it not in memory it is loaded, within ``load_s`` or the client's own deadline; past that
    Milvus goes on loading, and a later call finds it done. Raises ``Unverified`` when it holds none, or not
    the whole of it, and ``Unavailable``.
    """
    generation = generation_of(collection)
    if generation is None:
        raise Unverified(f"collection {collection} is no generation of ours")
    # An index is made when all rows are there; without one, Milvus loads nothing.
    if VECTOR not in client.call("list_indexes", collection):
        raise Unverified(f"collection {collection} was not written to the end")
    client.call("load_collection", collection, timeout_s=load_s)
    pieces = client.call(
        "query",
        collection,
        filter="row < 0",
        output_fields=["row", ABOUT],
        partition_names=[ABOUT],
        consistency_level="Strong",
    )
    texts = [piece[ABOUT] for piece in sorted(pieces, key=lambda piece: -int(piece["row"]))]
    description = Description.joined(collection, texts)
    if description.generation != generation or set(description.values) != set(FACETS):
        raise Unverified(f"collection {collection} holds generation {description.generation}")
    rows = client.call("get_partition_stats", collection, ROWS)["row_count"]
    if rows != description.rows:
        raise Unverified(f"collection {collection} has {rows} rows, not {description.rows}")
    return InMilvus(Table(client, collection, description.index), description)
