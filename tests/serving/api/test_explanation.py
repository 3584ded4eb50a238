"""What a product is found by, over real HTTP and gRPC."""

from typing import Any


def test_a_product_is_explained(house: Any) -> None:
    house.search.groups = dict.fromkeys(("red-dress", "red-bag", "blue-bag"), "red-dress")
    answer = house.http.get("/v1/products/red-dress/explain").json()
    assert answer["product"]["name"] == "Red dress"
    assert (answer["generation"], answer["created_at"]) == ("generation-1", 1.0)
    assert answer["models"] == {"detector": "detector-1", "embedder": "embedder-1"}
    (picture,) = answer["pictures"]
    assert picture["image_url"] == f"{house.picture_host}/red.jpg"
    assert picture["image_sha256"] == "0" * 64
    assert picture["parts"] == [{"box": {"x0": 0.1, "y0": 0.1, "x1": 0.8, "y1": 0.9}}, {"box": None}]
    assert (answer["variants"], answer["same_picture"]) == (["red-bag", "blue-bag"], [])
    assert answer["match"] is None


def test_two_products_are_compared(house: Any) -> None:
    answer = house.http.get("/v1/products/red-bag/explain", params={"like": "red-dress"}).json()
    found = house.http.get("/v1/products/red-dress/similar?k=1").json()["results"][0]
    assert answer["match"] == {
        "product_id": "red-dress",
        "score": found["score"],
        "image_url": f"{house.picture_host}/red.jpg",
        "box": {"x0": 0.1, "y0": 0.1, "x1": 0.8, "y1": 0.9},
        "of_image_url": f"{house.picture_host}/red.jpg",
        "of_box": {"x0": 0.1, "y0": 0.1, "x1": 0.8, "y1": 0.9},
    }


def test_a_product_that_is_not_there_is_told(house: Any) -> None:
    for path in ("/v1/products/nobody/explain", "/v1/products/red-bag/explain?like=nobody"):
        reply = house.http.get(path)
        assert reply.status_code == 404
        error = reply.json()["error"]
        assert (error["code"], error["message"]) == (
            "not_found",
            "generation generation-1 does not hold product 'nobody'",
        )
    assert house.http.get("/v1/products/red-bag/explain?like=").status_code == 422
