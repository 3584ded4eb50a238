"""What is served: the features in the feature store, then the pointer, then that of production."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg
import pyarrow as pa

from imgsearch_assets.automation import DATA_VERSION_TAG, ON_CHANGE, started_by_condition
from imgsearch_assets.catalogue.snapshot import newest_change
from imgsearch_assets.environment import PRODUCTION, Environment
from imgsearch_assets.features.rows import fill_for_generation
from imgsearch_assets.gates.checks import blocking, results
from imgsearch_assets.gates.sanity import complete
from imgsearch_assets.gates.waivers import reason, still_in_force
from imgsearch_assets.graph.steps import RELEASE, RETRY, Stopwatch, preview, step
from imgsearch_assets.progress import stage
from imgsearch_assets.references import Built, of_one_snapshot
from imgsearch_assets.release.history import COLUMNS, rows_of
from imgsearch_assets.release.order import newest
from imgsearch_assets.release.replay_report import Report, compared_with, recorded_queries, replay, tidy
from imgsearch_assets.release.retention import forget, prune
from imgsearch_assets.release.rollout import REPLAY, Released, candidate, promote, release
from imgsearch_assets.settings import Policy
from imgsearch_assets.sheets import inline
from imgsearch_assets.watch.freshness import DAILY, WEEKLY
from serving.errors import Conflict, Unverified
from serving.index.store import left_by, read_manifest, read_pointer
from serving.object_store import ObjectStore

GROUP = "release"

log = logging.getLogger(__name__)

GATES = {"feature_store_complete": "Every picture of the generation is in Redis as it was written."}

Metadata = Mapping[str, Any]


@dg.asset(
    group_name=GROUP,
    kinds={"redis"},
    pool=RELEASE,
    retry_policy=RETRY,
    automation_condition=ON_CHANGE,
    check_specs=blocking("feature_store", GATES),
    description="The features of every picture of the generation, by its URL, in Redis.",
)
def feature_store(
    ann_index: Built,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> Iterator[dg.MaterializeResult[Built]]:
    watch = Stopwatch()
    with step():
        filled = fill_for_generation(environment.feature_store, store, ann_index.generation)
    yield dg.MaterializeResult(
        value=ann_index,
        data_version=dg.DataVersion(ann_index.generation),
        metadata={
            "dagster/row_count": filled.wanted,
            "wanted": filled.wanted,
            "reused": filled.reused,
            "written": filled.written,
            "lacking": filled.lacking,
            "seconds": watch.seconds,
        },
        check_results=results([complete(filled.wanted, filled.lacking)], {}, environment.command),
    )


@dg.asset(
    group_name=GROUP,
    kinds={"json"},
    pool=RELEASE,
    retry_policy=RETRY,
    automation_condition=ON_CHANGE,
    freshness_policy=DAILY,
    description="The generation that the search services serve.",
)
def staging_release(
    context: dg.AssetExecutionContext,
    ann_index: Built,
    feature_store: Built,
    environment: dg.ResourceParam[Environment],
    store: dg.ResourceParam[ObjectStore],
) -> dg.MaterializeResult[Built]:
    watch = Stopwatch()
    with step():
        snapshot = of_one_snapshot(ann_index, feature_store)
        if ann_index != feature_store:
            raise Conflict(
                f"the feature store holds generation {feature_store.generation}, not {ann_index.generation}"
            )
        changed = newest_change(store, snapshot)
        generation = ann_index.generation
        manifest = read_manifest(store, generation)
        with newest(store, environment.pointer, snapshot, manifest):
            seen = read_pointer(store, environment.pointer)
            releases = seen.pointer.history if seen.pointer else ()
            if started_by_condition(context.run) and left_by(releases, generation):
                raise Conflict(
                    f"somebody went back from generation {generation} in {environment.pointer}, so no run "
                    "that an upstream asset starts releases it again; is it good after all, start the job "
                    "refresh"
                )
            if seen.pointer is None or seen.pointer.live.generation != generation:
                still_in_force(ann_index.waived, environment.pointer, seen.pointer, snapshot)
            released = release(
                store,
                environment,
                environment.pointer,
                generation,
                who="dagster",
                why=reason(snapshot, ann_index.waived),
                waive=frozenset(waiver.gate for waiver in ann_index.waived),
                seen=seen,
            )
        pruned, forgotten, not_pruned = list[str](), 0, ""
        try:
            pruned = prune(store, environment.pipeline.keep_generations)
            tidy(store)
            forgotten = forget(store, environment.pipeline.keep_snapshots_days)
        except (Unverified, Conflict) as error:  # no reason to take back a release
            not_pruned = str(error)
    return dg.MaterializeResult(
        value=ann_index,
        data_version=dg.DataVersion(ann_index.generation),
        metadata={
            **_released(released, environment.pointer),
            "generations_removed": len(pruned),
            "snapshots_removed": forgotten,
            **({"not_pruned": not_pruned} if not_pruned else {}),
            **_age(released, changed),
            "seconds": watch.seconds,
        },
    )


def release_replay(policy: Policy) -> dg.AssetsDefinition:
    """What a promotion would change. Under the policy ``automatic`` too much of it stops the run."""
    severity = dg.AssetCheckSeverity.ERROR if policy == "automatic" else dg.AssetCheckSeverity.WARN

    @dg.asset(
        group_name=GROUP,
        kinds={"html"},
        retry_policy=RETRY,
        automation_condition=ON_CHANGE,
        check_specs=blocking(
            "release_replay",
            {
                REPLAY: "Most of what is shown stays. Where production is released by approval, this warns, "
                "and whoever approves waives it."
            },
        ),
        description="The same queries on what production has (on one machine: what was live before) and on "
        "what it would get: how much of the answers stays, and a page of those that change most.",
    )
    def release_replay(
        staging_release: Built,
        environment: dg.ResourceParam[Environment],
        store: dg.ResourceParam[ObjectStore],
    ) -> Iterator[dg.MaterializeResult[None]]:
        watch, wanted = Stopwatch(), environment.pipeline.replay_min_overlap
        with step():
            before, report = compared_with(store, environment.pointer), None
            if before is not None and before.generation != staging_release.generation:
                recorded = recorded_queries(environment.pipeline.replay_queries)
                with stage("replay", 1) as advance:
                    report = replay(store, before.generation, staging_release.generation, recorded)
                    advance(1)
        overlap = 1.0 if report is None else report.overlap_at_10
        said = "there is nothing else to compare with" if report is None else _sentence(report, wanted)
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(staging_release.generation),
            metadata={
                "generation": staging_release.generation,
                "compared_with": "nothing" if report is None else report.before,
                **({} if report is None else _replayed(store, environment, report)),
                "seconds": watch.seconds,
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=REPLAY,
                    passed=overlap >= wanted,
                    severity=severity,
                    description=said,
                    metadata={"measured": overlap, "wanted": wanted},
                )
            ],
        )

    return release_replay


def production_release(policy: Policy) -> dg.AssetsDefinition:
    """Asks for who and why unless the ``policy`` is ``automatic``; then it follows staging by itself."""
    automatic = policy == "automatic"
    by_itself = {"who": "dagster", "why": "IMGSEARCH_PRODUCTION_RELEASE is automatic"} if automatic else {}

    @dg.asset(
        group_name=GROUP,
        deps=["staging_release", "release_replay"],
        kinds={"json"},
        pool=RELEASE,
        retry_policy=RETRY,
        automation_condition=ON_CHANGE if automatic else None,
        freshness_policy=DAILY if automatic else WEEKLY,
        config_schema={
            "who": _text("Who approves it.", by_itself.get("who")),
            "why": _text("Why; kept with the release.", by_itself.get("why")),
            "waive": dg.Field(
                [str],
                default_value=[],
                description=f"Gates whose verdict does not matter this time, as {REPLAY}.",
            ),
        },
        description="What shoppers get: the very files that staging has, made live there too, past the gates "
        "and the replay. On one machine nobody serves it; it is there to be tried.",
    )
    def production_release(
        context: dg.AssetExecutionContext,
        environment: dg.ResourceParam[Environment],
        store: dg.ResourceParam[ObjectStore],
    ) -> dg.MaterializeResult[None]:
        watch, config = Stopwatch(), context.op_execution_context.op_config
        with step():
            found = candidate(store, environment, environment.pointer, PRODUCTION)
            who, why = config["who"].strip(), config["why"].strip()
            released = promote(store, environment, found, PRODUCTION, who, why, frozenset(config["waive"]))
        return dg.MaterializeResult(
            data_version=dg.DataVersion(found.generation),
            metadata={
                **_released(released, PRODUCTION),
                "promoted_from": found.source,
                "waived": ", ".join(config["waive"]) or "nothing",
                **({} if found.report is None else _replayed(store, environment, found.report)),
                "seconds": watch.seconds,
            },
        )

    return production_release


def record(released: Released) -> None:
    """Put a promotion that no run made on record as a materialization, so that production is not late.

    In the records of DAGSTER_HOME. What is live is live: where they cannot be written, the log says so.
    """
    made = dg.AssetMaterialization(
        "production_release",
        metadata=_released(released, PRODUCTION),
        tags={DATA_VERSION_TAG: released.pointer.live.generation},
    )
    try:
        with dg.DagsterInstance.get() as instance:
            instance.report_runless_asset_event(made)
    except Exception as error:
        log.warning("the release is not in Dagster's records: %s", error)


def _text(description: str, default: str | None) -> dg.Field:
    """Required where there is no default."""
    if default is None:
        return dg.Field(str, description=description)
    return dg.Field(str, default_value=default, description=description)


def _released(released: Released, environment: str) -> Metadata:
    """A release as the records keep it: what, by whom, who was heard, and what was before."""
    pointer, heard = released.pointer, released.heard
    live, previous = pointer.live, pointer.previous
    history = {
        name: list(column) for name, column in zip(COLUMNS, zip(*rows_of(pointer), strict=True), strict=True)
    }
    metadata: dict[str, Any] = {
        "environment": environment,
        "generation": live.generation,
        "previous": previous.generation if previous else "none",
        "who": live.who,
        "why": live.why,
        "released_at": dg.MetadataValue.timestamp(live.at),
        "verified": released.verified,
        "history": preview(pa.table(history)),
    }
    if heard is not None:
        seconds = heard.replicas
        metadata["replicas"] = preview(
            pa.table({"replica": list(seconds), "seconds": list(seconds.values())})
        )
        metadata["replicas_seconds"] = max(seconds.values())
        if heard.smoke is not None:
            metadata |= {f"smoke_{name}": value for name, value in asdict(heard.smoke).items()}
    return metadata


def _age(released: Released, changed: float | None) -> Metadata:
    """Of the catalogue's newest change when it was released, by the retailer's clock, which may write days.

    A whole catalogue that is new is no change.
    """
    if changed is None or released.pointer.previous is None:
        return {}
    return {"change_age_s": max(0.0, released.pointer.live.at - changed)}


def _replayed(store: ObjectStore, environment: Environment, report: Report) -> Metadata:
    """The report's figures, its page, and its sheet to look at right here."""
    metadata: dict[str, Any] = {
        "replay_queries": report.queries,
        "replay_changed": report.changed,
        "overlap_at_10": report.overlap_at_10,
        "rank_biased_overlap": report.rank_biased_overlap,
        "products_gone": report.gone,
        "products_new": report.new,
        "report": dg.MetadataValue.path(store.where(report.page_key)),
    }
    if (url := environment.replay_url(report.before, report.after)) is not None:
        metadata["page"] = dg.MetadataValue.url(url)
    if (jpeg := report.sheet(store)) is not None:
        metadata["what_changes_most"] = inline("before, and after below it", jpeg)
    return metadata


def _sentence(report: Report, wanted: float) -> str:
    return (
        f"overlap@10 with {report.before} is {report.overlap_at_10:.3f} over {report.queries} queries, "
        f"at least {wanted:g} wanted"
    )
