import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imgsearch_assets.cli import app
from imgsearch_assets.datasets import drawn

run = CliRunner().invoke


def test_a_folder_of_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for one in drawn.load(8, 11, tmp_path / "drawn").pictures[:6]:
        photo = tmp_path / "photos" / one.category / one.product / one.path.name
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(one.path.read_bytes())
    asked = ["evaluate", "--data", "folder:photos", "--detector", "none", "--boxes", "whole"]
    done = run(app, [*asked, "--out", "found", "--json"])
    assert done.exit_code == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["in_shop_queries"] == 6
    held_out = run(app, [*asked, "--held-out", "0.5", "--split-seed", "3", "--json"])
    assert json.loads(held_out.stdout)["in_shop_queries"] == 4
    assert json.loads((tmp_path / "found" / "report.json").read_bytes())["detector"] is None
    assert (tmp_path / "found" / "gallery.html").read_text().startswith("<!doctype html>")


def test_what_cannot_be_done_is_one_sentence(tmp_path: Path) -> None:
    done = run(app, ["evaluate", "--data", "moon:1"])
    assert done.exit_code == 1
    assert done.stderr.startswith("imgsearch: 'moon:1' names no data set; say one of drawn:")
