"""What the executor of a cluster makes of steps that end without a word, or with one too many."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import kubernetes
import pytest
from dagster._core.events import DagsterEvent, StepFailureData, StepSuccessData
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.step_delegating import StepDelegatingExecutor

from imgsearch_assets.cluster.executor import _Executor
from imgsearch_assets.cluster.steps import Steps
from tests.k8s.twin import Twin, twin_at

pytestmark = pytest.mark.filterwarnings("ignore:Found version mismatch")


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    with twin_at(tmp_path, {}) as found:
        yield found


@pytest.fixture
def steps(twin: Twin, tmp_path: Path) -> Steps:
    return Steps({}, None, kubeconfig=str(tmp_path / "kubeconfig"), in_cluster=False)


def ended(step: str, well: bool = True) -> DagsterEvent:
    kind = dg.DagsterEventType.STEP_SUCCESS if well else dg.DagsterEventType.STEP_FAILURE
    data = StepSuccessData(0.0) if well else StepFailureData(None, None)  # type: ignore[no-untyped-call]
    return DagsterEvent(kind.value, "refresh", step_key=step, event_specific_data=data)


def test_one_last_word_of_a_step_counts(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first: an attempt that was given up may come back with its node."""
    looks = [[ended("a")], [ended("b"), ended("a")], [ended("a", well=False), ended("b")]]

    def found(*_: object) -> Sequence[DagsterEvent]:
        return looks.pop(0)

    monkeypatch.setattr(StepDelegatingExecutor, "_pop_events", found)
    executor = _Executor(steps, RetryMode.ENABLED)
    with dg.DagsterInstance.ephemeral() as instance:
        heard = [executor._pop_events(instance, "run", set()) for _ in range(3)]
    assert [[event.step_key for event in events] for events in heard] == [["a"], ["b"], []]


def test_a_step_that_ended_well_is_waited_for_one_look_more(steps: Steps) -> None:
    assert steps._done("a").is_healthy
    assert steps._done("b").is_healthy
    lost = steps._done("a")
    assert not lost.is_healthy
    assert lost.unhealthy_reason == "it ended well, but nothing is on record of that"


def test_no_question_to_the_cluster_is_waited_for_for_ever(steps: Steps) -> None:
    for api in (steps._api_client.batch_api, steps._api_client.core_api):
        assert isinstance(api.api_client, kubernetes.client.ApiClient)
        pool = api.api_client.rest_client.pool_manager
        assert pool.connection_from_url("http://127.0.0.1:1").timeout.total == 30
