"""API keys: what is kept of each, and what it takes to be its holder.

A key is ``imgs_<id>_<secret>``. The secret is 256 random bits, shown once; what is kept is its SHA-256. A
slow hash would protect nothing more: nobody guesses such a secret. The id is none: logs and lists show it.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from serving.errors import BadInput, Forbidden, NotFound, Unauthenticated

Scope = Literal["search", "admin"]

# What a request may bring along as its key; anything else is nobody's.
_KEY = re.compile(r"imgs_([0-9a-f]{12})_([0-9a-f]{64})")
_RATE = re.compile(r"0|[1-9][0-9]{0,6}/(second|minute)")
_NOBODY = "0" * 64


def _rate(text: str) -> str:
    if not _RATE.fullmatch(text):
        raise ValueError("a rate is as in 10/second or 600/minute, or 0 for none")
    return text


# Requests that a key may make, as in ``10/second`` or ``600/minute``; ``0`` is as many as it likes.
Rate = Annotated[str, AfterValidator(_rate)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Scopes = Annotated[frozenset[Scope], Field(min_length=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Earlier(_Frozen):
    """The secret that a rotation replaced; it works until then, in seconds since 1970."""

    sha256: str
    until: float


class Key(_Frozen):
    """What is kept of a key. Times are seconds since 1970."""

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    name: Name
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: Scopes
    # None is the rate of the settings.
    rate: Rate | None = None
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    earlier: Earlier | None = None

    def state(self, now: float) -> Literal["active", "revoked", "expired"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "active"


class Keys(_Frozen):
    """Every key of an environment, those that were revoked too; ``keys/<environment>.json``."""

    format: Literal[1] = 1
    keys: tuple[Key, ...] = ()
    _by_id: dict[str, Key] = PrivateAttr(default_factory=dict)

    def model_post_init(self, _: object) -> None:
        self._by_id.update((key.id, key) for key in self.keys)

    def get(self, key_id: str) -> Key:
        """Raises ``NotFound``."""
        if key_id not in self._by_id:
            raise NotFound(f"there is no API key {key_id}")
        return self._by_id[key_id]

    def having(self, key: Key) -> Self:
        """The same keys with ``key``, in place of the one of its id."""
        return type(self)(keys=tuple({**self._by_id, key.id: key}.values()))

    def holder(self, sent: str | None, scope: Scope, now: float) -> Key:
        """The key that ``sent`` is, which may do ``scope``. Raises ``Unauthenticated`` or ``Forbidden``."""
        if not sent:
            raise Unauthenticated("an API key is needed; send it as Authorization: Bearer KEY")
        parts = _KEY.fullmatch(sent)
        key = self._by_id.get(parts[1]) if parts else None
        digest = sha256(parts[2] if parts else "")
        right = hmac.compare_digest(digest, key.sha256 if key else _NOBODY)
        replaced = key and key.earlier and hmac.compare_digest(digest, key.earlier.sha256)
        if key is None or not (right or replaced):
            raise Unauthenticated("this API key is not known here")
        state = key.state(now)
        if state != "active":
            raise Unauthenticated(
                f"API key {key.id} {'was revoked' if state == 'revoked' else 'has expired'}"
            )
        if not right and key.earlier and now >= key.earlier.until:
            raise Unauthenticated(f"API key {key.id} has a new secret; this one is no longer taken")
        if scope not in key.scopes:
            raise Forbidden(f"API key {key.id} has no scope {scope}")
        return key


def sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def is_key(text: str) -> bool:
    """Whether that has the form of a key."""
    return _KEY.fullmatch(text) is not None


def made(
    name: str,
    scopes: Iterable[str],
    now: float,
    rate: str | None = None,
    expires_at: float | None = None,
) -> tuple[Key, str]:
    """A new key, and what its holder is told once. Raises ``BadInput`` naming what is wrong."""
    key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    values = {"name": name, "scopes": frozenset(scopes), "rate": rate, "expires_at": expires_at}
    if expires_at is not None and expires_at <= now:
        raise BadInput("expires_at: that is past")
    try:
        key = Key.model_validate({"id": key_id, "sha256": sha256(secret), "created_at": now, **values})
    except ValidationError as error:
        wrong = error.errors()[0]
        raise BadInput(f"{wrong['loc'][0]}: {wrong['msg'].removeprefix('Value error, ')}") from None
    return key, _told(key_id, secret)


def revoked(key: Key, now: float) -> Key:
    """From now on it is nobody's; one that was revoked stays as it is."""
    return key if key.revoked_at is not None else key.model_copy(update={"revoked_at": now})


def rotated(key: Key, now: float, grace_s: float) -> tuple[Key, str]:
    """The key with a new secret, and what its holder is told once.

    The present secret works for ``grace_s`` seconds more; one that an earlier rotation left stops at once.
    Raises ``BadInput`` where the key is not active.
    """
    if (state := key.state(now)) != "active":
        raise BadInput(f"API key {key.id} is {state}; create another")
    secret = secrets.token_hex(32)
    earlier = Earlier(sha256=key.sha256, until=now + grace_s)
    return key.model_copy(update={"sha256": sha256(secret), "earlier": earlier}), _told(key.id, secret)


def _told(key_id: str, secret: str) -> str:
    return f"imgs_{key_id}_{secret}"
