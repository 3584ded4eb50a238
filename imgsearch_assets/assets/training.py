"""Training, started by hand: a data set, a model of it, and the gate before it goes live."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
from pydantic import Field

from imgsearch_assets.automation import KIND_TAG
from imgsearch_assets.environment import Environment
from imgsearch_assets.gates.checks import blocking
from imgsearch_assets.graph.steps import Stopwatch, preview, reasons, step
from imgsearch_assets.models.registration import Compared
from imgsearch_assets.pictures import boxes_drawn, contact_sheet
from imgsearch_assets.references import Model, TrainingData
from imgsearch_assets.sheets import inline
from imgsearch_assets.training.settings import (
    PRODUCTS,
    SCENES,
    DetectorSettings,
    EmbedderSettings,
    ModelName,
    Source,
    check_installed,
)
from serving.errors import BadInput
from serving.models import detector
from serving.models.card_text import model_card
from serving.models.detection import Detection
from serving.object_store import ObjectStore

if TYPE_CHECKING:
    from imgsearch_assets.training.material import Side

GROUP = "training"

_LEAKS, _NOT_WORSE = "nothing_held_out_is_learned", "not_worse_than_live"
_SHEET = 24
# Set by Dagster on the run that takes the place of one that died.
_RETRY = "dagster/retry_number"


class DataConfig(dg.Config, Source):
    """What is learned from."""


class Offer(dg.Config):
    """What becomes of a model that was trained."""

    offer: bool = Field(default=True, description="Make it the live model if it is not worse.")
    waive: bool = Field(default=False, description="Let it go live though it is worse; say who and why.")
    who: str = Field(default="", description="Who wants it, kept with the promotion.")
    why: str = Field(default="", description="Kept with the promotion.")

    def check(self) -> None:
        """Known before an hour has gone. Raises ``BadInput`` for a waiver without a name or a reason."""
        if self.waive and not (self.who.strip() and self.why.strip()):
            raise BadInput("a worse model goes live only with a name and a reason: say who and why")


class DetectorConfig(Offer, DetectorSettings):
    """How a detector is trained, and what becomes of it."""


class EmbedderConfig(Offer, EmbedderSettings):
    """How an embedder is trained, and what becomes of it."""


@dg.asset(
    group_name=GROUP,
    kinds={"json"},
    check_specs=blocking(
        "training_dataset",
        {_LEAKS: "No product and no picture that is held out is learned from, nor a copy of one."},
    ),
    description="Pictures to learn from and others to measure with, by name and label: the same for as long "
    "as their content is.",
)
def training_dataset(
    config: DataConfig, environment: dg.ResourceParam[Environment], store: dg.ResourceParam[ObjectStore]
) -> Iterator[dg.MaterializeResult[TrainingData]]:
    watch = Stopwatch()
    with step():
        check_installed()
        from imgsearch_assets.training.material import gather

        material = gather(config, environment.serving.home / "training" / "pictures")
        key, leaks = material.keep(store), material.leaks()
        sides = {"learned": material.learned, "held_out": material.held_out}
        rows = [{"part": part, **row} for part, side in sides.items() for row in side.counts()]
        shown = {f"{part}_pictures": inline(part, _sheet(side)) for part, side in sides.items()}
    sizes = {part: len(side) for part, side in sides.items()}
    yield dg.MaterializeResult(
        value=TrainingData(model=config.model, key=key, version=material.version, leaks=len(leaks)),
        data_version=dg.DataVersion(material.version),
        metadata={
            "dagster/row_count": sum(sizes.values()),
            "model": config.model,
            "source": config.data,
            "version": material.version,
            **sizes,
            "by_category": preview(pa.Table.from_pylist(rows), len(rows)),
            "left_out": reasons(material.taught.left_out),
            **shown,
            "kept_as": key,
            "seconds": watch.seconds,
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=_LEAKS,
                passed=not leaks,
                description="; ".join(leaks[:5]) or f"none of {sizes['held_out']:,}",
                metadata={"leaks": len(leaks)},
            )
        ],
    )


def _check_spec(asset: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        _NOT_WORSE,
        asset=asset,
        description="On the held-out pictures it is not worse than what is live; else that stays.",
    )


@dg.asset(
    group_name=GROUP,
    kinds={"pytorch"},
    check_specs=[_check_spec("trained_detector")],
    description="A detector of the data set. Once it is live, item_detector takes it up.",
)
def trained_detector(
    context: dg.AssetExecutionContext,
    config: DetectorConfig,
    training_dataset: TrainingData,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> Iterator[dg.MaterializeResult[Model]]:
    yield _trained(context, "detector", training_dataset, config, environment, store)


@dg.asset(
    group_name=GROUP,
    kinds={"pytorch"},
    check_specs=[_check_spec("trained_embedder")],
    description="An embedder of the data set. Once it is live, item_embedder takes it up.",
)
def trained_embedder(
    context: dg.AssetExecutionContext,
    config: EmbedderConfig,
    training_dataset: TrainingData,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> Iterator[dg.MaterializeResult[Model]]:
    yield _trained(context, "embedder", training_dataset, config, environment, store)


def jobs() -> list[Any]:
    """One for each model, with the config that the launchpad shows filled in."""
    drawn: Mapping[ModelName, int] = {"detector": SCENES, "embedder": PRODUCTS}
    configs: Mapping[ModelName, dg.Config] = {"detector": DetectorConfig(), "embedder": EmbedderConfig()}
    return [
        dg.define_asset_job(
            f"train_{name}",
            dg.AssetSelection.assets("training_dataset", f"trained_{name}"),
            config=dg.RunConfig(
                {
                    "training_dataset": DataConfig(model=name, drawn=drawn[name]),
                    f"trained_{name}": configs[name],
                }
            ),
            description=f"A {name} of your pictures, live if it is not worse; started by hand, and again to "
            "go on where it was killed.",
            tags={KIND_TAG: "training"},
        )
        for name in drawn
    ]


def _trained(
    context: dg.AssetExecutionContext,
    name: ModelName,
    data: TrainingData,
    settings: DetectorConfig | EmbedderConfig,
    environment: Environment,
    store: ObjectStore,
) -> dg.MaterializeResult[Model]:
    watch = Stopwatch()
    with step():
        check_installed()
        settings.check()
        from imgsearch_assets.models.candidates import candidate
        from imgsearch_assets.training.material import read
        from imgsearch_assets.training.trainer import folder_of, train
        from imgsearch_assets.training.verdict import verdict

        if data.model != name:
            raise BadInput(f"training_dataset is for a {data.model}; start the job train_{name}")
        if data.leaks:
            raise BadInput(
                f"the data set {data.version} has {data.leaks} leaks; its figures would promise nothing"
            )
        material, home = read(store, data.key), environment.serving.home
        if _RETRY in context.run.tags:  # what its predecessor began anew is not begun once more
            settings = settings.model_copy(update={"restart": False})
        finder = None
        if isinstance(settings, EmbedderSettings):
            finder = candidate(detector.NAME, settings.detector, home)
        folder = folder_of(material, settings, finder, home / "training")
        done = train(material, settings, finder, folder, "other settings")
        bundle = done.result.store(store)
        said = verdict(
            store, done.result, settings.who, settings.why, offered=settings.offer, waive=settings.waive
        )
    context.log.info(said.message)
    return dg.MaterializeResult(
        value=Model(name=name, version=bundle.version),
        data_version=dg.DataVersion(bundle.version),
        metadata={
            **{figure: float(value) for figure, value in done.result.figures.items()},
            "version": bundle.version,
            "live": said.live,
            "what": said.message,
            "beside_live": preview(_table(said.compared), len(said.compared)),
            "data": material.version,
            "learned": len(material.learned),
            "held_out": len(material.held_out),
            "detector": finder.version if finder else "none",
            "epochs": done.epochs,
            "resumed_from": f"epoch {done.resumed_from}" if done.resumed_from else "the beginning",
            "folder": dg.MetadataValue.path(done.folder),
            "card": dg.MetadataValue.md(model_card(bundle.card)),
            **{file.partition(".")[0]: inline(file, shown) for file, shown in done.result.pictures.items()},
            "training_seconds": round(done.seconds, 2),
            "seconds": watch.seconds,
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=_NOT_WORSE,
                passed=said.passed,
                severity=dg.AssetCheckSeverity.WARN,
                description=said.message,
                metadata={
                    key: float(value)
                    for one in said.compared
                    for key, value in ((one.figure, one.candidate), (f"{one.figure}_live", one.live))
                    if value is not None
                },
            )
        ],
    )


def _table(compared: tuple[Compared, ...]) -> pa.Table:
    """A row for each figure that decides."""
    return pa.table(
        {
            "figure": pa.array([one.figure for one in compared], pa.string()),
            "candidate": [f"{one.candidate:.4f}" for one in compared],
            "live": ["none" if one.live is None else f"{one.live:.4f}" for one in compared],
            "wanted": [f"{one.wanted:.4f}" for one in compared],
            "": ["" if one.passed else "worse" for one in compared],
        }
    )


def _sheet(side: "Side") -> bytes:
    """Some of its pictures, spread over all; with their boxes where scenes are what is learned from."""
    from imgsearch_assets.datasets.scenes import pixels_of

    chosen = np.unique(np.linspace(0, len(side) - 1, _SHEET).astype(int)).tolist() if len(side) else []
    if side.scenes:
        scenes = [side.scenes.scene(i) for i in chosen]
        return boxes_drawn(
            [(shown, [Detection(box, kind, 1.0) for box, kind in truth]) for shown, truth in scenes]
        )
    pictures = [side.pictures[i] for i in chosen]
    return contact_sheet([pixels_of(one) for one in pictures])
