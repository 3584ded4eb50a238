"""``imgsearch train``: a model from pictures, resumable, and on request through the gate to be served."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from imgsearch_assets.installation import objects_of, only_one
from imgsearch_assets.terminal import one_sentence
from serving.errors import BadSettings, Unsupported
from serving.object_store import LocalObjectStore, ObjectStore

if TYPE_CHECKING:
    from imgsearch_assets.registration import Yardstick
    from serving.models.bundle import Bundle

app = typer.Typer(help="Train a model; a killed training goes on where it stood.", no_args_is_help=True)

FOLDER = Path(".imgsearch") / "training"
DRAWN = "drawn"
SCENES, PRODUCTS = 4096, 600

Data = Annotated[
    str,
    typer.Option(
        help="drawn; coco:FILE for a detector; for an embedder a folder of photos by category, or a data set "
        "as of imgsearch evaluate (in_shop:PATH, street2shop:PATH, catalogue:HOME...)."
    ),
]
Images = Annotated[
    Path | None, typer.Option(help="Where the pictures of coco:FILE lie.", show_default="near the file")
]
Scenes = Annotated[int, typer.Option(help="Drawn scenes to learn from.", min=2)]
Products = Annotated[
    int, typer.Option(help="Drawn products to learn from; 200 others are drawn to measure with.", min=2)
]
Finder = Annotated[
    str,
    typer.Option(
        "--detector",
        help="Whose crops it learns from: shipped, a folder with a bundle, or of --home: live, or a version.",
    ),
]
Out = Annotated[
    Path | None, typer.Option(help="Folder of the training.", show_default=f"{FOLDER}/NAME-FINGERPRINT")
]
Epochs = Annotated[int | None, typer.Option(help="Times each picture is learned from.", min=1)]
Seed = Annotated[int, typer.Option(help="The same seed gives the same weights on the same machine.")]
Restart = Annotated[bool, typer.Option("--restart", help="Forget what was trained in that folder.")]
Register = Annotated[
    bool, typer.Option("--register", help="Make it the live model of --home if it is not worse than that.")
]
Home = Annotated[Path | None, typer.Option(help="Folder of one installation, for --register and --detector.")]


@dataclass(frozen=True)
class Options:
    """What the command line asks of a trainer."""

    data: str
    drawn: int  # scenes or products that are drawn to learn from
    out: Path | None
    epochs: int | None
    seed: int
    restart: bool


class Result(Protocol):
    """A model that was trained: its figures, and what the gate compares it with the live one by."""

    @property
    def figures(self) -> Mapping[str, float]: ...

    @property
    def yardstick(self) -> "Yardstick":
        """The held-out pictures that the figures are over."""

    def store(self, store: ObjectStore) -> "Bundle":
        """Keep it as a candidate."""


@app.command()
def detector(
    data: Data = DRAWN,
    images: Images = None,
    scenes: Scenes = SCENES,
    out: Out = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    restart: Restart = False,
    register: Register = False,
    home: Home = None,
) -> None:
    """Boxes of items: from drawn scenes, or from pictures with boxes in COCO's format."""
    with _said(register, home) as keep:
        options = Options(data, scenes, out, epochs, seed, restart)
        keep("detector", lambda: _detector(options, images))


@app.command()
def embedder(
    data: Data = DRAWN,
    products: Products = PRODUCTS,
    finder: Finder = "shipped",
    out: Out = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    restart: Restart = False,
    register: Register = False,
    home: Home = None,
) -> None:
    """Vectors that find the same product: from pictures of products, or from photos by category."""
    from imgsearch_assets.evaluation.candidates import candidate

    with _said(register, home) as keep:
        bundle = candidate("detector", finder, home)
        options = Options(data, products, out, epochs, seed, restart)
        keep("embedder", lambda: _embedder(options, bundle))


@app.command("all")
def all_(
    out: Annotated[Path | None, typer.Option(help="Folder in which each has its own.")] = None,
    scenes: Scenes = SCENES,
    products: Products = PRODUCTS,
    seed: Seed = 0,
    restart: Restart = False,
    register: Register = False,
    home: Home = None,
) -> None:
    """Detector, then an embedder that learns from its crops, both from drawn pictures."""
    with _said(register, home) as keep:

        def options(name: str, drawn: int) -> Options:
            return Options(DRAWN, drawn, out / name if out else None, None, seed, restart)

        finder = keep("detector", lambda: _detector(options("detector", scenes), None))
        keep("embedder", lambda: _embedder(options("embedder", products), finder))


