"""What goes to production is what staging has run, to the bit; nothing else is written or let through."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imgsearch_assets.cli import app
from imgsearch_assets.release.delivery import NOTHING, Overlay, delivered
from imgsearch_assets.release.publish import publish, rollback, status
from imgsearch_assets.release.retention import prune
from tests.conftest import Shop

K8S = Path(__file__).parents[2] / "k8s"
run = CliRunner().invoke


@pytest.fixture
def home(shop: Shop, tmp_path: Path) -> list[str]:
    return ["--home", str(tmp_path)]


@pytest.fixture
def production(tmp_path: Path) -> Path:
    return Path(shutil.copytree(K8S / "overlays/production", tmp_path / "production"))


def built(folder: Path, overlay: Path, digit: str) -> Path:
    """As the workflow leaves it: a file for each image that was pushed."""
    folder.mkdir()
    names = Overlay(overlay).hashes().images
    for name in ("serving-cpu", "serving-gpu", "pipeline-cpu"):
        repository = names.get(name, f"elsewhere/{name}").partition("@")[0]
        (folder / name).write_text(f"{repository}@sha256:{digit * 64}\n")
    return folder


def staged(home: list[str], tmp_path: Path, digit: str) -> Path:
    """The build's images in staging, rolled out well."""
    overlay = Path(shutil.copytree(K8S / "overlays/staging", tmp_path / f"staging-{digit}"))
    pushed = str(built(tmp_path / f"pushed-{digit}", overlay, digit))
    assert run(app, ["release", "images", str(overlay), "--pushed", pushed]).exit_code == 0
    where = ["--environment", "staging", "--pushed", pushed, "--overlay", str(overlay)]
    noted = run(app, ["release", "delivered", *home, *where, "--why", f"commit {digit}"])
    assert noted.output == "pipeline-cpu, serving-cpu, serving-gpu of this build run in staging\n"
    return overlay


def propose(home: list[str], production: Path):
    return run(
        app, ["release", "promote", *home, "--from", "staging", "--write", str(production), "--why", "good"]
    )


def check(home: list[str], production: Path):
    return run(app, ["release", "check", *home, str(production)])


def test_the_change_holds_what_staging_has_and_nothing_else_of_the_file_moves(
    shop: Shop, home: list[str], production: Path, tmp_path: Path
) -> None:
    manifest = shop.build()
    publish(shop.store, "staging", manifest.id, "test", "test")
    staged(home, tmp_path, "a")
    before = (production / "kustomization.yaml").read_text().splitlines()
    done = propose(home, production)
    file = production / "kustomization.yaml"
    assert done.output == (f"generation {manifest.id}, embedder {manifest.embedder} is written into {file}\n")
    after = file.read_text().splitlines()
    assert [line for line in before if line not in after] == [f"    digest: {NOTHING}"] * 3
    assert [line for line in after if line not in before] == [
        *[f"    digest: sha256:{'a' * 64}"] * 3,
        "metadata:",
        "  annotations:",
        f"    imgsearch/generation: {manifest.id}",
        f"    imgsearch/embedder: {manifest.embedder}",
        f"    imgsearch/detector: {manifest.detector}",
    ]
    again = propose(home, production)
    assert again.output == f"generation {manifest.id}, embedder {manifest.embedder} is in {file}\n"
    assert file.read_text().splitlines() == after
    assert sorted(path.name for path in production.iterdir()) == [
        "kustomization.yaml",
        "place.yaml",
        "sizes.yaml",
    ]
    passed = check(home, production)
    assert (passed.exit_code, passed.output) == (0, f"{manifest.id}\n")


def test_production_gets_exactly_what_was_proposed_though_staging_went_on(
    shop: Shop, home: list[str], production: Path, tmp_path: Path
) -> None:
    wanted, *later = shop.several(5)
    publish(shop.store, "staging", wanted.id, "test", "test")
    staged(home, tmp_path, "a")
    propose(home, production)
    for manifest in later:
        publish(shop.store, "staging", manifest.id, "test", "test")
    staged(home, tmp_path, "b")
    assert wanted.id not in prune(shop.store, 1)
    assert check(home, production).output == f"{wanted.id}\n"
    command = ["release", "promote", *home, "--from", "proposed", "--yes", "--why", "merged", "--who", "anna"]
    other = run(app, [*command, "--generation", later[0].id])
    assert other.stderr == (
        f"imgsearch: generation {wanted.id} is live in proposed, not {later[0].id}; nothing is released\n"
    )
    assert status(shop.store, "production") is None
    assert run(app, [*command, "--generation", wanted.id]).exit_code == 0
    live = status(shop.store, "production")
    assert live is not None
    assert (live.generation, live.who, live.why) == (wanted.id, "anna", "merged")


