"""What is wrong, found in the records of real runs of a small graph."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import WILL_RETRY_TAG

from imgsearch_assets.alerting.alerts import Alert, Trouble
from imgsearch_assets.automation import ON_CHANGE
from imgsearch_assets.environment import read_environment
from imgsearch_assets.graph.steps import step
from imgsearch_assets.watch.freshness import due
from imgsearch_assets.watch.standing import held_up_by, standings
from imgsearch_assets.watch.troubles import Findings, find, promise
from serving.cache.stock_log import StockLog
from serving.errors import BadInput


class Graph:
    """raw -> pictures -> index (with a gate) -> release; what is in ``broken`` fails."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.broken: set[str] = set()
        self.gate, self.severity = True, dg.AssetCheckSeverity.ERROR
        self.cursor: dict[str, Any] = {
            "seen": {},
            "causes": {},
            "told": {"log": {}},
            "why": {"log": {}},
        }

        def asset(name: str, *deps: str) -> dg.AssetsDefinition:
            @dg.asset(name=name, deps=deps, automation_condition=ON_CHANGE)
            def made() -> None:
                if name in self.broken:
                    with step():
                        raise BadInput(f"{name} is broken: mend it")

            return made

        @dg.asset(deps=["pictures"], check_specs=[dg.AssetCheckSpec("recall", asset="index", blocking=True)])
        def index() -> Iterator[Any]:
            check = dg.AssetCheckResult(
                passed=self.gate, check_name="recall", severity=self.severity, description="0.7 of 0.95"
            )
            yield dg.MaterializeResult(check_results=[check])

        assets = [asset("raw"), asset("pictures", "raw"), index, asset("release", "index"), asset("other")]
        self.definitions = dg.Definitions(assets)

    def run(self, *names: str, **tags: str) -> str:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        asked = [dg.AssetKey(name) for name in names or ("raw", "pictures", "index", "release")]
        return job.execute_in_process(
            instance=self.instance, asset_selection=asked, raise_on_error=False, tags=tags
        ).run_id

    def queued(self, *names: str) -> str:
        """A run that waits for its turn."""
        job = self.definitions.resolve_implicit_global_asset_job_def()
        asked = frozenset(dg.AssetKey(name) for name in names)
        return self.instance.create_run_for_job(job, asset_selection=asked).run_id

    def find(self) -> Findings:
        graph = self.definitions.resolve_asset_graph()
        return find(self.instance, graph, read_environment(), 1e9)

    def news(self) -> list[str]:
        """What a tick has to tell."""
        findings = self.find()
        seen, told = self.cursor["seen"], self.cursor["told"]["log"]
        seen |= {key: seen.get(key, 0) for key in findings.troubles}
        alerts: list[Alert] = due(findings, self.cursor, "log", 1e9, "local", None)
        for alert in alerts:
            told |= {alert.trouble.key: 0} if alert.event == "begun" else {}
            if alert.event == "over":
                del told[alert.trouble.key]
        return [alert.trouble.title for alert in alerts]


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Graph]:
    monkeypatch.delenv("IMGSEARCH_REDIS_URL", raising=False)
    with dg.instance_for_test() as instance:
        yield Graph(instance)


def test_nothing_is_wrong_before_and_after_a_good_run(graph: Graph) -> None:
    assert graph.find().troubles == {}
    graph.run()
    assert graph.find() == Findings({}, frozenset(), graph.find().ended_by)


def test_twenty_failing_runs_are_one_alert(graph: Graph) -> None:
    graph.broken = {"pictures"}
    run = graph.run()
    ended_at = graph.instance.get_run_records()[0].end_time
    assert graph.find().troubles == {
        "failed/pictures": Trouble(
            "failed",
            "pictures",
            "a run failed at pictures, and is not tried again by itself",
            {"reason": "pictures is broken: mend it"},
            run,
            ended_at,
            "pictures is broken: mend it",
        )
    }
    assert graph.news() == ["a run failed at pictures, and is not tried again by itself"]
    for _ in range(19):
        graph.run()
        assert graph.news() == []
    graph.broken = {"release"}
    graph.run()
    assert graph.news() == [
        "a run failed at release, and is not tried again by itself",
        "pictures is made again",
    ]
    graph.broken = set()
    graph.run()
    assert graph.news() == ["release is made again"]


def test_one_that_fails_earlier_leaves_what_was_told_as_it_was(graph: Graph) -> None:
    graph.broken = {"pictures"}
    graph.run()
    graph.news()
    graph.broken = {"raw"}
    graph.run()
    assert graph.news() == ["a run failed at raw, and is not tried again by itself"]
    graph.broken = {"pictures"}
    graph.run()
    assert graph.news() == ["raw is made again"]


def test_two_that_fail_by_themselves_are_two(graph: Graph) -> None:
    graph.broken = {"pictures", "other"}
    graph.run("raw", "pictures", "index", "release", "other")
    assert set(graph.find().troubles) == {"failed/pictures", "failed/other"}


def test_a_run_that_will_be_tried_again_is_no_trouble_yet(graph: Graph) -> None:
    graph.broken = {"raw"}
    run = graph.run()
    graph.instance.add_run_tags(run, {WILL_RETRY_TAG: "true"})
    assert graph.news() == []
    last = graph.run()
    assert graph.news() == ["a run failed at raw, and is not tried again by itself"]
    assert graph.find().troubles["failed/raw"].run == last


