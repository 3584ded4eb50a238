"""What must not leave a process in a log, a trace or a report: its secrets, and what people sent.

Our own words carry neither. What a library says of its failure may: an address with its password, the query
of a URL, the bytes that it could not read.
"""

import re
from collections.abc import Iterable
from typing import Self
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr
from pydantic_settings import BaseSettings

SECRET, QUERY, BYTES = "[secret]", "?[query]", "[bytes]"

# A shorter one would be found in words that are none.
_SHORTEST = 6
_LONGEST_BYTES = 16
# Longer than a hash or a key of the object store; base64 of the smallest picture is longer.
_LONGEST_WORD = 120

_PATTERNS = (
    (re.compile(r"imgs_([0-9a-f]{12})_[0-9a-f]{64}"), rf"imgs_\1_{SECRET}"),
    (re.compile(r"://[^\s/@'\"]*@"), f"://{SECRET}@"),
    (re.compile(r"(?<=://)([^\s?'\"<>]+)\?[^\s'\"<>]*"), rf"\1{QUERY}"),
    (re.compile(rf"\bb'(?:[^'\\]|\\.){{{_LONGEST_BYTES},}}'?"), BYTES),
    (re.compile(rf'\bb"(?:[^"\\]|\\.){{{_LONGEST_BYTES},}}"?'), BYTES),
    (re.compile(rf"[A-Za-z0-9+/_=-]{{{_LONGEST_WORD},}}"), BYTES),
)


class Redaction:
    """A text without the ``secrets``, and without what looks like a password, a URL's query or a picture."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= _SHORTEST}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, known))) if known else None

    @classmethod
    def of(cls, *settings: BaseSettings) -> Self:
        """With every secret of the settings; of an address, and of user:password, also the secret part."""
        values = (value for some in settings for _, value in some if isinstance(value, SecretStr))
        return cls(part for value in values for part in _parts(value.get_secret_value()))

    def __call__(self, text: str) -> str:
        if self._secrets is not None:
            text = self._secrets.sub(SECRET, text)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text


def _parts(secret: str) -> Iterable[str]:
    """``secret`` itself and what is secret in it: the password, or the key that stands for a user."""
    yield secret
    before, _, last = secret.rpartition(":")
    if "://" in secret:
        around = urlsplit(secret).netloc.rpartition("@")[0]
        before, _, last = around.rpartition(":")
    if before or "://" in secret:
        yield last
        yield unquote(last)
