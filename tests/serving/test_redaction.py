import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from serving.redaction import Redaction
from serving.settings import Settings


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("models/embedder/0123456789abcdef/weights.safetensors", None),
        ("a" * 64 + " does not have the hash that its name says", None),
        ("cannot reach redis://:pw@host:6379/0", "cannot reach redis://[secret]@host:6379/0"),
        ("GET https://shop/a.jpg?user=7&sign=x failed", "GET https://shop/a.jpg?[query] failed"),
        (r"cannot read b'\xff\xd8\xff\xe0\x00\x10JFIF\x00' here", "cannot read [bytes] here"),
        (r"""cannot read b"it's a \xff\xd8\xff\xe0" here""", "cannot read [bytes] here"),
        ("b'short'", None),
        (f"not base64: {'/9j/4AAQ' * 20}==", "not base64: [bytes]"),
        (f"no such key: imgs_0123456789ab_{'0' * 64}", "no such key: imgs_0123456789ab_[secret]"),
        ("what is this? a sentence", None),
    ],
)
def test_what_may_be_said(said: str, kept: str | None) -> None:
    assert Redaction()(said) == (said if kept is None else kept)


@given(st.binary(min_size=90, max_size=3000))
def test_no_picture_is_left_of_what_a_library_says(picture: bytes) -> None:
    encoded = base64.b64encode(picture).decode()
    said = Redaction()(f"cannot read {picture!r} or {encoded!r}")
    assert repr(picture)[2:-1] not in said
    assert encoded[:100] not in said


def test_the_secrets_of_the_settings_are_known_in_every_form() -> None:
    settings = Settings(
        redis_url=SecretStr("redis://shop:p%40ss-word@redis:6379/0"),
        sentry_dsn=SecretStr("https://public-key@sentry.example/1"),
        milvus_token=SecretStr("root:milvus-word"),
    )
    redact = Redaction.of(settings)
    for secret in ("p%40ss-word", "p@ss-word", "public-key", "milvus-word", "root:milvus-word"):
        assert redact(f"refused {secret}.") == "refused [secret]."
    assert redact("the root of shop") == "the root of shop"


def test_a_long_text_takes_no_long_time() -> None:
    text = os.urandom(200_000).decode("latin-1")
    assert len(Redaction(["some-secret"])(text)) > 100_000
