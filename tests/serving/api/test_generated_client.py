"""A client that a tool makes of the description, against the running front."""

import base64
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest


@pytest.fixture(scope="module")
def package(running_house: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its name; where it lies is on ``sys.path``."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_bytes(httpx.get(f"{running_house.url}/openapi.json").content)
    (folder / "config.yml").write_text("post_hooks: []\n")
    tool = Path(sys.executable).with_name("openapi-python-client")
    options = (
        "--path openapi.json --config config.yml --meta none --output-path shop_client --fail-on-warning"
    )
    subprocess.run([tool, "generate", *options.split()], cwd=folder, check=True, timeout=60)
    sys.path.insert(0, str(folder))
    return "shop_client"


@pytest.fixture
def shop(package: str, house: Any) -> Any:
    """``shop.<operation>(...)`` calls and parses; ``shop.models`` and ``shop.File`` are what it is given."""
    with import_module(package).Client(base_url=house.url) as client:

        def operation(name: str, tag: str = "search") -> Callable[..., Any]:
            module = import_module(f"{package}.api.{tag}.{name}")
            return lambda *args, **kwargs: module.sync(*args, client=client, **kwargs)

        names = ("search", "search_image", "get_product", "similar_products", "explain_product", "get_status")
        yield SimpleNamespace(
            models=import_module(f"{package}.models"),
            File=import_module(f"{package}.types").File,
            readyz=operation("readyz", "operation"),
            **{name: operation(name) for name in names},
        )


def ids(answer: Any) -> list[str]:
    return [result.product_id for result in answer.results]


def test_a_picture_is_searched(shop: Any, patches: Callable[..., bytes]) -> None:
    picture = patches("red", "blue")
    form = shop.models.PictureForm(image=shop.File(BytesIO(picture), "a.jpg", "image/jpeg"), k=3)
    answer = shop.search_image(body=form)
    assert ids(answer)[0] == "red-dress"
    assert len(answer.results) == 3
    assert [box.category for box in answer.boxes] == ["dress", "bag"]
    form.filters, form.box = '{"categories": ["bag"]}', '{"x0": 0.5, "y0": 0, "x1": 1, "y1": 1}'
    form.image = shop.File(BytesIO(picture), "a.jpg", "image/jpeg")
    part = shop.search_image(body=form)
    assert {result.category for result in part.results} == {"bag"}
    assert part.chosen_box.x0 == 0.5
    body = shop.models.SearchBody(image_base64=base64.b64encode(picture).decode(), k=3)
    assert ids(shop.search(body=body)) == ids(answer)
    body.cursor = answer.next_cursor
    assert not set(ids(shop.search(body=body))) & set(ids(answer))


def test_products_are_found_and_looked_up(shop: Any) -> None:
    models = shop.models
    filters = models.Filters(categories=["bag", "shirt"], price_max=4000)
    answer = shop.search(body=models.SearchBody(product_id="green-dress", filters=filters, k=1))
    assert ids(answer) == ["green-bag"]
    assert answer.collapse == models.AnswerCollapse.PICTURE
    similar = shop.similar_products("green-dress", k=2, collapse=models.SimilarProductsCollapse.PRODUCT)
    assert ids(similar) == ["green-bag", "green-shirt"]
    more = shop.similar_products("green-dress", k=2, collapse=similar.collapse, cursor=similar.next_cursor)
    assert not set(ids(more)) & set(ids(similar))
    explained = shop.explain_product("green-bag", like="green-dress")
    assert explained.match.score == similar.results[0].score
    assert explained.pictures[0].parts[1].box is None
    assert shop.get_product("green-dress").product.name == "Green dress"
    assert shop.get_status().state == models.StatusState.READY
    assert shop.readyz()["generation"] == "generation-1"


def test_an_error_is_one(shop: Any) -> None:
    missing = shop.get_product("nobody")
    assert isinstance(missing, shop.models.ErrorAnswer)
    assert (missing.error.code, missing.error.message) == (
        "not_found",
        "product 'nobody' is not in the index",
    )
    wrong = shop.search(body=shop.models.SearchBody(product_id="red-dress", k=0))
    assert wrong.error.message == "k: Input should be greater than or equal to 1"
