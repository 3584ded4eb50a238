from collections.abc import Iterator
from typing import Any

import pytest
from grpc_health.v1 import health_pb2


def test_ready_names_the_generation(house: Any) -> None:
    assert house.http.get("/readyz").json() == {"status": "ready", "generation": "generation-1"}
    answer = house.http.get("/v1/status").json()
    assert answer["state"] == "ready"
    assert answer["services"] == {"search": "serving", "detect": "serving", "embed": "serving"}
    assert answer["products"] == 12
    assert answer["values"]["categories"] == ["bag", "dress", "shirt"]
    assert answer["models"] == {"detector": "detector-1", "embedder": "embedder-1"}
    assert (answer["max_k"], answer["max_picture_bytes"]) == (100, 10_485_760)


def test_without_a_generation_it_is_alive_but_not_ready(house: Any) -> None:
    house.search.generation = ""
    house.say("search", health_pb2.HealthCheckResponse.NOT_SERVING)
    reply = house.http.get("/readyz")
    assert (reply.status_code, reply.json()["error"]["message"]) == (503, "nothing is indexed yet")
    assert house.http.get("/healthz").json() == {"status": "alive"}
    answer = house.http.get("/v1/status").json()
    assert (answer["state"], answer["generation"], answer["models"]) == ("empty", None, None)


def test_a_model_service_that_is_away(house: Any) -> None:
    house.say("embed", health_pb2.HealthCheckResponse.NOT_SERVING)
    answer = house.http.get("/v1/status").json()
    assert answer["state"] == "degraded"
    assert answer["services"]["embed"] == "not_serving"
    assert house.http.get("/readyz").status_code == 200


@pytest.fixture
def alone(run_house: Any) -> Iterator[Any]:
    """A front with nothing behind it."""
    nobody = "127.0.0.1:1"
    with run_house(
        search_address=nobody, detect_address=nobody, embed_address=nobody, redis_url=f"redis://{nobody}"
    ) as house:
        yield house


def test_a_front_with_nothing_behind_it_starts_and_says_so(alone: Any, patches: Any) -> None:
    answer = alone.http.get("/v1/status").json()
    assert answer["state"] == "unavailable"
    assert set(answer["services"].values()) == {"unreachable"}
    for reply in (
        alone.http.get("/readyz"),
        alone.http.post("/v1/search", json={"product_id": "a"}),
        alone.http.post("/v1/search/image", files={"image": patches("red")}),
    ):
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "unavailable")
    assert alone.http.get("/").status_code == 200
