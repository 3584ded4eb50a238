"""Boxes and vectors made in parts are those made in one step."""

import io
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from imgsearch_assets.assets import features, parts
from imgsearch_assets.assets.parts import item_detections, item_embeddings
from imgsearch_assets.catalogue.snapshot import PICTURES, keep
from imgsearch_assets.environment import read_environment
from imgsearch_assets.features.tables import cuts, detections_table, embeddings_table, part_of
from imgsearch_assets.models.shipped import register_detector, register_embedder
from imgsearch_assets.references import Model, Pictures, ReferenceIOManager
from imgsearch_assets.sample.scenes import training_scene
from serving.models.bundle import load_bundle
from serving.object_store import LocalObjectStore

PICTURES_THERE = 18
EACH = 8
KEYS = [dg.AssetKey("item_detections"), dg.AssetKey("item_embeddings")]
UPSTREAM = ("product_images", "item_detector", "item_embedder")


class Work:
    """Both assets, in one form or the other, on pictures in a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalObjectStore(folder / "objects")
        self.instance = dg.DagsterInstance.ephemeral()
        detector, embedder = register_detector(self.store), register_embedder(self.store)
        rows = []
        for number in range(PICTURES_THERE):
            sink = io.BytesIO()
            pixels, _ = training_scene(np.random.default_rng(number))
            Image.fromarray(pixels).save(sink, "JPEG", quality=85)
            sha = f"{number * 2**250 // 7:064x}"
            self.store.put(f"images/{sha}", sink.getvalue())
            rows.append((f"p{number}", "dress", f"http://shop.example/{number}.jpg", sha))
        table = pa.table(dict(zip(PICTURES.names, map(list, zip(*rows, strict=True)), strict=True)), PICTURES)
        key = keep(self.store, "s", "pictures", table)
        references = {
            "product_images": Pictures(snapshot="s", key=key, pictures=len(rows), failed=0),
            "item_detector": Model(name=detector.name, version=detector.version),
            "item_embedder": Model(name=embedder.name, version=embedder.version),
        }
        for name, value in references.items():
            context = dg.build_output_context(asset_key=dg.AssetKey(name), run_id="before")
            ReferenceIOManager(self.store).handle_output(context, value)

    def run(self, *assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
        resources = {
            "io_manager": ReferenceIOManager(self.store),
            "store": dg.ResourceDefinition.hardcoded_resource(self.store),
            "environment": read_environment(part_pictures=EACH),
        }
        upstream = [dg.AssetSpec(name) for name in UPSTREAM]
        return dg.materialize(
            [*upstream, *assets], resources=resources, instance=self.instance, selection=KEYS
        )

    def tables(self) -> list[pa.Table]:
        """Boxes and vectors, by picture."""
        (detector,), (embedder,) = (
            {key.split("/")[2] for key in self.store.list(f"tables/{kind}")}
            for kind in ("detections", "embeddings")
        )
        dim = load_bundle(self.store, "embedder", embedder).card.dim or 0
        found = detections_table(self.store, detector), embeddings_table(self.store, embedder, dim)
        return [table.read().sort_by([(name, "ascending") for name in table.key]) for table in found]


def made(result: dg.ExecuteInProcessResult, asset: dg.AssetKey) -> dict[str, Any]:
    """What the asset tells of itself, without how long it took and which boxes it draws."""
    (event,) = (one for one in result.get_asset_materialization_events() if one.asset_key == asset)
    materialization = event.step_materialization_data.materialization
    times = {"boxes", "seconds", "per_second", "lacking", "budget", "expected_seconds", "expected_per_second"}
    told = {name: value.value for name, value in materialization.metadata.items() if name not in times}
    return told | {"version": (materialization.tags or {})["dagster/data_version"]}


def steps(result: dg.ExecuteInProcessResult) -> set[str]:
    return {str(event.step_key) for event in result.all_events if event.is_step_success}


def test_in_parts_is_as_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSEARCH_ENGINE", "torch")
    whole, work = Work(tmp_path / "one"), Work(tmp_path / "parts")
    one = whole.run(features.item_detections, features.item_embeddings)
    cut = work.run(item_detections, item_embeddings)
    assert steps(one) == {"item_detections", "item_embeddings"}
    assert steps(cut) == {
        f"item_{kind}.{kind}_{name}"
        for kind in ("detections", "embeddings")
        for name in ("plan", "part[0]", "part[1]", "finish")
    }
    for asset in KEYS:
        assert made(cut, asset) == made(one, asset)
    assert made(cut, KEYS[0])["detected"] == PICTURES_THERE
    assert work.tables() == whole.tables()

    again = work.run(item_detections, item_embeddings)
    assert {step for step in steps(again) if "part" in step} == set(), "nothing is lacking"
    assert made(again, KEYS[0])["detected"] == 0
    assert made(again, KEYS[1])["reused"] == made(one, KEYS[1])["embedded"]
    assert [made(again, asset)["version"] for asset in KEYS] == [
        made(one, asset)["version"] for asset in KEYS
    ]


def test_both_forms_say_the_same_of_themselves() -> None:
    for name in ("item_detections", "item_embeddings"):
        (cut,), (whole,) = getattr(parts, name).specs, getattr(features, name).specs
        assert {dep.asset_key for dep in cut.deps} == {dep.asset_key for dep in whole.deps}
        for said in ("description", "group_name", "kinds", "automation_condition"):
            assert getattr(cut, said) == getattr(whole, said)


@pytest.mark.parametrize(
    ("pictures", "each", "parts"),
    [
        (0, 1_000, []),
        (999, 1_000, []),
        (1_000, 1_000, [(0, 1_000)]),
        (40, 20, [(0, 16), (16, 40)]),
        (2_560, 1_000, [(0, 1_280), (1_280, 2_560)]),
        (5_000, 1_000, [(0, 1_024), (1_024, 2_048), (2_048, 3_072), (3_072, 4_096), (4_096, 5_000)]),
    ],
)
def test_few_pictures_are_no_part_and_parts_end_where_batches_do(
    pictures: int, each: int, parts: list[tuple[int, int]]
) -> None:
    assert cuts(pictures, each, most=8) == parts


def test_there_are_not_more_parts_than_may_be() -> None:
    found = cuts(2_000_000, 5_000, most=8)
    assert len(found) == 8
    assert (found[0][0], found[-1][1]) == (0, 2_000_000)


def test_a_part_has_all_rows_of_its_pictures() -> None:
    rows = pa.table({"sha256": ["c", "c", "a", "b", "b"], "box": ["1", "2", "3", "4", "5"]})
    assert part_of(rows, 0, 2)["box"].to_pylist() == ["1", "2", "3"]
    assert part_of(rows, 2, 3)["box"].to_pylist() == ["4", "5"]
