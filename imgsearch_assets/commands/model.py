"""``imgsearch model``: the models of an installation, and bringing in one that was trained elsewhere."""

import getpass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from imgsearch_assets.commands.evaluate import HeldOut, SplitSeed
from imgsearch_assets.commands.terminal import one_sentence
from imgsearch_assets.figures import shown, words
from imgsearch_assets.local.installation import objects_of
from serving.errors import BadInput

app = typer.Typer(help="The models of an installation.", no_args_is_help=True)

Home = Annotated[Path, typer.Option(envvar="IMGSEARCH_HOME", help="Folder of one installation.")]
Name = Annotated[str, typer.Argument(help="detector or embedder.")]
Why = Annotated[str, typer.Option(help="Kept with the promotion.", prompt=True)]

# What candidates are measured on; a seed that neither training nor the demo draws with.
DATA = "drawn:500:1000003"


@app.command("list")
def list_(home: Home, name: Name = "embedder") -> None:
    """The versions that are kept, with the figures that they went live by, or else those of their cards."""
    from serving.errors import NotFound, Unverified
    from serving.models.bundle import list_versions, load_card
    from serving.models.live import Live, read_live

    with one_sentence():
        store = objects_of(home)
        versions = list_versions(store, name)
        if not versions:
            raise NotFound(f"no model named {name!r} is registered in this object store")
        console = Console()
        try:
            live = read_live(store, name)
        except (NotFound, Unverified) as error:
            why = f": {error.message}" if isinstance(error, Unverified) else ""
            console.print(f"none of them is live{why}")
            live = Live(version="0" * 16)
        decided = {one.version: one.measured.figures for one in reversed(live.promotions)}
        table = Table("", "version", "made of", "figures", box=SIMPLE_HEAD)
        for version in versions:
            mark = "live" if version == live.version else ""
            try:
                card = load_card(store, name, version)
            except (NotFound, Unverified) as error:
                table.add_row(mark, version, "", f"cannot be served: {error.message}")
                continue
            figures = decided.get(version) or card.metrics
            table.add_row(
                mark,
                version,
                "\n".join((card.architecture, *([f"{card.dim} numbers"] if card.dim else ()), card.dataset)),
                "\n".join(f"{words(key)} {shown(key, value)}" for key, value in sorted(figures.items())),
                end_section=True,
            )
        console.print(table)


@app.command()
def show(
    home: Home,
    name: Name = "embedder",
    version: Annotated[str | None, typer.Option(help="Which.", show_default="the live one")] = None,
) -> None:
    """The card of a model, as Markdown."""
    from serving.models.bundle import load_card
    from serving.models.card_text import model_card

    with one_sentence():
        typer.echo(model_card(load_card(objects_of(home), name, version)), nl=False)


@app.command()
def adopt(
    home: Home,
    architecture: Annotated[str, typer.Option(help="timm/MODEL or open_clip/MODEL.", show_default=False)],
    weights: Annotated[Path, typer.Option(help="Its state dict, a .safetensors file.", show_default=False)],
    tokenizer: Annotated[
        Path | None, typer.Option(help="tokenizer.json, where it is not CLIP's own.", show_default=False)
    ] = None,
    projection: Annotated[
        Path | None,
        typer.Option(help="weight and bias that shorten its vectors, .safetensors.", show_default=False),
    ] = None,
    texts: Annotated[bool, typer.Option(help="Keep its text tower, if it has one.")] = True,
    fit: Annotated[
        str | None,
        typer.Option(
            help="stretch the picture to a square, or crop its middle.", show_default="its own", metavar="FIT"
        ),
    ] = None,
    source: Annotated[str, typer.Option(help="Where the weights came from, for the card.")] = "",
) -> None:
    """Keep weights trained elsewhere as a candidate; nothing is downloaded, and nothing goes live."""
    from imgsearch_assets.models.adopt import adopt

    with one_sentence():
        if fit not in (None, "stretch", "crop"):
            raise BadInput(f"--fit is stretch or crop, not {fit!r}")
        bundle = adopt(
            objects_of(home),
            architecture,
            weights,
            tokenizer_file=tokenizer,
            projection=projection,
            texts=texts,
            fit=fit,  # type: ignore[arg-type]
            source=source,
        )
        typer.echo(f"embedder {bundle.version} is kept; imgsearch model register makes it live")


@app.command()
def register(
    home: Home,
    version: Annotated[
        str, typer.Argument(help="A version that is kept, or a folder with a bundle.", show_default=False)
    ],
    why: Why,
    name: Annotated[str, typer.Option(help="detector or embedder.")] = "embedder",
    data: Annotated[str, typer.Option(help="Data set to compare on, as of imgsearch evaluate.")] = DATA,
    held_out: HeldOut = None,
    split_seed: SplitSeed = 0,
    waive: Annotated[bool, typer.Option("--waive", help="Let it go live though it is worse.")] = False,
) -> None:
    """Make a candidate live, if it is not worse than the live model on the same pictures."""
    from imgsearch_assets.datasets.loader import load
    from imgsearch_assets.models import registration
    from imgsearch_assets.models.candidates import bring, learned_from
    from imgsearch_assets.models.measuring import left_out, yardstick
    from serving.models.bundle import load_bundle

    with one_sentence(), TemporaryDirectory(prefix="imgsearch-") as scratch:
        store = objects_of(home)
        brought = (Path(version) / "bundle.json").is_file()
        bundle = bring(store, name, Path(version)) if brought else load_bundle(store, name, version)
        version, dataset = bundle.version, load(data)
        if held_out is None and learned_from(bundle.card, dataset.version):
            raise BadInput(
                f"{name} {version} learned from {data}: its figures there would promise nothing; measure it "
                "by what its training left out (--held-out 0.3333), or by other pictures"
            )
        by = yardstick(left_out(dataset, held_out, split_seed, Path(scratch)))
        done = registration.register(store, bundle, by, who=getpass.getuser(), why=why, waive=waive)
        for one in done.compared:
            typer.echo(one.sentence)
        typer.echo(f"{name} {version} is live" if done.changed else f"{name} {version} was live already")


@app.command()
def rollback(home: Home, why: Why, name: Name = "embedder") -> None:
    """Make the model live that was before; the services follow within a second."""
    from serving.errors import NotFound
    from serving.models.bundle import load_bundle
    from serving.models.live import promote, read_live

    with one_sentence():
        store = objects_of(home)
        live = read_live(store, name)
        if live.previous is None:
            raise NotFound(f"no {name} is remembered that was live before {live.version}")
        before = load_bundle(store, name, live.previous)
        promote(store, before, live.version, who=getpass.getuser(), why=why, rolled_back_from=live.version)
        typer.echo(f"{name} {before.version} is live")
