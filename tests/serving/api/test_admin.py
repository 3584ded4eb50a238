from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from imgsearch_assets.release.publish import publish
from serving.api.admin import create_admin
from serving.api.telemetry import Metrics
from serving.identity import following
from serving.identity.store import create, keys_key
from serving.index.store import pointer_key, read_pointer
from serving.settings import Settings


@pytest.fixture
def key(shop: Any) -> tuple[str, str]:
    """(id, key) of an administrator."""
    made, told = create(shop.store, "local", "Ada", ["admin"])
    return made.id, told


@pytest.fixture
def admin(shop: Any, tmp_path: Path, key: tuple[str, str]) -> Iterator[TestClient]:
    assert shop.store.root == tmp_path / "objects"
    app = create_admin(Settings(home=tmp_path), Metrics())
    with TestClient(app, headers={"Authorization": f"Bearer {key[1]}"}) as client:
        yield client


def told(reply: Any) -> tuple[int, str, str]:
    error = reply.json()["error"]
    return reply.status_code, error["code"], error["message"]


def test_keys_are_made_listed_revoked_and_rotated(
    admin: TestClient, key: tuple[str, str], monkeypatch: pytest.MonkeyPatch, shop: Any
) -> None:
    monkeypatch.setattr(following, "LOOK_EVERY_S", 0.01)
    reply = admin.post(
        "/v1/admin/keys",
        json={"name": "till", "scopes": ["search"], "rate": "5/second", "expires_in_s": 3600},
    )
    assert reply.status_code == 201
    made = reply.json()["key"]
    assert made["expires_at"] - made["created_at"] == pytest.approx(3600, abs=5)
    assert (made["name"], made["scopes"], made["rate"], made["state"]) == (
        "till",
        ["search"],
        "5/second",
        "active",
    )
    secret = reply.json()["secret"]
    assert secret.startswith(f"imgs_{made['id']}_")
    turned = admin.post(f"/v1/admin/keys/{made['id']}/rotate", json={"grace_s": 0})
    assert turned.json()["key"] == made
    assert turned.json()["secret"] not in (secret, "")
    gone = admin.post(f"/v1/admin/keys/{made['id']}/revoke")
    assert gone.json() == {**made, "state": "revoked", "revoked_at": gone.json()["revoked_at"]}
    reply = admin.get("/v1/admin/keys")
    assert [(found["id"], found["state"]) for found in reply.json()["keys"]] == [
        (key[0], "active"),
        (made["id"], "revoked"),
    ]
    assert "sha256" not in reply.text
    again = admin.post(f"/v1/admin/keys/{made['id']}/rotate", json={})
    assert told(again) == (400, "bad_input", f"API key {made['id']} is revoked; create another")
    nowhere = admin.get("/v1/admin/no")
    assert told(nowhere)[2] == "there is nothing at /v1/admin/no; /openapi.json lists what there is"
    nobody = admin.post("/v1/admin/keys/0123456789ab/revoke")
    assert told(nobody) == (404, "not_found", "there is no API key 0123456789ab")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": "a"}, "scopes: Field required"),
        ({"name": "a", "scopes": ["root"]}, "scopes.0: Input should be 'search' or 'admin'"),
        (
            {"name": "a", "scopes": ["admin"], "rate": "9"},
            "rate: a rate is as in 10/second or 600/minute, or 0 for none",
        ),
        ({"name": "a", "scopes": ["admin"], "id": "b"}, "id: Extra inputs are not permitted"),
    ],
)
def test_what_is_no_key(admin: TestClient, body: dict, said: str) -> None:
    assert told(admin.post("/v1/admin/keys", json=body)) == (422, "bad_input", said)


def test_generations_and_which_is_live(admin: TestClient, shop: Any) -> None:
    assert admin.get("/v1/admin/generations").json() == {"generations": []}
    assert admin.get("/v1/admin/release").json() == {"live": None, "earlier": []}
    first, second, third = (shop.build(name) for name in ("s1", "s2", "s3"))
    publish(shop.store, "local", first.id, "me", "test")
    publish(shop.store, "staging", first.id, "me", "test")
    shop.store.put(third.key, b"{}")
    shop.store.put(pointer_key("production"), b"{}")
    found = admin.get("/v1/admin/generations").json()["generations"]
    assert [(one["id"], one["live_in"], one["products"]) for one in found] == [
        (second.id, [], 60),
        (first.id, ["local", "staging"], 60),
        (third.id, [], None),
    ]
    assert found[0]["size_bytes"] == sum(segment.size_bytes for segment in second.files)
    assert found[2]["unreadable"].startswith(f"the manifest of generation {third.id} cannot be used: ")