def test_only_the_generation_that_is_meant_is_written(
    shop: Shop, home: list[str], production: Path, tmp_path: Path
) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    publish(shop.store, "staging", first.id, "test", "test")
    staged(home, tmp_path, "a")
    before = (production / "kustomization.yaml").read_text()
    where = ["--from", "staging", "--write", str(production), "--why", "good"]
    refused = run(app, ["release", "promote", *home, *where, "--generation", second.id])
    assert (refused.exit_code, refused.stderr) == (
        1,
        f"imgsearch: generation {first.id} is live in staging, not {second.id}; nothing is written\n",
    )
    for of_a_release in (["--yes"], ["--to", "staging"], ["--waive", "recall"]):
        refused = run(app, ["release", "promote", *home, *where, *of_a_release])
        name = of_a_release[0]
        assert refused.stderr == (
            f"imgsearch: --write releases nothing, so there is nothing to {name}; leave it out\n"
        )
    assert (production / "kustomization.yaml").read_text() == before
    assert status(shop.store, "proposed") is None
    assert run(app, ["release", "promote", *home, *where, "--generation", first.id]).exit_code == 0
    assert [path.name for path in production.iterdir() if path.name.startswith(".")] == []


def test_what_did_not_pass_staging_is_not_written(
    shop: Shop, home: list[str], production: Path, tmp_path: Path
) -> None:
    before = (production / "kustomization.yaml").read_text()
    assert propose(home, production).stderr == "imgsearch: nothing was ever released in staging\n"
    first, second = shop.build("s1"), shop.build("s2")
    publish(shop.store, "staging", first.id, "test", "test")
    assert propose(home, production).stderr == (
        "imgsearch: no images were ever delivered to staging; the workflow of main does that\n"
    )
    staged(home, tmp_path, "a")
    publish(shop.store, "staging", second.id, "test", "test", on_trial=True)
    assert f"generation {second.id} is on trial in staging still" in propose(home, production).stderr
    assert (production / "kustomization.yaml").read_text() == before


def test_what_staging_was_rolled_back_from_is_refused(
    shop: Shop, home: list[str], production: Path, tmp_path: Path
) -> None:
    first, second = shop.build("s1"), shop.build("s2")
    for manifest in (first, second):
        publish(shop.store, "staging", manifest.id, "test", "test")
    staged(home, tmp_path, "a")
    propose(home, production)
    rollback(shop.store, "staging", "anna", "worse shoes")
    refused = check(home, production)
    assert refused.exit_code == 1
    assert refused.stderr == (
        f"imgsearch: anna rolled staging back from generation {second.id}: worse shoes\n"
    )


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("a" * 64, "b" * 64, "but the latest delivery to staging has"),
        ("a" * 64, "0" * 64, "is all zeros: nothing was released there yet, and no registry has it"),
        ("embedder-1", "embedder-2", "names embedder embedder-2, but generation"),
        ("imgsearch/generation: ", "imgsearch/generation: x", "is proposed; write the change again"),
    ],
)
def test_a_change_that_somebody_edited_is_refused(
    shop: Shop, home: list[str], production: Path, tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    publish(shop.store, "staging", shop.build().id, "test", "test")
    staged(home, tmp_path, "a")
    propose(home, production)
    file = production / "kustomization.yaml"
    file.write_text(file.read_text().replace(old, new, 1))
    refused = check(home, production)
    assert refused.exit_code == 1
    assert sentence in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_the_overlays_as_they_are_were_released_nowhere(shop: Shop, home: list[str]) -> None:
    for overlay in ("staging", "production"):
        refused = check(home, K8S / "overlays" / overlay)
        if NOTHING in (K8S / "overlays" / overlay / "kustomization.yaml").read_text():
            assert "is all zeros" in refused.stderr


def test_a_build_that_lacks_an_image_or_goes_elsewhere_is_refused(tmp_path: Path) -> None:
    overlay = Path(shutil.copytree(K8S / "overlays/staging", tmp_path / "staging"))
    before = (overlay / "kustomization.yaml").read_text()
    pushed = tmp_path / "pushed"
    pushed.mkdir()
    command = ["release", "images", str(overlay), "--pushed", str(pushed)]
    assert "there is no image in" in run(app, command).stderr
    for text, sentence in (
        ("latest", "is no image as REPOSITORY@sha256:DIGEST"),
        (f"elsewhere/serving-cpu@sha256:{'a' * 64}", "not from elsewhere/serving-cpu"),
        (f"elsewhere/serving-cpu@{NOTHING}", "is all zeros"),
    ):
        (pushed / "serving-cpu").write_text(text)
        assert sentence in run(app, command).stderr
    own = Overlay(overlay).hashes().images["serving-cpu"].partition("@")[0]
    (pushed / "serving-cpu").write_text(f"{own}@sha256:{'a' * 64}")
    assert "serving-gpu, which is not among what comes, is all zeros" in run(app, command).stderr
    assert (overlay / "kustomization.yaml").read_text() == before
    assert (
        "is no overlay whose images are named by digest"
        in run(app, ["release", "images", str(tmp_path), "--pushed", str(pushed)]).stderr
    )


def test_only_the_last_deliveries_are_remembered(shop: Shop, home: list[str], tmp_path: Path) -> None:
    for digit in ("a", "b"):
        staged(home, tmp_path, digit)
    found = delivered(shop.store, "staging")
    assert found is not None
    assert [one.why for one in found.history] == ["commit b", "commit a"]