_NEXT = (
    "to measure it: imgsearch evaluate --{name} {kept}; to make it live: this command with --register --home "
    "INSTALLATION, or, where the data has moved on, imgsearch model register {kept} --name {name} --home "
    "INSTALLATION --data SPEC"
)
Keep = Callable[[str, Callable[[], tuple[Result, Path]]], "Bundle"]


@contextmanager
def _said(register: bool, home: Path | None) -> Iterator[Keep]:
    """What trains a model, keeps it and offers it; in the end all is said in one line of JSON.

    By name where there are several. What may be done next goes to stderr.
    """
    from imgsearch_assets.registration import Refused

    said: dict[str, dict[str, Any]] = {}
    refused: list[Refused] = []

    def keep(name: str, trainer: Callable[[], tuple[Result, Path]]) -> "Bundle":
        started = time.monotonic()
        result, folder = trainer()
        one: dict[str, Any] = {key: round(value, 4) for key, value in result.figures.items()}
        one |= {"seconds": round(time.monotonic() - started), "folder": str(folder)}
        bundle = result.store(LocalObjectStore(folder / "objects"))
        one["version"] = bundle.version
        typer.echo(f"{name} {bundle.version} is kept in {folder / 'objects'}", err=True)
        said[name] = one
        if register and home is not None:
            try:
                one["registered"] = _register(result, objects_of(home))
                typer.echo(f"{name} {bundle.version} is live in {home}", err=True)
            except Refused as error:  # the next one may be better
                one["registered"] = False
                refused.append(error)
        else:
            typer.echo(
                _NEXT.format(name=name, kept=folder / "objects" / "models" / name / bundle.version), err=True
            )
        return bundle

    with one_sentence():
        if register:
            if home is None:
                raise BadSettings(
                    "--register needs --home, the folder of the installation whose model it becomes"
                )
            objects_of(home)  # known before an hour has gone
        from serving.models import runtime

        runtime.tune(threads=1)  # the backbone's looks and the drawing are what run side by side
        yield keep
        typer.echo(json.dumps(said if len(said) > 1 else next(iter(said.values()))))
        if refused:
            raise refused[0]


def _register(result: Result, store: ObjectStore) -> bool:
    """Offer it to the gate. Raises ``Refused`` with the figures when it is worse than what is live."""
    import getpass

    from imgsearch_assets.registration import register

    bundle = result.store(store)
    done = register(store, bundle, result.yardstick, who=getpass.getuser(), why="imgsearch train")
    return done.changed


def _detector(options: Options, images: Path | None) -> tuple[Result, Path]:
    try:
        import pycocotools  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        raise Unsupported("training a detector needs pycocotools: install imgsearch[train]") from None
    from imgsearch_assets.training.boxed import boxed
    from imgsearch_assets.training.checkpoint import fingerprint
    from imgsearch_assets.training.detector import Recipe, configuration, train

    learned, unseen, left_out = boxed(options.data, images, options.drawn, options.seed)
    _say_left_out(left_out)
    recipe = Recipe(seed=options.seed)
    if options.epochs:
        recipe = Recipe(seed=options.seed, epochs=options.epochs)
    name = f"detector-{fingerprint(configuration(learned, unseen, recipe))}"
    folder = options.out or FOLDER / name
    with only_one(folder, "--out"):
        trained = train(learned, unseen, recipe, folder, restart=options.restart)
        trained.write(folder)
    return trained, folder


def _say_left_out(reasons: Mapping[str, int]) -> None:
    for reason, count in sorted(reasons.items()):
        typer.echo(f"left out: {count:,} {reason}", err=True)


def _embedder(options: Options, finder: "Bundle") -> tuple[Result, Path]:
    from imgsearch_assets.training.checkpoint import fingerprint
    from imgsearch_assets.training.embedder import trained

    decisive = asdict(options) | {"detector": finder.version, "out": "", "restart": False}
    folder = options.out or FOLDER / f"embedder-{fingerprint(decisive)}"
    with only_one(folder, "--out"):
        result = trained(options, finder, folder)
    _say_left_out(result.taught.left_out)
    return result, folder
