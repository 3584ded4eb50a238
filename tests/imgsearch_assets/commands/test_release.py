from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from typer.testing import CliRunner

from imgsearch_assets.cli import app
from imgsearch_assets.release.publish import history, publish
from imgsearch_assets.release.replay_report import replay
from serving.milvus.client import Client
from serving.milvus.collection import alias_name, collection_name

run = CliRunner().invoke


def test_nothing_released_yet(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    done = run(app, ["release", "status", "--home", str(tmp_path)])
    assert (done.exit_code, done.output) == (0, "nothing was ever released in local\n")


def test_a_promotion_names_a_url_that_is_none(shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(shop.store, "local", shop.build().id, "test", "test")
    monkeypatch.setenv("IMGSEARCH_PRODUCTION_REDIS_URL", "http://:secret@redis/0")
    done = run(app, ["release", "promote", "--home", str(tmp_path), "--yes", "--why", "good"])
    assert (done.exit_code, done.stderr) == (
        1,
        "imgsearch: IMGSEARCH_PRODUCTION_REDIS_URL is none; one looks like redis://:PASSWORD@HOST:PORT/0\n",
    )
    assert history(shop.store, "production") == []


def test_every_generation_is_listed(shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "objects").mkdir(exist_ok=True)
    home = ["--home", str(tmp_path)]
    assert run(app, ["release", "list", *home]).output == "there is no generation yet\n"
    first, second = shop.build("s1"), shop.build("s2")
    publish(shop.store, "local", first.id, "test", "test")
    publish(shop.store, "staging", first.id, "test", "test")
    lines = run(app, ["release", "list", *home]).output.splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert [(row[0], row[2], row[-1]) for row in rows] == [
        (second.id, "60", ""),
        (first.id, "60", "local, staging"),
    ]
    shop.store.put(second.key, b"{}")
    shop.store.put("environments/production.json", b"{}")
    monkeypatch.setenv("COLUMNS", "80")
    done = run(app, ["release", "list", *home])
    assert done.exit_code == 0
    assert f"│ {first.id} │" in done.output
    assert f"│ {second.id} │ unreadable" in done.output
    assert f"the manifest of generation {second.id} cannot be used" in done.stderr
    assert "environments/production.json is no pointer: " in done.stderr
    assert "put back what it was, or remove it and release again" in done.stderr


def test_what_is_waived_is_shown_until_a_release_uses_it(shop, tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir(exist_ok=True)
    home = ["--home", str(tmp_path)]
    said = run(app, ["release", "waive", *home, "coverage", "--why", "a clearance"]).output
    assert said == "the next release in local may fail coverage; start the job refresh\n"
    shown = run(app, ["release", "status", *home]).output
    assert shown.splitlines()[-1].startswith("for the next release, coverage waived by ")
    publish(shop.store, "local", shop.build("s1").id, "test", "test")
    assert "waived" not in run(app, ["release", "status", *home]).output


def test_what_nobody_can_need_is_removed(shop, tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir(exist_ok=True)
    home = ["--home", str(tmp_path)]
    ids = [shop.build(f"s{number}").id for number in range(5)]
    for generation in ids:
        publish(shop.store, "local", generation, "test", "test")
    assert run(app, ["release", "prune", *home, "--keep", "0"]).exit_code == 2
    done = run(app, ["release", "prune", *home])
    assert done.output == f"{ids[1]} is removed\n{ids[0]} is removed\n"
    assert run(app, ["release", "prune", *home]).output == "nothing is removed\n"
    lines = [line for line in run(app, ["release", "status", *home]).output.splitlines() if "│" in line]
    states = {line.split("│")[1].strip(): line.split("│")[-2].strip() for line in lines}
    assert states == {**dict.fromkeys(ids[:2], "pruned"), **dict.fromkeys(ids[2:4], ""), ids[4]: "live"}
    back = run(app, ["release", "rollback", *home, "--why", "test", "--to", ids[0]])
    assert f"generation {ids[0]} cannot be gone back to: there is no generation {ids[0]}" in back.stderr
    shop.store.put(f"generations/{ids[4]}/manifest.json", b"{}")
    done = run(app, ["release", "prune", *home, "--keep", "1"])
    assert done.exit_code == 1
    assert f"nothing is pruned: the manifest of generation {ids[4]} cannot be used" in done.stderr


def test_a_promotion_by_command_is_in_the_records_of_dagster(shop, tmp_path: Path) -> None:
    home = ["--home", str(tmp_path), "--why", "looks good", "--who", "anna"]
    generation = shop.build("s1").id
    publish(shop.store, "local", generation, "test", "test")
    with dg.instance_for_test() as instance:
        assert run(app, ["release", "promote", *home, "--yes"]).exit_code == 0
        made = instance.get_latest_materialization_event(dg.AssetKey("production_release"))
    assert made is not None
    assert made.asset_materialization is not None
    said = {name: value.value for name, value in made.asset_materialization.metadata.items()}
    assert (said["generation"], said["who"], said["why"]) == (generation, "anna", "looks good")
    assert made.asset_materialization.tags == {"dagster/data_version": generation}


def test_a_promotion_stands_where_the_records_of_dagster_cannot_be_written(
    shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "nowhere"))
    generation = shop.build("s1").id
    publish(shop.store, "local", generation, "test", "test")
    done = run(app, ["release", "promote", "--home", str(tmp_path), "--why", "looks good", "--yes"])
    assert done.exit_code == 0
    assert f"{generation} is live in production" in done.output


def test_a_promotion_shows_what_it_changes_and_asks(
    shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    home = ["--home", str(tmp_path), "--why", "looks good"]
    first = shop.build("s1").id
    publish(shop.store, "local", first, "test", "test")
    done = run(app, ["release", "promote", *home, "--yes"])
    assert done.output == (
        "there is nothing else to compare it with\n"
        f"{first} is live in production: nobody was asked: IMGSEARCH_PRODUCTION_SEARCH_ADDRESS is not set\n"
    )
    shop.vectors = np.roll(shop.vectors, 7, axis=0)
    second = shop.build("s2").id
    publish(shop.store, "local", second, "test", "test")
    report = replay(shop.store, first, second)
    assert report is not None

    asked = run(app, ["release", "promote", *home], input="n\n")
    assert asked.exit_code == 1
    assert asked.output.splitlines()[:3] == [
        f"of 60 queries {report.changed} are answered otherwise than by {first}: overlap@10 "
        f"{report.overlap_at_10:.3f}, rank-biased overlap {report.rank_biased_overlap:.3f}; "
        "0 products gone, 0 new",
        str(tmp_path / "objects" / report.page_key),
        f"make {second} live in production? [y/N]: n",
    ]
    assert [one.generation for one in history(shop.store, "production")] == [first]
    refused = run(app, ["release", "promote", *home, "--yes"])
    assert refused.exit_code == 1
    assert f"generation {second} stays out of production: replay_overlap: overlap@10 with" in refused.stderr
    done = run(app, ["release", "promote", *home, "--waive", "replay_overlap"], input="y\n")
    assert done.exit_code == 0
    assert f"{second} is live in production" in done.output

    rows = run(app, ["release", "status", "--home", str(tmp_path), "--environment", "production"]).output
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in rows.splitlines() if "│" in line]
    assert [(row[0], row[3], row[4]) for row in cells] == [
        (second, "looks good", "live"),
        (first, "looks good", ""),
    ]


def test_what_cannot_be_done_is_one_sentence(tmp_path: Path) -> None:
    nowhere = run(app, ["release", "status", "--home", str(tmp_path / "typo")])
    assert nowhere.exit_code == 1
    assert "typo/objects is not there; expected is the folder of an installation" in nowhere.stderr
    assert not (tmp_path / "typo").exists()
    (tmp_path / "drawn-100-7" / "objects").mkdir(parents=True)
    above = run(app, ["release", "status", "--home", str(tmp_path)])
    assert f"of an installation (--home): {tmp_path.resolve() / 'drawn-100-7'}\n" in above.stderr
    (tmp_path / "objects").mkdir()
    back = run(app, ["release", "rollback", "--home", str(tmp_path), "--why", "worse shoes"])
    assert (back.exit_code, back.stderr) == (1, "imgsearch: nothing was ever released in local\n")
    for name in ("", "../x", "Staging", "prod"):
        wrong = run(
            app, ["release", "rollback", "--home", str(tmp_path), "--why", "x", "--environment", name]
        )
        assert wrong.exit_code == 2
        assert f"{name!r} is not one of 'local'" in " ".join(wrong.stderr.replace("│", "").split())
    on = run(app, ["release", "promote", "--home", str(tmp_path), "--why", "fine", "--yes"])
    assert (on.exit_code, on.stderr) == (1, "imgsearch: nothing was ever released in local\n")


def test_milvus_follows_what_is_done_by_hand(
    shop, milvus: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGSEARCH_SEARCH_BACKEND", "milvus")
    monkeypatch.setenv("IMGSEARCH_MILVUS_URI", str(tmp_path / "milvus.db"))
    monkeypatch.setenv("IMGSEARCH_MILVUS_TIMEOUT_S", "20")
    generations = [shop.build(snapshot).id for snapshot in ("s1", "s2")]
    for generation in generations:
        publish(shop.store, "local", generation, "test", "test")
    home = ["--home", str(tmp_path), "--why", "test"]
    for command, environment, generation in (
        (["promote", "--to", "production", "--yes"], "production", generations[1]),
        (["rollback"], "local", generations[0]),
    ):
        done = run(app, ["release", *command, *home])
        assert done.exit_code == 0
        assert f"{generation} is live in {environment}" in done.output
        assert milvus.target_of(alias_name(environment)) == collection_name(generation)


def test_a_benchmark_that_is_not_there() -> None:
    done = run(app, ["bench", "moon"])
    assert done.exit_code == 2
    assert "no benchmark moon; there are" in done.stderr
