"""Where a step works: in a Kubernetes job of its own, or in a process beside its run's."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

from dagster._cli.api import execute_step_command
from dagster._core.events import DagsterEvent
from dagster._core.execution.plan.objects import StepFailureData, UserFailureData
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandlerContext
from dagster._serdes import serialize_value
from dagster_k8s.client import k8s_api_retry
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.executor import K8sStepHandler
from dagster_shared.error import SerializableErrorInfo
from urllib3 import Timeout

from imgsearch_assets.cluster.trouble import Trouble, end_of, trouble_of
from imgsearch_assets.graph.pods import Pod

# Short steps are copies of a process with the pipeline imported, else each would spend seconds on that.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["imgsearch_assets.definitions"])

# What is said of a process where the one that it was copied from, which knows, has ended; it may work on.
_UNKNOWN = 255
_ANSWER_S = 30


class Steps(K8sStepHandler):
    """Starts the steps of one run; those of ``pods`` (by op) as jobs, the others as processes.

    ``gpu_image`` is that of steps that ask for a GPU; others have the run's.
    """

    def __init__(
        self, pods: dict[str, Pod], gpu_image: str | None, kubeconfig: str | None, in_cluster: bool
    ) -> None:
        super().__init__(
            image=None,
            container_context=K8sContainerContext(),
            load_incluster_config=in_cluster,
            kubeconfig_file=kubeconfig,
            per_step_k8s_config={op: pod.config(gpu_image if pod.gpus else None) for op, pod in pods.items()},
            # So that the cluster ends the steps of a run whose pod is removed.
            enable_owner_references=True,
        )
        for api in (self._api_client.batch_api, self._api_client.core_api):
            # By default a question that is never answered is waited for for ever, and with it a cancel.
            pool: Any = api.api_client.rest_client.pool_manager
            pool.connection_pool_kw["timeout"] = Timeout(total=_ANSWER_S)
        self._pods = pods
        self._processes: dict[str, BaseProcess] = {}
        self._silent: set[str] = set()
        self._looked = False

    @property
    def name(self) -> str:
        return "Steps"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        if not self._looked:
            self._end_those_before(step_handler_context)
            self._looked = True
        self._silent.discard(self._get_step_key(step_handler_context))
        if self._has_a_pod(step_handler_context):
            yield from super().launch_step(step_handler_context)
            return
        key = self._get_step_key(step_handler_context)
        yield DagsterEvent.step_worker_starting(
            step_handler_context.get_step_context(key), f'Executing step "{key}" beside its run.', metadata={}
        )
        arguments = serialize_value(step_handler_context.execute_step_args)
        process = _PROCESSES.Process(target=_execute, args=(arguments,))
        process.start()
        self._processes[key] = process

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        key = self._get_step_key(step_handler_context)
        process = self._processes.get(key)
        if process is not None:
            if process.exitcode is None:
                return CheckStepHealthResult.healthy()
            if process.exitcode == 0:
                return self._done(key)
            if process.exitcode == _UNKNOWN and process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            return CheckStepHealthResult.unhealthy(f"its process ended with status {process.exitcode}")
        found = super().check_step_health(step_handler_context)
        pod = self._pod(step_handler_context)
        if not found.is_healthy:
            # A node that comes back would go on with it.
            if pod is not None and pod.status.phase == "Running":
                list(super().terminate_step(step_handler_context))
            return CheckStepHealthResult.unhealthy(end_of(pod).sentence)
        if pod is not None and pod.status.phase == "Succeeded":
            return self._done(key)
        trouble = None if pod is None else trouble_of(pod, datetime.now(UTC))
        if trouble is not None and trouble.hopeless:
            self._give_up(step_handler_context, trouble)
        return found

    def _done(self, key: str) -> CheckStepHealthResult:
        """Of a step that is waited for though it ended well: its word may be on its way, but for one look."""
        if key not in self._silent:
            self._silent.add(key)
            return CheckStepHealthResult.healthy()
        return CheckStepHealthResult.unhealthy("it ended well, but nothing is on record of that")

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        process = self._processes.get(self._get_step_key(step_handler_context))
        if process is None:
            yield from super().terminate_step(step_handler_context)
        elif process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGINT)

    def _end_those_before(self, context: StepHandlerContext) -> None:
        """What still works of runs that this one takes up: a killed one's steps, or one taken for lost."""
        namespace, run = self._get_container_context(context).namespace, context.dagster_run
        while run.parent_run_id and (before := context.instance.get_run_by_id(run.parent_run_id)):
            run = before
            if not run.is_finished:
                continue
            asked = {"namespace": namespace, "label_selector": f"dagster/run-id={run.run_id}"}
            for job in _retried(partial(self._api_client.batch_api.list_namespaced_job, **asked)).items:
                if job.status.active:
                    _retried(partial(self._api_client.delete_job, job.metadata.name, namespace))

    def _has_a_pod(self, context: StepHandlerContext) -> bool:
        step: Any = context.get_step_context(self._get_step_key(context))
        return step.step.op_name in self._pods

    def _pod(self, context: StepHandlerContext) -> Any | None:
        """The newest of the step's job; None where there is none."""
        namespace = self._get_container_context(context).namespace
        pods = self._api_client.get_pods_in_job(self._get_k8s_step_job_name(context), namespace)
        return max(pods, key=lambda pod: pod.metadata.creation_timestamp, default=None)

    def _give_up(self, context: StepHandlerContext, trouble: Trouble) -> None:
        """The step has failed, with one sentence, and is not tried again."""
        list(super().terminate_step(context))
        said: Any = UserFailureData(label="pod", description=trouble.sentence, metadata={})  # type: ignore[no-untyped-call]
        error = SerializableErrorInfo(trouble.sentence, [], None)
        failure = StepFailureData(error, said)  # type: ignore[no-untyped-call]
        DagsterEvent.step_failure_event(context.get_step_context(self._get_step_key(context)), failure)


def _retried(ask: Callable[[], Any]) -> Any:
    """Where a run is taken up, the API may be away for the reason that the one before was lost."""
    return k8s_api_retry(ask, max_retries=3, timeout=5)


def _execute(arguments: str) -> None:
    """As ``dagster api execute_step``."""
    execute_step_command.main([arguments], standalone_mode=False)
