import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import BadInput, Forbidden, NotFound, Unauthenticated
from serving.identity.keys import Key, Keys, is_key, made, revoked, rotated

NOW = 1_000.0


def holder(key: Key, sent: str | None, now: float = NOW) -> str:
    """The id of the key that ``sent`` is, of one key that is known, for a search."""
    return Keys(keys=(key,)).holder(sent, "search", now).id


def test_a_key_is_an_id_and_256_random_bits_and_what_is_kept_is_a_hash() -> None:
    key, told = made("till 7", ["search"], NOW)
    assert re.fullmatch(f"imgs_{key.id}_[0-9a-f]{{64}}", told)
    assert is_key(told)
    assert told.rpartition("_")[2] not in key.model_dump_json()
    assert holder(key, told) == key.id
    other, other_told = made("till 7", ["search"], NOW)
    assert (other.id, other_told) != (key.id, told)


def test_no_key() -> None:
    key, _ = made("a", ["search"], NOW)
    for sent in (None, ""):
        with pytest.raises(Unauthenticated) as error:
            holder(key, sent)
        assert error.value.message == "an API key is needed; send it as Authorization: Bearer KEY"


@given(st.text())
def test_no_text_is_a_key(sent: str) -> None:
    key, told = made("a", ["search"], NOW)
    for wrong in (sent, told + sent, sent + told, told[: len(sent) % len(told)]):
        if wrong != told:
            with pytest.raises(Unauthenticated):
                holder(key, wrong)


def test_another_key_or_another_secret_is_not_known() -> None:
    key, told = made("a", ["search"], NOW)
    _, strange = made("b", ["search"], NOW)
    mixed = f"imgs_{key.id}_{strange.rpartition('_')[2]}"
    for sent in (strange, mixed, told[:-1], told + "0", told.upper(), f"imgs_{key.id}_{'0' * 64}"):
        with pytest.raises(Unauthenticated) as error:
            holder(key, sent)
        assert error.value.message == "this API key is not known here"


def test_a_key_expires() -> None:
    key, told = made("a", ["search"], NOW, expires_at=NOW + 10)
    assert holder(key, told, NOW + 9.9) == key.id
    with pytest.raises(Unauthenticated, match=f"^API key {key.id} has expired$"):
        holder(key, told, NOW + 10)


def test_a_key_is_revoked_once_and_for_all() -> None:
    key, told = made("a", ["search"], NOW, expires_at=NOW + 10)
    gone = revoked(key, NOW + 1)
    assert revoked(gone, NOW + 5) == gone
    with pytest.raises(Unauthenticated, match=f"^API key {key.id} was revoked$"):
        holder(gone, told)
    with pytest.raises(BadInput, match=f"^API key {key.id} is revoked; create another$"):
        rotated(gone, NOW, 0)
    with pytest.raises(BadInput, match=f"^API key {key.id} is expired; create another$"):
        rotated(key, NOW + 11, 0)


@pytest.mark.parametrize("scope", ["search", "admin"])
def test_one_scope_does_not_bring_the_other(scope: str) -> None:
    key, told = made("a", [scope], NOW)
    known = Keys(keys=(key,))
    other = "admin" if scope == "search" else "search"
    assert known.holder(told, scope, NOW) == key
    with pytest.raises(Forbidden, match=f"^API key {key.id} has no scope {other}$"):
        known.holder(told, other, NOW)
    both, told = made("b", ["search", "admin"], NOW)
    assert Keys(keys=(both,)).holder(told, "search", NOW) == Keys(keys=(both,)).holder(told, "admin", NOW)


def test_after_a_rotation_the_old_secret_works_for_a_while() -> None:
    key, first = made("a", ["search"], NOW, rate="5/second")
    key, second = rotated(key, NOW, 60)
    assert (key.name, key.rate) == ("a", "5/second")
    assert holder(key, first, NOW + 59) == holder(key, second, NOW + 59) == key.id
    with pytest.raises(Unauthenticated, match=f"^API key {key.id} has a new secret; this one is no longer"):
        holder(key, first, NOW + 60)
    assert holder(key, second, NOW + 60) == key.id
    key, third = rotated(key, NOW, 60)
    with pytest.raises(Unauthenticated, match="this API key is not known here"):
        holder(key, first)
    assert holder(key, second) == holder(key, third) == key.id
    key, _ = rotated(key, NOW, 0)
    with pytest.raises(Unauthenticated, match="has a new secret"):
        holder(key, third)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name: String should have at least 1 character"),
        ({"scopes": []}, "scopes: Frozenset should have at least 1 item after validation, not 0"),
        ({"scopes": ["root"]}, "scopes: Input should be 'search' or 'admin'"),
        ({"rate": "5/hour"}, "rate: a rate is as in 10/second or 600/minute, or 0 for none"),
        ({"rate": "0/second"}, "rate: a rate is as in 10/second or 600/minute, or 0 for none"),
        ({"expires_at": NOW}, "expires_at: that is past"),
    ],
)
def test_what_is_no_key_is_named(wrong: dict, said: str) -> None:
    values = {"name": "a", "scopes": ["search"], **wrong}
    with pytest.raises(BadInput) as error:
        made(values.pop("name"), values.pop("scopes"), NOW, **values)
    assert error.value.message == said


def test_a_control_character_is_no_name() -> None:
    with pytest.raises(BadInput, match="name: String should match pattern"):
        made("a\nERROR b", ["search"], NOW)


def test_keys_are_told_apart_by_their_id() -> None:
    first, second = made("a", ["search"], NOW)[0], made("b", ["admin"], NOW)[0]
    keys = Keys().having(first).having(second).having(revoked(first, NOW))
    assert [key.name for key in keys.keys] == ["a", "b"]
    assert keys.get(first.id).revoked_at == NOW
    with pytest.raises(NotFound, match="there is no API key 000000000000"):
        keys.get("0" * 12)
    assert Keys.model_validate_json(keys.model_dump_json()) == keys
