"""The front before the real search service: a process of its own, a small generation, a change of it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.serving.api.published import publish
from tests.serving.processes import Start


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_from_an_empty_shop_to_a_new_generation(
    tmp_path: Path, start: Start, run_house: Any, patches: Callable[..., bytes]
) -> None:
    with run_house(search_address=start("search")[1]) as house:

        def search() -> dict[str, Any]:
            files = {"image": patches("red", "blue")}
            answer: dict[str, Any] = house.http.post("/v1/search/image", files=files).json()
            return answer

        assert search()["error"]["code"] == "unavailable"
        assert house.http.get("/v1/status").json()["state"] == "empty"

        catalogue = house.search.catalogue()
        catalogue["green-bag"][0].in_stock = False
        first = publish(tmp_path, catalogue)
        wait_until(lambda: house.http.get("/readyz").status_code == 200)
        answer = search()
        assert answer["generation"] == first
        assert answer["results"][0]["product_id"] == "red-dress"
        assert answer["results"][0]["score"] > 0.99
        status = house.http.get("/v1/status").json()
        assert status["products"] == 12
        assert sorted(status["values"]["colours"]) == ["blue", "green", "red", "yellow"]
        body = {"product_id": "green-shirt", "k": 2, "filters": {"in_stock_only": False}}
        similar = house.http.post("/v1/search", json=body).json()["results"]
        assert {result["colour"] for result in similar} == {"green"}
        similar = house.http.get("/v1/products/green-shirt/similar?k=2").json()["results"]
        assert [result["product_id"] for result in similar][:1] == ["green-dress"]
        assert "green-bag" not in [result["product_id"] for result in similar], "it is sold out"

        del catalogue["red-dress"]
        second = publish(tmp_path, catalogue)
        wait_until(lambda: search()["generation"] == second)
        assert search()["results"][0]["product_id"] == "red-bag"
        assert house.http.get("/v1/products/red-dress").status_code == 404
