"""What every step does alike."""

import dagster as dg
import pyarrow as pa
import pytest

from imgsearch_assets.graph.steps import preview, reasons, sample, step
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
    assert lines[:4] == ["| a | b |", "|---|---|", "| x\\|y\\\\nz | u v |", "| None |  |"]
    assert len(lines) == 2 + 10
    assert lines[4] == f"| {'w' * 80} … |  |"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("![x](http://evil.example/pixel.png)", "\\!\\[x\\](http://evil.example/pixel.png)"),
        ("<img src=x>", "\\<img src=x\\>"),
        ("a\r\n| b |", "a\\\\r\\\\n\\| b \\|"),
        ("\\*so*_it_`is`", "\\\\\\*so\\*\\_it\\_\\`is\\`"),
        ("\x1b]0;mine\x07", "\\\\x1b\\]0;mine\\\\x07"),
        ("\u202eevil &lt;", "\\\\u202eevil \\&lt;"),
        ("http://s.example/a_b.jpg", "<http://s.example/a_b.jpg>"),
        ("javascript:alert(1)", "javascript:alert(1)"),
    ],
)
def test_a_text_of_the_catalogue_is_text_and_no_markdown(text: str, cell: str) -> None:
    assert str(preview(pa.table({"a": [text]})).value).splitlines()[2] == f"| {cell} |"


def test_an_address_is_never_cut() -> None:
    long = f"http://shop.example/{'x' * 100}.jpg"
    lines = str(preview(pa.table({"a": [[long, long], [f"it is {long}"]]})).value).splitlines()
    assert lines[2:] == [f"| <{long}> … |", f"| it is <{long}> |"]


def test_a_sample_has_some_of_every_kind_and_how_many_there_are() -> None:
    table = pa.table({"id": [str(number) for number in range(32)], "change": ["new"] * 30 + ["removed"] * 2})
    said, _, head, _, *rows = str(sample(table, "change").value).splitlines()
    assert (said, head) == ("new 30, removed 2", "| id | change |")
    assert rows == [f"| {one} | new |" for one in range(5)] + ["| 30 | removed |", "| 31 | removed |"]
    assert sample(table.slice(0, 0), "change").value == "| id | change |\n|---|---|"


def test_reasons_are_a_table() -> None:
    assert reasons({"timeout": 2, "not_found": 1}).value == (
        "| reason | count |\n|---|---|\n| timeout | 2 |\n| not_found | 1 |"
    )
