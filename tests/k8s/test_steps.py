"""Runs of the real pipeline on a twin of Kubernetes: what pods are told, whatever started the run, and what
becomes of those that are lost. Slow: each run and each step is a process of its own.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.execution.backfill import PartitionBackfill

from imgsearch_assets.cluster.trouble import SETTLED
from imgsearch_assets.graph.pods import FEATURES, INDEX, Pod
from tests.k8s.cluster import CPU_IMAGE, GPU_IMAGE, PARTS, Cluster, cluster_at, tick_the_schedule
from tests.k8s.kubelet import Json
from tests.pipeline import PRODUCTS, Records
from tests.running import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:Found version mismatch"),
]
PARTS_OF = [
    f"item_{kind}.{kind}_part[{number}]" for kind in ("detections", "embeddings") for number in range(PARTS)
]
INDEXED = dg.AssetKey("ann_index")
EMBEDDED = dg.AssetKey("item_embeddings")
PATIENCE_S = 300


class Followed:
    """A cluster that is at work, and its records."""

    def __init__(self, cluster: Cluster, instance: dg.DagsterInstance) -> None:
        self.cluster, self.twin = cluster, cluster.twin
        self.records = Records(instance)
        self.instance = instance

    def run(self, wanted: Callable[[dg.DagsterRun], bool], what: str) -> dg.DagsterRun:
        """The latest one that is ``wanted``, when there is one."""

        def found() -> list[dg.DagsterRun]:
            return [run for run in self.records.runs() if wanted(run)]

        until(found, what, PATIENCE_S)
        return found()[0]

    def ended(self, run_id: str, timeout_s: float = PATIENCE_S) -> dg.DagsterRunStatus:
        def is_finished() -> bool:
            run = self.instance.get_run_by_id(run_id)
            return run is not None and run.is_finished

        until(is_finished, f"the end of run {run_id}", timeout_s)
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    def said(self, run_id: str, kind: dg.DagsterEventType) -> dict[str, list[str]]:
        """What was said of each step in events of a kind."""
        found: dict[str, list[str]] = {}
        for entry in self.instance.all_logs(run_id, of_type=kind):
            event = entry.dagster_event
            assert event is not None
            data: Any = event.event_specific_data
            found.setdefault(str(event.step_key), []).append(data.error.message.strip())
        return found

    def pod_of(self, run_id: str, step: str) -> Json:
        until(lambda: step in self.cluster.pods_of(run_id), f"a pod of {step}", PATIENCE_S)
        return self.cluster.pods_of(run_id)[step][-1]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    """All is made once, by the schedule, while some of its pods are lost; that is the first test."""
    with cluster_at(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.start("run_costs", "freshness_alerts")
        with cluster.shop.instance() as instance:
            yield Followed(cluster, instance)


def told(pod: Json, declared: Pod, image: str) -> None:
    """Whether a pod is what its asset declares, and has what every pod of the pipeline has."""
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert container["image"] == image
    size = {"cpu": declared.cpu, "memory": declared.memory, "ephemeral-storage": declared.disk}
    size |= {"nvidia.com/gpu": str(declared.gpus)} if declared.gpus else {}
    assert container["resources"] == {"limits": size, "requests": size}
    assert spec.get("nodeSelector") == ({"imgsearch/pool": declared.pool} if declared.pool else None)
    tolerated = {each["key"] for each in spec.get("tolerations", ())}
    assert tolerated == ({"imgsearch/pool", "nvidia.com/gpu"} if declared.gpus else set())
    sysctls = spec["securityContext"].pop("sysctls")
    assert {each["name"]: each["value"] for each in sysctls} == declared.sysctls
    restricted(pod)
    assert {"secretRef": {"name": "pipeline"}} in container["envFrom"]
    assert {"configMapRef": {"name": "settings"}} in container["envFrom"]
    assert {each["mountPath"] for each in container["volumeMounts"]} == {
        "/var/lib/imgsearch",
        "/etc/imgsearch/redis",
        "/tmp",
        "/etc/imgsearch/dagster",
    }
    assert spec["serviceAccountName"] == "dagster"
    assert not spec["automountServiceAccountToken"]


def restricted(pod: Json) -> None:
    """As the services of k8s/base are."""
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_scheduled_run_is_whole_though_pods_of_it_are_lost(followed: Followed) -> None:
    fate = {
        "item_detections.detections_part-0": followed.twin.out_of_memory,
        "item_embeddings.embeddings_part-0": followed.twin.drain,
        "item_embeddings.embeddings_part-1": followed.twin.lose_node,
    }

    def meets(pod: Json) -> None:
        if (happens := fate.pop(pod["metadata"]["labels"].get("dagster/op", ""), None)) is not None:
            happens(pod["metadata"]["name"])

    followed.twin.meets = meets
    with followed.cluster.workspace() as workspace:
        tick_the_schedule(workspace)
    run = followed.run(lambda run: run.job_name == "refresh", "a scheduled run")
    assert run.tags["dagster/schedule_name"] == "daily"
    assert followed.ended(run.run_id, 600) is dg.DagsterRunStatus.SUCCESS
    assert fate == {}
    assert followed.cluster.shop.live == set(range(PRODUCTS))
    assert followed.cluster.shop.rows_twice() == []

    assert followed.said(run.run_id, dg.DagsterEventType.STEP_UP_FOR_RETRY) == {
        "item_detections.detections_part[0]": [
            "Step item_detections.detections_part[0] failed health check: its pod was killed for want of "
            f"memory (limit {FEATURES.memory}): more is given in imgsearch_assets/graph/pods.py"
        ],
        **{
            f"item_embeddings.embeddings_part[{number}]": [
                f"Step item_embeddings.embeddings_part[{number}] failed health check: its pod is gone: the "
                "node was lost, or drained"
            ]
            for number in range(2)
        },
    }
    pods = followed.cluster.pods_of(run.run_id)
    apart = [step.replace("[", "-").rstrip("]") for step in PARTS_OF]
    assert pods.keys() == {"", "ann_index", *apart}, "and all other steps are in the run's own pod"
    again = {"item_detections.detections_part-0", *(step for step in apart if "embeddings" in step)}
    assert {step for step, made in pods.items() if len(made) == 2} == again
    for step in apart:
        for pod in pods[step]:
            told(pod, FEATURES, GPU_IMAGE)
    (pod,) = pods["ann_index"]
    told(pod, INDEX, CPU_IMAGE)
    (pod,) = pods[""]
    restricted(pod)
    assert followed.records.metadata("item_detections")["detected"] == PRODUCTS


def test_a_run_that_is_lost_gives_its_place_back_and_is_started_again(followed: Followed) -> None:
    """Of one that a condition on an asset started."""
    followed.twin.holds = lambda pod: pod["metadata"]["labels"].get("dagster/op") == "ann_index"
    followed.cluster.switch("automation")
    tags = {"dagster/data_version": "another"}
    followed.instance.report_runless_asset_event(dg.AssetMaterialization(EMBEDDED, tags=tags))
    run = followed.run(lambda run: "dagster/from_automation_condition" in run.tags, "a run of a condition")
    told(followed.pod_of(run.run_id, "ann_index"), INDEX, CPU_IMAGE)
    held = followed.instance.event_log_storage.get_concurrency_info("gpu")
    assert {slot.run_id for slot in held.claimed_slots} == {run.run_id}

    followed.twin.holds = lambda pod: False
    followed.twin.lose_node(followed.cluster.pods_of(run.run_id)[""][0]["metadata"]["name"])
    assert followed.twin.pods(run.run_id) == [], "the cluster ends what a lost run had started"
    assert followed.ended(run.run_id) is dg.DagsterRunStatus.FAILURE
    again = followed.run(lambda other: other.tags.get("dagster/parent_run_id") == run.run_id, "another run")
    assert followed.ended(again.run_id) is dg.DagsterRunStatus.SUCCESS, "it had the place in the pool"
    told(followed.pod_of(again.run_id, "ann_index"), INDEX, CPU_IMAGE)


def test_what_a_killed_run_left_at_work_is_ended_by_the_next(followed: Followed) -> None:
    """Its pod is there still, so the cluster ends nothing by itself."""
    followed.twin.holds = lambda pod: pod["metadata"]["labels"].get("dagster/op") == "ann_index"
    tags = {"dagster/data_version": "one more"}
    followed.instance.report_runless_asset_event(dg.AssetMaterialization(EMBEDDED, tags=tags))
    run = followed.run(lambda run: run.is_finished is False, "a run of a condition")
    held = followed.pod_of(run.run_id, "ann_index")["metadata"]["name"]
    followed.twin.out_of_memory(followed.cluster.pods_of(run.run_id)[""][0]["metadata"]["name"])
    assert followed.ended(run.run_id) is dg.DagsterRunStatus.FAILURE
    assert held in [pod["metadata"]["name"] for pod in followed.twin.pods(run.run_id)]
    followed.twin.holds = lambda pod: False
    again = followed.run(lambda other: other.tags.get("dagster/parent_run_id") == run.run_id, "another run")
    followed.pod_of(again.run_id, "ann_index")
    assert held not in [pod["metadata"]["name"] for pod in followed.twin.pods(run.run_id)]
    assert followed.ended(again.run_id) is dg.DagsterRunStatus.SUCCESS


def test_an_image_that_cannot_be_pulled_is_one_clear_error_of_a_backfill(followed: Followed) -> None:
    """What is live stays, and nothing is written."""
    released = followed.cluster.shop.released
    objects = sorted(followed.cluster.shop.store.list("generations"))
    followed.twin.meets = lambda _: setattr(followed.twin.node, "images", set())  # from the run's pod on
    followed.twin.settled_for = 2 * SETTLED
    followed.instance.add_backfill(
        PartitionBackfill.from_asset_graph_subset(
            backfill_id="one",
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=followed.instance,
            asset_graph_subset=AssetGraphSubset(non_partitioned_asset_keys={INDEXED}),
            title=None,
            description=None,
            run_config=None,
        )
    )
    run = followed.run(lambda run: run.tags.get("dagster/backfill") == "one", "a run of the backfill")
    assert followed.ended(run.run_id) is dg.DagsterRunStatus.FAILURE
    assert followed.said(run.run_id, dg.DagsterEventType.STEP_FAILURE) == {
        "ann_index": [
            f'the image {CPU_IMAGE} cannot be pulled (failed to pull and unpack image "{CPU_IMAGE}": '
            f'failed to resolve reference "{CPU_IMAGE}": {CPU_IMAGE}: not found): push it, or name one that '
            "is there "
            "(IMGSEARCH_GPU_IMAGE, or the image of the code location)"
        ]
    }
    assert followed.said(run.run_id, dg.DagsterEventType.STEP_UP_FOR_RETRY) == {}
    (pod,) = followed.cluster.pods_of(run.run_id)["ann_index"]
    told(pod, INDEX, CPU_IMAGE)
    left = [pod["metadata"]["labels"].get("dagster/op") for pod in followed.twin.pods(run.run_id)]
    assert left == [None], "its pod no longer waits for the image"
    assert followed.cluster.shop.released == released
    assert sorted(followed.cluster.shop.store.list("generations")) == objects
