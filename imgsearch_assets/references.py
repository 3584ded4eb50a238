"""What one asset hands to the next: small frozen values, kept as JSON, that name immutable objects.

Each names the snapshot it belongs to, so that one run never mixes two. On the way to a release they gather
the waivers without which a gate would have stopped it (``waived``).
"""

import re
from typing import Any

import dagster as dg
from pydantic import BaseModel, ConfigDict, ValidationError

from imgsearch_assets.gates.waivers import Waiver
from serving.errors import Conflict, NotFound, Unverified
from serving.object_store import ObjectStore


class Reference(BaseModel):
    """A value between assets."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(Reference):
    """A registered model."""

    name: str
    version: str


class TrainingData(Reference):
    """Pictures that a ``model`` learns from, split. ``key``: a ``training.material.Material``."""

    model: str
    key: str
    version: str
    leaks: int


class Snapshot(Reference):
    """One look at the catalogue: ``snapshots/<id>/products.parquet`` and ``rejected.parquet``."""

    id: str
    products: int
    rejected: int
    waived: tuple[Waiver, ...] = ()


class Change(Reference):
    """How a snapshot differs from what is live. ``key``: ``CHANGES`` of each product that does."""

    snapshot: str
    key: str
    waived: tuple[Waiver, ...] = ()


class Pictures(Reference):
    """The pictures at hand of a snapshot. ``key``: product_id, category, image_url, sha256."""

    snapshot: str
    key: str
    pictures: int
    failed: int
    waived: tuple[Waiver, ...] = ()


class Items(Reference):
    """What the pictures show. ``key``: the columns of ``serving.index.generation.ITEMS``."""

    snapshot: str
    key: str
    detector: str
    waived: tuple[Waiver, ...] = ()


class EmbeddedItems(Items):
    """Items that have a vector of ``embedder``."""

    embedder: str


class Part(Reference):
    """Work on the pictures from ``start`` to ``stop`` of the rows kept under ``key``, in their order."""

    start: int
    stop: int
    key: str
    model: Model


class PartDone(Reference):
    """Rows that a part made anew, failures among them by reason, its time, and some of the pictures."""

    made: int
    failed: dict[str, int]
    seconds: float
    shas: tuple[str, ...]


class Built(Reference):
    """A generation of the index."""

    snapshot: str
    generation: str
    waived: tuple[Waiver, ...] = ()


def of_one_snapshot(*references: Change | Pictures | Items | Built) -> str:
    """The snapshot that all belong to. Raises ``Conflict``."""
    snapshots = {reference.snapshot for reference in references}
    if len(snapshots) != 1:
        raise Conflict(
            f"what was handed on belongs to snapshots {', '.join(sorted(snapshots))}; run the job again"
        )
    return snapshots.pop()


class ReferenceIOManager(dg.IOManager):
    """Keeps references in the object store: one object a run and asset, and the latest of each asset.

    An asset of the same run is read as that run left it, whatever another wrote meanwhile.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def handle_output(self, context: dg.OutputContext, obj: Reference) -> None:
        data = obj.model_dump_json(indent=1).encode()
        if not context.has_asset_key:
            self._store.put(_key_within(context), data)
            return
        self._store.put(_key(context.asset_key, context.run_id), data)
        self._store.put(_key(context.asset_key, _LATEST), data)

    def load_input(self, context: dg.InputContext) -> Reference:
        """Raises ``NotFound`` for an asset never materialized, ``Unverified`` for one of another form."""
        if not context.has_asset_key and context.upstream_output is not None:
            kept = self._store.get(_key_within(context.upstream_output))
            return _type_of(context).model_validate_json(kept)
        keys = [_key(context.asset_key, run) for run in (*_run_of(context.upstream_output), _LATEST)]
        key = next((key for key in keys if self._store.exists(key)), None)
        if key is None:
            raise NotFound(
                f"{context.asset_key.to_user_string()} was never materialized; run the job refresh"
            )
        wanted = context.dagster_type.typing_type
        try:
            found: Reference = wanted.model_validate_json(self._store.get(key))
        except ValidationError as error:
            raise Unverified(f"{key} is no {wanted.__name__}; run the job refresh") from error
        return found


def forget(store: ObjectStore, older_than_s: float) -> None:
    """Remove what runs handed on so long ago; not the latest of an asset."""
    for key, age_s in list(store.ages(_FOLDER)):
        if age_s > older_than_s and not key.endswith(f"/{_LATEST}.json"):
            store.delete(key)


_FOLDER = "references"
_LATEST = "latest"


def _type_of(context: dg.InputContext) -> type[Reference]:
    """Of one value, where many of them are collected as well."""
    found = context.dagster_type
    inner: Any = getattr(found, "inner_type", found)
    return inner.typing_type  # type: ignore[no-any-return]


def _key_within(context: dg.OutputContext) -> str:
    """Of what a step of an asset hands to the next step of it, in one run."""
    run, *step = context.get_identifier()
    return f"{_FOLDER}/steps/{run}/{'/'.join(re.sub(r'[^A-Za-z0-9_.-]', '-', name) for name in step)}.json"


def _run_of(output: dg.OutputContext | None) -> tuple[str, ...]:
    """The run that wrote an output: this one or the one it goes on with; none if it was another."""
    try:
        return () if output is None else (output.run_id,)
    except dg.DagsterInvariantViolationError:
        return ()


def _key(asset: dg.AssetKey, run: str) -> str:
    return f"{_FOLDER}/{'/'.join(asset.path)}/{run}.json"
