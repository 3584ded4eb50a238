"""What /openapi.json says, and that it is true of the examples in it."""

from typing import Any

import pytest

from serving.api import examples
from serving.api.app import create_app
from serving.api.explanation import Explanation
from serving.api.schemas import Answer, Filters, ProductAnswer, SearchBody, Status
from serving.settings import Settings


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return create_app(Settings(max_k=50, max_filter_values=7)).openapi()


# Of each operation: its id, and every status that it can give.
_ALL = {401, 403, 429, 500}
OPERATIONS = {
    ("/v1/search", "post"): ("search", {200, 400, 404, 409, 422, 501, 503, 504} | _ALL),
    ("/v1/search/image", "post"): ("search_image", {200, 400, 409, 422, 503, 504} | _ALL),
    ("/v1/products/{product_id}", "get"): ("get_product", {200, 304, 404, 422, 503, 504} | _ALL),
    ("/v1/products/{product_id}/similar", "get"): (
        "similar_products",
        {200, 304, 400, 404, 409, 422, 503, 504} | _ALL,
    ),
    ("/v1/products/{product_id}/explain", "get"): ("explain_product", {200, 304, 404, 422, 503, 504} | _ALL),
    ("/v1/status", "get"): ("get_status", {200, 504} | _ALL),
    ("/healthz", "get"): ("healthz", {200}),
    ("/readyz", "get"): ("readyz", {200, 500, 503, 504}),
}


def operations(described: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    paths = described["paths"].items()
    return {(path, method): operation for path, methods in paths for method, operation in methods.items()}


def test_every_operation_has_a_name_and_says_what_it_can_answer(described: dict[str, Any]) -> None:
    found = operations(described)
    assert {
        key: (operation["operationId"], set(map(int, operation["responses"])))
        for key, operation in found.items()
    } == OPERATIONS
    for (path, _), operation in found.items():
        assert operation["summary"]
        assert ("security" in operation) == path.startswith("/v1/")
        for status, response in operation["responses"].items():
            assert "X-Request-Id" in response["headers"]
            assert ("Retry-After" in response["headers"]) == (status in ("429", "503"))
            if status == "304":
                assert "ETag" in response["headers"]
            elif status != "200":
                content = response["content"]["application/json"]
                assert content["schema"] == {"$ref": "#/components/schemas/ErrorAnswer"}
                assert content["examples"]
            elif path.startswith("/v1/"):
                assert response["content"]["application/json"]["example"]


def test_the_limits_of_the_installation_are_in_the_schema(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    for name in ("SearchBody", "PictureForm"):
        assert (schemas[name]["properties"]["k"]["minimum"], schemas[name]["properties"]["k"]["maximum"]) == (
            1,
            50,
        )
    assert schemas["Filters"]["properties"]["brands"]["maxItems"] == 7
    similar = described["paths"]["/v1/products/{product_id}/similar"]["get"]
    (k,) = (parameter for parameter in similar["parameters"] if parameter["name"] == "k")
    assert k["schema"]["maximum"] == 50


def test_the_examples_are_what_they_show() -> None:
    for one in examples.SEARCHES.values():
        SearchBody.model_validate(one["value"])
    Filters.model_validate_json(examples.UPLOAD["filters"])
    for model, example in (
        (Answer, examples.ANSWER),
        (Answer, examples.SIMILAR),
        (ProductAnswer, examples.PRODUCT),
        (Explanation, examples.EXPLANATION),
        (Status, examples.STATUS),
    ):
        assert model.model_validate(example).model_dump(mode="json") == example


def test_it_is_made_once_and_served_as_it_is(house: Any) -> None:
    first, again = (house.http.get("/openapi.json") for _ in range(2))
    assert first.headers["content-type"] == "application/json"
    assert first.headers["etag"].startswith('"')
    unchanged = house.http.get("/openapi.json", headers={"If-None-Match": first.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert first.content == again.content
    assert first.json()["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
