"""Requests, answers and errors as ``/openapi.json`` shows them. A test holds each to its schema."""

from typing import Any

_PICTURES = "https://pictures.shop.example"
_BOX = {"x0": 0.2156, "y0": 0.1042, "x1": 0.7813, "y1": 0.9125}
_GENERATION, _EMBEDDER, _DETECTOR = "9f86d081884c7d65", "5d41402abc4b2a76", "7d793037a0760186"

# By name, for ``SearchBody``.
SEARCHES: dict[str, dict[str, Any]] = {
    "product": {
        "summary": "Like a product, in stock and below 50.00",
        "value": {"product_id": "dress-0042", "filters": {"price_max": 5000, "in_stock_only": True}, "k": 12},
    },
    "image_url": {"summary": "A picture by its address", "value": {"image_url": f"{_PICTURES}/street.jpg"}},
    "image_base64": {
        "summary": "A part of a picture that is sent along",
        "value": {"image_base64": "/9j/4AAQSkZJRgABAQAAAQABAAD/2Q==", "box": _BOX},
    },
    "text": {"summary": "Words, where the model reads them", "value": {"text": "a red summer dress"}},
}
UPLOAD: dict[str, Any] = {
    "image": "(the bytes of a JPEG, PNG or WebP file)",
    "box": '{"x0": 0.2156, "y0": 0.1042, "x1": 0.7813, "y1": 0.9125}',
    "filters": '{"categories": ["dress"], "price_max": 5000}',
    "k": 12,
    "collapse": "picture",
}

PRODUCT_ID = "dress-0042"
_PRODUCT: dict[str, Any] = {
    "product_id": PRODUCT_ID,
    "name": "Summer dress with buttons",
    "brand": "Nordlys",
    "category": "dress",
    "colour": "red",
    "price": 4900,
    "currency": "EUR",
    "in_stock": True,
    "image_url": f"{_PICTURES}/dress-0042-front.jpg",
    "image_urls": [f"{_PICTURES}/dress-0042-front.jpg", f"{_PICTURES}/dress-0042-back.jpg"],
}
_MATCH: dict[str, Any] = {
    **_PRODUCT,
    "product_id": "dress-0107",
    "name": "Shirt dress",
    "image_url": f"{_PICTURES}/dress-0107.jpg",
    "image_urls": [f"{_PICTURES}/dress-0107.jpg"],
    "score": 0.8731,
    "box": _BOX,
    "also": ["dress-0108"],
}

ANSWER: dict[str, Any] = {
    "results": [_MATCH],
    "boxes": [{"box": _BOX, "category": "dress", "score": 0.9312}],
    "chosen_box": _BOX,
    "product": None,
    "generation": _GENERATION,
    "stock": "1767225600000-0",
    "models": {"detector": _DETECTOR, "embedder": _EMBEDDER},
    "plan": "graph",
    "collapse": "picture",
    "exhausted": False,
    "next_cursor": "AShZYj8MAAEAm3x4Zzlm...",
    "features": "computed",
    "cached": False,
    "timings_ms": {"detect": 21.4, "embed": 11.2, "search": 1.9, "total": 36.3},
}
SIMILAR: dict[str, Any] = {
    **ANSWER,
    "boxes": [],
    "chosen_box": None,
    "product": _PRODUCT,
    "models": {"detector": None, "embedder": _EMBEDDER},
    "features": "index",
    "timings_ms": {"cache": 0.7, "search": 1.9, "total": 3.1},
}
PRODUCT: dict[str, Any] = {"product": _PRODUCT, "generation": _GENERATION}
EXPLANATION: dict[str, Any] = {
    "product": _PRODUCT,
    "generation": _GENERATION,
    "created_at": 1767225600.0,
    "models": {"detector": _DETECTOR, "embedder": _EMBEDDER},
    "pictures": [
        {
            "image_url": f"{_PICTURES}/dress-0042-front.jpg",
            "image_sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            "parts": [{"box": _BOX}, {"box": None}],
        }
    ],
    "variants": ["dress-0043", "dress-0044"],
    "same_picture": [],
    "match": {
        "product_id": "dress-0107",
        "score": 0.8731,
        "image_url": f"{_PICTURES}/dress-0042-front.jpg",
        "box": _BOX,
        "of_image_url": f"{_PICTURES}/dress-0107.jpg",
        "of_box": None,
    },
}
STATUS: dict[str, Any] = {
    "state": "ready",
    "services": {"search": "serving", "detect": "serving", "embed": "serving"},
    "generation": _GENERATION,
    "created_at": 1767225600.0,
    "products": 48210,
    "rows": 91377,
    "models": {"detector": _DETECTOR, "embedder": _EMBEDDER},
    "values": {"categories": ["bag", "dress"], "brands": ["Nordlys"], "colours": ["blue", "red"]},
    "text_search": False,
    "stale": None,
    "max_k": 100,
    "max_picture_bytes": 10485760,
}

# By HTTP status, then by name: (``error.code``, ``error.message``).
ERRORS: dict[int, dict[str, tuple[str, str]]] = {
    400: {
        "picture": ("bad_image", "not a picture; send JPEG, PNG or WebP"),
        "address": ("bad_address", "127.0.0.1 is not a public address"),
        "cursor": ("bad_input", "cursor is not one that this search gave"),
        "host": ("bad_input", "the picture's host answered 404"),
    },
    401: {"key": ("unauthenticated", "an API key is needed; send it as Authorization: Bearer KEY")},
    403: {"scope": ("forbidden", "API key 0b1a4e0f6c2d has no scope search")},
    404: {
        "product": ("not_found", f"product {PRODUCT_ID!r} is not in the index"),
        "explain": ("not_found", f"generation {_GENERATION} does not hold product {PRODUCT_ID!r}"),
    },
    409: {"cursor": ("conflict", "the index has moved on; search again from the first page")},
    422: {
        "k": ("bad_input", "k: Input should be greater than or equal to 1"),
        "source": (
            "bad_input",
            "give exactly one of image_url, product_id, image_base64 and text",
        ),
    },
    429: {"busy": ("overloaded", "too many searches at once; try again in a moment")},
    500: {"ours": ("internal", "something went wrong on our side; the request id finds it in our logs")},
    501: {"text": ("text_search_off", f"{_EMBEDDER} has no text tower; search with a picture")},
    503: {
        "starting": ("unavailable", "nothing is indexed yet"),
        "models": (
            "model_mismatch",
            f"the vectors are of embedder {_EMBEDDER}, generation {_GENERATION} is of c157a79031e1c40f",
        ),
    },
    504: {"late": ("deadline_passed", "no answer within 10 s")},
}