def test_a_generation_that_passed_its_gates_is_promoted_and_left_again(
    admin: TestClient, shop: Any, key: tuple[str, str]
) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    publish(shop.store, "local", first.id, "me", "test")
    wanted = {"generation": second.id, "why": "new shoes"}
    assert told(admin.post("/v1/admin/release/promote", json=wanted)) == (
        400,
        "bad_input",
        f"generation {second.id} was never live, so it passed no gates; the pipeline releases it",
    )
    publish(shop.store, "staging", second.id, "me", "test")
    reply = admin.post("/v1/admin/release/promote", json=wanted)
    live = reply.json()["live"]
    assert (live["generation"], live["who"], live["why"]) == (
        second.id,
        f"Ada (API key {key[0]})",
        "new shoes",
    )
    assert admin.post("/v1/admin/release/promote", json=wanted).json() == reply.json(), "it is live already"
    back = admin.post("/v1/admin/release/rollback", json={"why": "worse shoes"}).json()["live"]
    assert (back["generation"], back["rolled_back_from"]) == (first.id, second.id)
    pointer = read_pointer(shop.store, "local").pointer
    assert pointer is not None
    assert pointer.live.model_dump() == back
    none = admin.post("/v1/admin/release/rollback", json={"why": "worse still"})
    assert told(none) == (404, "not_found", "there is no earlier generation in local to go back to")
    to = admin.post("/v1/admin/release/rollback", json={"why": "sure", "to": second.id}).json()["live"]
    assert to["generation"] == second.id


@pytest.mark.parametrize("wanted", ["../../etc/passwd", "http://example.com/", "", "0" * 15, "A" * 16])
def test_a_generation_is_an_id(admin: TestClient, wanted: str) -> None:
    for path, name in (("promote", "generation"), ("rollback", "to")):
        reply = admin.post(f"/v1/admin/release/{path}", json={name: wanted, "why": "x"})
        assert told(reply) == (
            422,
            "bad_input",
            f"{name}: String should match pattern '^[0-9a-f]{{16}}$'",
        )
    missing = admin.post("/v1/admin/release/promote", json={"generation": "0" * 16, "why": "x"})
    assert told(missing) == (404, "not_found", f"there is no generation {'0' * 16}")


def test_milvus_is_released_by_hand(shop: Any, tmp_path: Path, key: tuple[str, str]) -> None:
    settings = Settings(home=tmp_path, search_backend="milvus", milvus_uri="http://127.0.0.1:1")
    app = create_admin(settings, Metrics())
    with TestClient(app, headers={"X-Api-Key": key[1]}) as client:
        reply = client.post("/v1/admin/release/rollback", json={"why": "x"})
        assert told(reply) == (
            501,
            "unsupported",
            "Milvus has to follow; release with `imgsearch release promote` or `rollback`",
        )


BEFORE, AFTER = "a" * 16, "b" * 16
REPLAY = f"/v1/admin/replays/{AFTER}/{BEFORE}"


def test_a_browser_opens_the_page_of_a_replay_with_the_key_as_a_password(
    shop: Any, tmp_path: Path, key: tuple[str, str]
) -> None:
    shop.store.put(f"reports/replay/{AFTER}/{BEFORE}.html", b"<!doctype html><title>Replay</title>")
    with TestClient(create_admin(Settings(home=tmp_path), Metrics())) as browser:
        asked = browser.get(REPLAY)
        assert told(asked)[:2] == (401, "unauthenticated")
        assert asked.headers["www-authenticate"] == (
            'Basic realm="imgsearch: an API key as the password", charset="UTF-8"'
        )
        page = browser.get(REPLAY, auth=("anna", key[1]))
        assert (page.status_code, page.text) == (200, "<!doctype html><title>Replay</title>")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"] == (
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        for wrong in ("Basic ?", "Basic /w==", "Digest x"):
            assert browser.get(REPLAY, headers={"Authorization": wrong}).status_code == 401
        _, searcher = create(shop.store, "local", "app", ["search"])
        assert browser.get(REPLAY, auth=("app", searcher)).status_code in (401, 403)
        # What changes something is not done with what a browser sends by itself.
        for other in (
            browser.get("/v1/admin/keys", auth=("anna", key[1])),
            browser.post(REPLAY, auth=("", key[1])),
        ):
            assert other.status_code == 401
            assert other.headers["www-authenticate"] == "Bearer"


def test_a_page_of_a_replay_that_is_not_there_or_none_of_ours(admin: TestClient, shop: Any) -> None:
    assert told(admin.get(REPLAY)) == (
        404,
        "not_found",
        f"nobody compared generation {AFTER} with {BEFORE}, or its page is pruned",
    )
    assert told(admin.get(f"/v1/admin/replays/{AFTER}/..%2Fkeys"))[0] in (404, 422)
    shop.store.put(f"reports/replay/{AFTER}/{BEFORE}.html", bytes(5 * 2**20 + 1))
    assert told(admin.get(REPLAY)) == (
        500,
        "unverified",
        f"reports/replay/{AFTER}/{BEFORE}.html has 5,242,881 bytes, at most 5,242,880 are shown; remove it",
    )


def test_a_body_is_small(admin: TestClient) -> None:
    reply = admin.post("/v1/admin/keys", content=b" " * 70_000)
    assert told(reply) == (400, "bad_input", "the body has more than 65,536 bytes")


def test_a_damaged_list_of_keys_is_told(admin: TestClient, shop: Any) -> None:
    shop.store.put(keys_key("local"), b"{")
    status, code, said = told(admin.get("/v1/admin/keys"))
    assert (status, code) == (500, "unverified")
    assert said.startswith("keys/local.json is no list of API keys: the whole: Invalid JSON")
