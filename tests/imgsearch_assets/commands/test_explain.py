"""``imgsearch explain``: the verdict first, and one sentence for what nobody saw."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imgsearch_assets.cli import app
from tests.history import History, names_of, url


@pytest.fixture
def history(tmp_path: Path) -> History:
    found = History(tmp_path)
    found.sells(*names_of(20))
    found.runs()
    found.sells("n[e]w")
    found.sells("bad", price=-1)
    found.sees()
    found.fetches(url("n[e]w"), reason="http_error", http_status=503, retry_after=found.seen_at)
    return found


def said(history: History, *arguments: str, columns: int = 240) -> tuple[int, str]:
    command = ["explain", "--home", str(history.store.root.parent), *arguments]
    done = CliRunner().invoke(app, command, env={"COLUMNS": str(columns), "IMGSEARCH_REDIS_URL": ""})
    return done.exit_code, done.output


def test_the_verdict_then_the_stages(history: History) -> None:
    status, output = said(history, "n[e]w")
    assert status == 0
    lines = output.splitlines()
    assert lines[0] == history.explain("n[e]w").sentence
    assert "http_error, HTTP 503" in output
    assert "http://shop.example/n[e]w-0.jpg" in output
    for stage in ("seen", "downloaded", "detected", "embedded", "indexed", "live", "in stock"):
        assert any(stage in line for line in lines)
    assert "The stock was not looked at" not in output, "it is not searchable anyhow"
    assert "The stock was not looked at; set IMGSEARCH_REDIS_URL" in said(history, "p001")[1]
    assert "bad_price" in said(history, "bad")[1]
    assert "came" in said(history, "p003")[1]


def test_an_id_steers_no_terminal(history: History) -> None:
    history.sells("\x1b[31mred\nline", image_urls=[url("red")])
    history.sees()
    status, output = said(history, "--", "\x1b[31mred\nline")
    assert (status, "\x1b" in output) == (0, False)
    assert output.startswith(r"\x1b[31mred\nline is not searchable in local yet: ")


def test_an_address_is_not_cut_where_the_terminal_is_narrow(history: History) -> None:
    long = f"http://shop.example/{'x' * 100}.jpg"
    history.sells("long", image_urls=[long])
    history.sees()
    output = said(history, "long", columns=80)[1]
    assert f"\n1: {long}\n" in output
    assert "…" not in output
    assert "…" not in said(history, "bad", columns=80)[1]


def test_as_json(history: History) -> None:
    status, output = said(history, "p003", "--json")
    assert status == 0
    assert json.loads(output) == history.explain("p003").model_dump()


def test_nobody_saw_it(history: History) -> None:
    assert said(history, "never") == (
        1,
        "imgsearch: nobody ever saw a product 'never': no catalogue, and no generation, had it\n",
    )
    assert said(history, "p003", "--environment", "prod")[0] == 2
