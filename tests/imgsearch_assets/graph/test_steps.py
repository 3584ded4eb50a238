"""What every step does alike."""

import dagster as dg
import pyarrow as pa
import pytest

from imgsearch_assets.graph.steps import preview, reasons, step
from serving.errors import BadInput, Unavailable


def test_an_error_we_know_is_a_failure_with_its_sentence() -> None:
    with pytest.raises(dg.Failure) as failed, step():
        raise BadInput("the catalogue has no rows")
    assert failed.value.description == "the catalogue has no rows"
    assert not failed.value.allow_retries


def test_only_what_is_away_is_tried_again() -> None:
    with pytest.raises(dg.Failure) as failed, step():
        raise Unavailable("Redis does not answer")
    assert failed.value.allow_retries


def test_an_error_we_do_not_know_stays_what_it_is() -> None:
    with pytest.raises(KeyError), step():
        raise KeyError("a bug")


def test_a_preview_is_a_table_of_the_first_rows() -> None:
    table = pa.table({"a": ["x|y\nz", None, *["w" * 100] * 20], "b": [["u", "v"], *[[]] * 21]})
    lines = str(preview(table).value).splitlines()
    assert lines[:4] == ["| a | b |", "|---|---|", "| x\\|y z | u v |", "| None |  |"]
    assert len(lines) == 2 + 10
    assert lines[4] == f"| {'w' * 80} |  |"


def test_reasons_are_a_table() -> None:
    assert reasons({"timeout": 2, "not_found": 1}).value == (
        "| reason | count |\n|---|---|\n| timeout | 2 |\n| not_found | 1 |"
    )
