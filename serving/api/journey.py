"""What ``/openapi.json`` of the admin application says of the journey of a product. A test holds it true."""

from typing import Any

from serving.api.examples import PRODUCT_ID
from serving.api.schemas import ErrorAnswer

_URL = "https://pictures.shop.example/dress-0042.jpg"
_SNAPSHOT = "2cf24dba5fb0a30e"
_NOT_YET: dict[str, Any] = {
    "detected": "waiting",
    "detected_reason": None,
    "detected_at": None,
    "items": 0,
    "embedded": "waiting",
    "embedded_reason": None,
    "embedded_at": None,
    "searchable": False,
}

EXAMPLE: dict[str, Any] = {
    "product_id": PRODUCT_ID,
    "environment": "production",
    "searchable": False,
    "verdict": "no_picture",
    "sentence": f"{PRODUCT_ID} is not searchable in production: none of its 1 pictures could be had "
    "(not_found (HTTP 404) 1); the next try is due at 2026-01-01 01:00:00 UTC",
    "seen_at": 1767225600.0,
    "updated_at": 1767225590.0,
    "snapshot": _SNAPSHOT,
    "stages": [
        {
            "stage": "seen",
            "state": "done",
            "at": 1767225600.0,
            "detail": f"new in snapshot {_SNAPSHOT}",
        },
        {"stage": "downloaded", "state": "failed", "at": None, "detail": "0 of 1 pictures; not_found"},
    ],
    "pictures": [
        {
            "image_url": _URL,
            "fetched": "failed",
            "reason": "not_found",
            "http_status": 404,
            "attempts": 1,
            "fetched_at": 1767225603.0,
            "retry_at": 1767229200.0,
            **_NOT_YET,
        }
    ],
    "rejected": [],
    "places": [
        {
            "environment": "production",
            "generation": "9f86d081884c7d65",
            "released_at": 1767222000.0,
            "searchable": False,
            "since": None,
        }
    ],
    "history": [
        {
            "at": 1767225600.0,
            "change": "new",
            "detail": "the catalogue",
            "snapshot": _SNAPSHOT,
            "generation": None,
            "run": "1c5b8f0e-6c0e-4b0a-9a55-0d8f1d6c7b2a",
            "searchable_after_s": None,
        }
    ],
}

_ERRORS = {
    401: ("No key, or one that is not known here.", "unauthenticated", "an API key is needed"),
    403: ("The key has no scope `admin`.", "forbidden", "API key 0b1a4e0f6c2d has no scope admin"),
    404: (
        "Nobody ever saw that product.",
        "not_found",
        f"nobody ever saw a product {PRODUCT_ID!r}: no catalogue, and no generation, had it",
    ),
    422: ("That is no id.", "bad_input", "product_id: String should have at most 256 characters"),
    429: ("More than the key may ask.", "overloaded", "more than 10/second; try again in a moment"),
    500: (
        "`internal`, a mistake of ours; or `unverified`: the pointer is damaged.",
        "unverified",
        "environments/production.json is no pointer: Invalid JSON; put back what it was, or remove it and "
        "release again",
    ),
    504: (
        "`deadline_passed`: the store is too slow.",
        "deadline_passed",
        "what is known was not read within 10 s; try again",
    ),
}
# ``responses`` of the route.
JOURNEY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Its verdict, in a sentence, and all that is known of it.",
        "content": {"application/json": {"example": EXAMPLE}},
    },
    **{
        status: {
            "model": ErrorAnswer,
            "description": description,
            "content": {
                "application/json": {
                    "example": {"error": {"code": code, "message": message, "request_id": "0b1a4e0f"}}
                }
            },
        }
        for status, (description, code, message) in _ERRORS.items()
    },
}
