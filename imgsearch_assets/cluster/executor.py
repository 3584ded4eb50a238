"""The executor of a cluster: dagster-k8s's, but for where short steps work, and for what is tried again."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.events import DagsterEvent
from dagster._core.execution.plan.objects import StepRetryData
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.base import Executor
from dagster._core.executor.init import InitExecutorContext
from dagster._core.executor.step_delegating import StepDelegatingExecutor
from dagster_k8s.launcher import K8sRunLauncher

from imgsearch_assets.cluster.steps import Steps
from imgsearch_assets.graph.pods import pods_by_op

# How often a step whose pod was lost is started anew. What it had done is kept, so each goes on.
LOST = 2
_DELAY_S = 5
# How often records are read for what steps said, and pods are looked at.
_LOOK_S = 0.25
_HEALTH_S = 5
# PostgreSQL numbers events before they can be read, so one may turn up behind others: the last so many of all
# records are read again.
_BEHIND = 200


def executor_of(gpu_image: str | None, health_s: int = _HEALTH_S) -> dg.ExecutorDefinition:
    """The executor of every run, whatever started it. ``gpu_image`` is that of steps with a GPU.

    All that pods are told is in the code (``graph/pods.py``): what a job or a run is told besides does not
    reach the runs that conditions and backfills start.
    """

    @dg.executor(name="pods", requirements=multiple_process_executor_requirements())
    def pods(context: InitExecutorContext) -> Executor:
        launcher = context.instance.run_launcher
        of_a_cluster = launcher if isinstance(launcher, K8sRunLauncher) else None
        steps = Steps(
            pods_by_op(),
            gpu_image,
            kubeconfig=of_a_cluster.kubeconfig_file if of_a_cluster else None,
            in_cluster=of_a_cluster.load_incluster_config if of_a_cluster else True,
        )
        return _Executor(
            steps,
            RetryMode.ENABLED,
            sleep_seconds=_LOOK_S,
            check_step_health_interval_seconds=health_s,
            should_verify_step=True,
        )

    return pods


class _Executor(StepDelegatingExecutor):
    """Asked for a step whose pod or process ended without a word: no fault of the step, so it has another.

    Dagster itself would go by the step's own retry policy, which is for what the step says of itself.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ended: set[str] = set()

    def _get_pop_events_offset(self, instance: dg.DagsterInstance) -> int:
        return _BEHIND

    def _pop_events(
        self, instance: dg.DagsterInstance, run_id: str, seen_storage_ids: set[int]
    ) -> Sequence[DagsterEvent]:
        """Without the last word of an attempt that was given up, and came back: the other one's counts."""
        found = []
        for event in super()._pop_events(instance, run_id, seen_storage_ids):
            if event.is_step_success or event.is_step_failure:
                if event.step_key in self._ended:
                    continue
                self._ended.add(str(event.step_key))
            found.append(event)
        return found

    def log_failure_or_retry_event_after_error(
        self, step_context: Any, err_info: Any, known_state: Any
    ) -> DagsterEvent:
        before = known_state.get_retry_state().get_attempt_count(step_context.step.key)
        if before < LOST:
            data = StepRetryData(err_info, _DELAY_S)  # type: ignore[no-untyped-call]
            return DagsterEvent.step_retry_event(step_context, data)
        return super().log_failure_or_retry_event_after_error(step_context, err_info, known_state)