def test_a_run_that_waits_decides_nothing(graph: Graph) -> None:
    graph.broken = {"raw"}
    graph.run()
    graph.news()
    graph.queued("raw", "pictures", "index", "release")
    assert graph.news() == []


def test_a_run_that_never_began_says_why(graph: Graph) -> None:
    run = graph.queued("raw", "pictures")
    found = graph.instance.get_run_by_id(run)
    assert found is not None
    graph.instance.report_run_failed(found, "the machine was switched off")
    assert graph.find().troubles["failed/raw"].facts == {"reason": "the machine was switched off"}


def test_a_gate_is_told_by_its_name_and_its_run_is_not(graph: Graph) -> None:
    graph.run()
    graph.gate = False
    run = graph.run()
    found = graph.find().troubles
    assert found == {
        "gate/index/recall": Trouble(
            "gate",
            "index/recall",
            "index did not pass its gate recall",
            {"reason": "0.7 of 0.95", "effect": "what is live stays live"},
            run,
            found["gate/index/recall"].began,
        )
    }
    assert graph.news() == ["index did not pass its gate recall"]
    graph.run()
    assert graph.news() == []
    graph.broken = {"raw"}
    graph.run()
    assert graph.news() == ["a run failed at raw, and is not tried again by itself"], "the gate was not asked"
    graph.broken, graph.gate = set(), True
    graph.run()
    assert graph.news() == ["index/recall passes again", "raw is made again"]


def test_a_gate_that_only_warns_is_none(graph: Graph) -> None:
    graph.gate, graph.severity = False, dg.AssetCheckSeverity.WARN
    graph.run()
    assert graph.find().troubles == {}


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda graph: None, "nothing upstream: no run was to make it since; does the Dagster daemon run?"),
        (lambda graph: graph.queued("raw", "release"), "raw: its run waits for its turn"),
        (lambda graph: graph.queued("release"), "release: its run waits for its turn"),
    ],
)
def test_what_holds_it_up(graph: Graph, prepare: Callable[[Graph], None], said: str) -> None:
    graph.run()
    prepare(graph)
    found = standings(graph.instance, graph.definitions.resolve_asset_graph())
    assert held_up_by(graph.instance, found, "release")[0] == said


def test_the_deepest_holds_it_up(graph: Graph) -> None:
    graph.run()
    graph.gate = False
    graph.run()

    def holds() -> tuple[str, str | None]:
        found = standings(graph.instance, graph.definitions.resolve_asset_graph())
        return held_up_by(graph.instance, found, "release")

    assert holds()[0] == "index: its gate recall stopped it: 0.7 of 0.95"
    graph.broken = {"pictures"}
    run = graph.run("pictures")
    assert holds() == ("pictures: its last run failed: pictures is broken: mend it", run)
    graph.broken = {"other"}
    graph.run("other")
    assert holds()[1] == run, "it is not upstream"


def test_what_nobody_starts_by_itself_waits_for_somebody(graph: Graph) -> None:
    graph.run()
    found = standings(graph.instance, graph.definitions.resolve_asset_graph())
    said = "nothing upstream: no run was to make it since; it waits for somebody to start its job"
    assert held_up_by(graph.instance, found, "index")[0] == said


def test_promises_in_words() -> None:
    window = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=30))
    assert promise(window) == "made anew within 30 h"
    cron = dg.FreshnessPolicy.cron("0 9 * * *", timedelta(hours=2))
    assert promise(cron) == "made within the 2 h before each 0 9 * * * (UTC)"


def test_the_stock(graph: Graph, redis_process: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSEARCH_REDIS_URL", redis_process.url)
    log = StockLog(redis_process.url, "local", timeout_s=1)
    assert graph.find().troubles == {}, "where no feed ever ran nobody waits for one"
    log.compared()
    assert graph.find().troubles == {}
    log.halt("80 of 80 products in stock would leave at once")
    trouble = graph.find().troubles["stock/the stock"]
    assert trouble.title == "the stock is not followed"
    assert trouble.facts["reason"] == "80 of 80 products in stock would leave at once"
    assert trouble.facts["last_followed"].endswith(" s ago")
    log.compared()
    assert graph.find().troubles == {}
    monkeypatch.setattr("imgsearch_assets.watch.troubles._FEED_AWAY_S", -1.0)
    assert graph.find().troubles["stock/the stock"].facts["reason"] == (
        "the feed does not look at the catalogue; does imgsearch stock feed run?"
    )
    redis_process.kill()
    assert graph.find().troubles["stock/the stock"].facts["reason"].startswith("the stock in Redis cannot be")
    log.close()


def test_the_cause_of_a_stock_that_is_not_followed(
    graph: Graph, redis_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGSEARCH_REDIS_URL", redis_process.url)
    with closing(StockLog(redis_process.url, "local", timeout_s=1)) as log:
        log.compared()
        causes = []
        for left in (80, 79):
            log.halt(f"{left} of 80 products in stock would leave at once")
            causes.append(graph.find().troubles["stock/the stock"].cause)
        redis_process.kill()
        causes.append(graph.find().troubles["stock/the stock"].cause)
    assert causes == ["halted", "halted", "away"]
