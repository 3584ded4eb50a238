"""The API keys of an environment in the object store: one small object, changed by compare-and-set."""

import time
from collections.abc import Callable, Iterable

from pydantic import ValidationError

from serving.errors import Conflict, NotFound, Unverified
from serving.identity import keys
from serving.identity.keys import Key, Keys
from serving.object_store import ObjectStore

GRACE_S = 3600.0

_ATTEMPTS = 10


def keys_key(environment: str) -> str:
    return f"keys/{environment}.json"


def parsed(environment: str, data: bytes) -> Keys:
    """Raises ``Unverified`` when that is no list of keys."""
    try:
        return Keys.model_validate_json(data)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"])) or "the whole"
        raise Unverified(
            f"{keys_key(environment)} is no list of API keys: {where}: {wrong['msg']}; put back what it was"
        ) from None


def read_keys(store: ObjectStore, environment: str) -> Keys:
    """None at all before the first. Raises ``Unverified``."""
    try:
        return parsed(environment, store.get(keys_key(environment)))
    except NotFound:
        return Keys()


def create(
    store: ObjectStore,
    environment: str,
    name: str,
    scopes: Iterable[str],
    rate: str | None = None,
    expires_at: float | None = None,
) -> tuple[Key, str]:
    """A new key, and what its holder is told once. Raises ``BadInput``, ``Unverified`` or ``Conflict``."""
    key, told = keys.made(name, scopes, time.time(), rate, expires_at)
    return _change(store, environment, lambda _: key), told


def revoke(store: ObjectStore, environment: str, key_id: str) -> Key:
    """Raises ``NotFound``, ``Unverified`` or ``Conflict``."""
    return _change(store, environment, lambda known: keys.revoked(known.get(key_id), time.time()))


def rotate(store: ObjectStore, environment: str, key_id: str, grace_s: float = GRACE_S) -> tuple[Key, str]:
    """As ``keys.rotated``. Raises ``NotFound``, ``BadInput``, ``Unverified`` or ``Conflict``."""
    told = ""

    def turn(known: Keys) -> Key:
        nonlocal told
        key, told = keys.rotated(known.get(key_id), time.time(), grace_s)
        return key

    return _change(store, environment, turn), told


def _change(store: ObjectStore, environment: str, change: Callable[[Keys], Key]) -> Key:
    where = keys_key(environment)
    for _ in range(_ATTEMPTS):
        version = store.version(where)  # first: what is read after it is as new or newer
        known = read_keys(store, environment)
        key = change(known)
        try:
            store.compare_and_set(where, known.having(key).model_dump_json(indent=1).encode(), version)
        except Conflict:
            continue  # another key was changed meanwhile
        return key
    raise Conflict("the API keys are being changed by others; try again")
