import grpc
import pytest

from serving import errors


def every(cls: type[errors.ImgsearchError]) -> list[type[errors.ImgsearchError]]:
    """The tree as the wire knows it; what a command raises for its own terminal is not part of it."""
    children = (child for child in cls.__subclasses__() if child.__module__ == errors.__name__)
    return [cls, *(below for child in children for below in every(child))]


@pytest.mark.parametrize("cls", every(errors.ImgsearchError))
def test_every_error_is_drawn_in_the_tree_and_has_a_status(cls: type[errors.ImgsearchError]) -> None:
    assert errors.__doc__ is not None
    assert cls.__name__ in errors.__doc__
    error = cls("empty", "words") if cls is errors.BadImage else cls("words")
    http, rpc = errors.status_of(error)
    assert 400 <= http < 600
    assert rpc is not grpc.StatusCode.OK
    assert error.message == "words"


def test_codes_are_distinct() -> None:
    # Whoever gives an address is told the same of all that are no good.
    codes = [cls.code for cls in every(errors.ImgsearchError) if cls is not errors.Unreachable]
    assert len(set(codes)) == len(codes)


def test_a_subclass_has_the_status_of_its_nearest_listed_parent() -> None:
    assert errors.status_of(errors.BadAddress("x")) == (400, grpc.StatusCode.INVALID_ARGUMENT)


def test_a_reason_outside_the_list_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="'ugly' is not one of"):
        errors.BadImage("ugly", "x")
