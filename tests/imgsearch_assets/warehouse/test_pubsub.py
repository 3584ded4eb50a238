"""Messages, over real gRPC from a subscription in this process, and the sensor that takes them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import grpc
import pytest
from google.protobuf import empty_pb2
from google.pubsub_v1.types import (
    AcknowledgeRequest,
    ModifyAckDeadlineRequest,
    PubsubMessage,
    PullRequest,
    PullResponse,
    ReceivedMessage,
)

from imgsearch_assets.assets import catalogue
from imgsearch_assets.automation import catalogue_sensor
from imgsearch_assets.definitions import CHANGE, build_definitions
from imgsearch_assets.environment import Environment, read_environment
from imgsearch_assets.resources import resources_of
from imgsearch_assets.warehouse.pubsub import Subscription
from serving.errors import BadInput, BadSettings
from tests.imgsearch_assets.test_automation import MODELS, write

NAME = "projects/shop-prod/subscriptions/catalogue-written"


class Server:
    """One subscription: what is delivered, held and acknowledged."""

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self.out: list[str] = []
        self.done: list[str] = []
        self.held: list[str] = []
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self._published = 0

    def publish(self, count: int = 1) -> None:
        for _ in range(count):
            self._published += 1
            self.waiting.append(f"m{self._published}")

    def deadlines_pass(self) -> None:
        """What was delivered and not acknowledged is delivered again."""
        self.waiting, self.out = self.out + self.waiting, []

    def handlers(self) -> grpc.GenericRpcHandler:
        def method(run: Any, request: Any, reply: Any) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(run, request.deserialize, reply)

        empty = empty_pb2.Empty.SerializeToString
        return grpc.method_handlers_generic_handler(
            "google.pubsub.v1.Subscriber",
            {
                "Pull": method(self._pull, PullRequest, PullResponse.serialize),
                "Acknowledge": method(self._acknowledge, AcknowledgeRequest, empty),
                "ModifyAckDeadline": method(self._hold, ModifyAckDeadlineRequest, empty),
            },
        )

    def _pull(self, request: PullRequest, context: grpc.ServicerContext) -> PullResponse:
        if self.refusal is not None:
            context.abort(*self.refusal)
        if request.subscription != NAME:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={request.subscription}).")
        found, self.waiting = self.waiting[: request.max_messages], self.waiting[request.max_messages :]
        self.out += found
        messages = [ReceivedMessage(ack_id=it, message=PubsubMessage(data=b"{}")) for it in found]
        return PullResponse(received_messages=messages)

    def _acknowledge(self, request: AcknowledgeRequest, _: grpc.ServicerContext) -> empty_pb2.Empty:
        self.done += request.ack_ids
        self.out = [it for it in self.out if it not in request.ack_ids]
        return empty_pb2.Empty()

    def _hold(self, request: ModifyAckDeadlineRequest, _: grpc.ServicerContext) -> empty_pb2.Empty:
        self.held += request.ack_ids
        return empty_pb2.Empty()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server()
    with ThreadPoolExecutor(2) as pool:
        listening = grpc.server(pool)
        listening.add_generic_rpc_handlers((found.handlers(),))
        port = listening.add_insecure_port("127.0.0.1:0")
        listening.start()
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
        yield found
        listening.stop(None).wait()


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setenv("IMGSEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IMGSEARCH_CATALOGUE", str(tmp_path / "c.parquet"))
    monkeypatch.setenv("IMGSEARCH_PUBSUB_SUBSCRIPTION", NAME)
    monkeypatch.setenv("IMGSEARCH_PUBSUB_BATCH", "10")
    write(tmp_path / "c.parquet", 1)
    return read_environment()


class Watch:
    """The sensor, tick after tick. It looks without a message only once an hour."""

    def __init__(self, environment: Environment) -> None:
        self.instance = dg.DagsterInstance.ephemeral()
        self.environment = environment
        self.job = build_definitions(environment).resolve_job_def(CHANGE)
        self.cursor: str | None = None
        for name in MODELS:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(name))

    def tick(self, dies: bool = False) -> str:
        """What it said. One that ``dies`` leaves nothing behind."""
        context = dg.build_sensor_context(
            self.instance, cursor=self.cursor, resources={"environment": self.environment}
        )
        chain = list(self.job.asset_layer.executable_asset_keys)
        needed = [dg.AssetKey(name) for name in MODELS]
        result = catalogue_sensor(self.job, chain, needed, 3600, self.environment.inbox)(context)
        assert isinstance(result, dg.SensorResult)
        if dies:
            return ""
        self.cursor = result.cursor
        for event in result.asset_events:
            assert isinstance(event, dg.AssetMaterialization)
            self.instance.report_runless_asset_event(event)
        if result.run_requests:
            return "a run"
        assert result.skip_reason is not None
        return str(result.skip_reason.skip_message)

    def run(self) -> bool:
        assets = [catalogue.products, catalogue.product_snapshot]
        return dg.materialize(
            assets, instance=self.instance, resources=resources_of(self.environment)
        ).success


@pytest.fixture
def watch(server: Server, environment: Environment) -> Watch:
    """All is read, and nothing was written since."""
    found = Watch(environment)
    assert found.tick() == "a run"
    assert found.run()
    return found


QUIET = "no message came since the last look"
IN_WORK = "a run is in work, the next one comes after it"


def test_a_message_is_acknowledged_after_its_run_is_asked_for(server: Server, watch: Watch) -> None:
    assert watch.tick() == QUIET
    write(Path(watch.environment.catalogue), 2)
    assert watch.tick() == QUIET
    server.publish()
    assert watch.tick() == "a run"
    assert server.done == []
    assert watch.run()
    assert watch.tick() == QUIET
    assert server.done == ["m1"]


def test_many_messages_are_one_run(server: Server, watch: Watch) -> None:
    write(Path(watch.environment.catalogue), 2)
    server.publish(35)
    said = [watch.tick()]
    assert len(server.out) == 10
    assert watch.run()
    said += [watch.tick() for _ in range(5)]
    assert said.count("a run") == 1
    assert len(server.done) == 35


def test_a_message_waits_for_the_run_after_the_one_in_work(server: Server, watch: Watch) -> None:
    in_work = watch.instance.create_run_for_job(watch.job)
    write(Path(watch.environment.catalogue), 2)
    server.publish(2)
    assert watch.tick() == f"the catalogue changed; {IN_WORK}"
    server.publish(20)
    assert watch.tick().endswith(IN_WORK)
    assert (server.done, server.held, len(server.waiting)) == ([], ["m1", "m2"], 20)
    watch.instance.report_run_canceled(in_work)
    assert watch.tick() == "a run"
    assert server.done == []
    assert watch.run()
    watch.tick()
    assert server.done[:2] == ["m1", "m2"]


def test_a_look_that_dies_loses_no_message(server: Server, watch: Watch) -> None:
    write(Path(watch.environment.catalogue), 2)
    server.publish()
    watch.tick(dies=True)
    assert server.done == []
    server.deadlines_pass()
    assert watch.tick() == "a run"


def test_a_message_of_what_is_read_starts_nothing(server: Server, watch: Watch) -> None:
    server.publish(3)
    assert watch.tick() == "the catalogue was not written since the last look"
    assert server.done == ["m1", "m2", "m3"]


def test_a_catalogue_that_cannot_be_read_keeps_its_message(server: Server, watch: Watch) -> None:
    Path(watch.environment.catalogue).write_bytes(b"half a file")
    server.publish()
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        watch.tick()
    assert (server.done, server.out) == ([], ["m1"])


def test_where_pubsub_is_away_the_catalogue_is_looked_at(
    server: Server, environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    server.refusal = (grpc.StatusCode.UNAVAILABLE, "try later")
    assert Watch(environment).tick() == "a run"
    assert (
        f"taking messages of {NAME}: Google does not answer in time or asks to wait (try later)"
        in caplog.text
    )


def test_a_subscription_that_is_not_there_is_named(server: Server) -> None:
    name = "projects/shop-prod/subscriptions/nope"
    with Subscription(name, 10).open() as post, pytest.raises(BadInput) as refused:
        post.take()
    assert str(refused.value) == (
        f"taking messages of {name}: it is not there; check IMGSEARCH_PUBSUB_SUBSCRIPTION (Resource not "
        f"found (resource={name}).)"
    )


def test_without_rights_the_role_is_named(server: Server) -> None:
    server.refusal = (grpc.StatusCode.PERMISSION_DENIED, "User not authorized to perform this action.")
    with Subscription(NAME, 10).open() as post, pytest.raises(BadSettings) as refused:
        post.take()
    assert str(refused.value) == (
        f"taking messages of {NAME}: no rights; grant the account roles/pubsub.subscriber on it (User not "
        "authorized to perform this action.)"
    )
