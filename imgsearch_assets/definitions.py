"""The one code location: every asset, when it runs, and with what."""

import dagster as dg

from imgsearch_assets.assets import (
    catalogue,
    features,
    images,
    index,
    ledger,
    models,
    operation,
    parts,
    release,
    training,
)
from imgsearch_assets.automation import (
    ON_CHANGE,
    RUN_TAGS,
    automation_sensor,
    catalogue_sensor,
    daily,
    model_sensor,
)
from imgsearch_assets.environment import Environment, read_environment
from imgsearch_assets.graph.story import Asset, told
from imgsearch_assets.resources import resources_of
from imgsearch_assets.watch.freshness import freshness_alerts
from serving.errors import BadSettings

ASSETS = (
    catalogue.products,
    catalogue.product_snapshot,
    ledger.product_sightings,
    catalogue.catalogue_diff,
    images.product_images,
    models.item_detector,
    models.item_embedder,
    features.item_detections,
    features.item_embeddings,
    index.ann_index,
    release.feature_store,
    release.staging_release,
    ledger.product_ledger,
    operation.run_cost,
    training.training_dataset,
    training.trained_detector,
    training.trained_embedder,
)
REFRESH = "refresh"
PROMOTE = "promote"
CHANGE = "catalogue_change"


def build_definitions(environment: Environment) -> dg.Definitions:
    """Everything, for one environment."""
    policy = environment.pipeline.production_release
    production = dg.AssetKey("production_release")
    cut = {parts.item_detections.key: parts.item_detections, parts.item_embeddings.key: parts.item_embeddings}
    own: list[Asset] = [cut.get(asset.key, asset) if environment.steps_in_pods else asset for asset in ASSETS]
    assets: list[Asset] = [*own, release.release_replay(policy), release.production_release(policy)]
    specs = [spec for asset in assets if isinstance(asset, dg.AssetsDefinition) for spec in asset.specs]
    everything = [spec.key for spec in specs if spec.key != production and spec.group_name != training.GROUP]
    refresh = dg.define_asset_job(
        REFRESH,
        dg.AssetSelection.assets(*everything),
        description="From the catalogue to what is searched, whole.",
        tags=RUN_TAGS,  # of the job, as a command that launches it knows no others
    )
    promote = dg.define_asset_job(
        PROMOTE,
        dg.AssetSelection.assets(production),
        description="What staging has, made live in production; whoever starts it says who and why.",
    )
    follows = [spec.key for spec in specs if spec.automation_condition is ON_CHANGE]
    chain = [catalogue.product_snapshot.key, *follows]
    change = dg.define_asset_job(
        CHANGE,
        dg.AssetSelection.assets(*chain),
        description="From a changed catalogue to what is searched: what follows it by itself.",
        tags=RUN_TAGS,  # of the job, as a command that launches it knows no others
    )
    poll_s = environment.pipeline.catalogue_poll_s
    needed = list(models.MODELS.values())
    return dg.Definitions(
        assets=[told(asset) for asset in assets],
        jobs=[refresh, change, promote, *training.jobs()],
        schedules=[daily(refresh, everything)],
        sensors=[
            catalogue_sensor(change, chain, needed, poll_s, environment.inbox),
            model_sensor(models.MODELS, poll_s),
            automation_sensor(poll_s),
            operation.cost_sensor(environment.pipeline.prices),
            freshness_alerts(),
        ],
        resources=resources_of(environment),
        executor=_executor(environment),
    )


def _executor(environment: Environment) -> dg.ExecutorDefinition:
    """That of every job, and of every run without one. Raises ``BadSettings`` where its client lacks."""
    if not environment.steps_in_pods:
        # A process a step costs seconds each; every step uses all cores by itself.
        return dg.in_process_executor
    try:
        from imgsearch_assets.cluster.executor import executor_of  # takes a second, of a cluster alone
    except ModuleNotFoundError as error:
        raise BadSettings(
            f"steps in pods need {error.name}; install imgsearch[k8s], or set IMGSEARCH_STEPS=here"
        ) from error
    return executor_of(environment.pipeline.gpu_image)


defs = build_definitions(read_environment())
