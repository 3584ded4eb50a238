"""``imgsearch train``: a model from pictures, resumable, and on request through the gate to be served."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from imgsearch_assets.terminal import one_sentence
from serving.errors import BadSettings, Unsupported
from serving.object_store import LocalObjectStore, ObjectStore

if TYPE_CHECKING:
    from imgsearch_assets.datasets.scenes import Scenes
    from serving.models.bundle import Bundle

app = typer.Typer(help="Train a model; a killed training goes on where it stood.", no_args_is_help=True)

FOLDER = Path(".imgsearch") / "training"
DRAWN = "drawn"
_SHARE = 0.1  # of pictures of a file, held out

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
Out = Annotated[
    Path | None, typer.Option(help="Folder of the training.", show_default=f"{FOLDER}/NAME-FINGERPRINT")
]
Epochs = Annotated[int | None, typer.Option(help="Times each picture is learned from.", min=1)]
Seed = Annotated[int, typer.Option(help="The same seed gives the same weights on the same machine.")]
Restart = Annotated[bool, typer.Option("--restart", help="Forget what was trained in that folder.")]
Register = Annotated[
    bool, typer.Option("--register", help="Make it the live model of --home if it is not worse than that.")
]
Home = Annotated[
    Path | None,
    typer.Option(envvar="IMGSEARCH_INSTALLATION", help="Folder of one installation, for --register."),
]


@dataclass(frozen=True)
class Options:
    """What the command line asks of a trainer."""

    data: str
    images: Path | None
    out: Path | None
    epochs: int | None
    seed: int
    restart: bool


class Result(Protocol):
    """A model that was trained: its figures, and what the gate compares it with the live one by."""

    @property
    def figures(self) -> Mapping[str, float]: ...

    @property
    def samples(self) -> int:
        """Held-out pictures or queries that the figures are over."""

    def store(self, store: ObjectStore) -> "Bundle":
        """Keep it as a candidate."""

    def measure(self, bundle: "Bundle") -> Mapping[str, float]:
        """Figures of another bundle on the same held-out pictures."""


@app.command()
def detector(
    data: Data = DRAWN,
    images: Images = None,
    scenes: Annotated[int, typer.Option(help="Drawn scenes to learn from.", min=2)] = 4096,
    out: Out = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    restart: Restart = False,
    register: Register = False,
    home: Home = None,
) -> None:
    """Boxes of items: from drawn scenes, or from pictures with boxes in COCO's format."""
    with one_sentence():
        options = Options(data, images, out, epochs, seed, restart)
        _train({"detector": lambda: _detector(options, scenes)}, _home(register, home))


@app.command()
def embedder(
    data: Data = DRAWN,
    out: Out = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    restart: Restart = False,
    register: Register = False,
    home: Home = None,
) -> None:
    """Vectors that find the same product: from pictures of products, or from photos by category."""
    with one_sentence():
        options = Options(data, None, out, epochs, seed, restart)
        _train({"embedder": lambda: _embedder(options)}, _home(register, home))


@app.command("all")
def all_(
    out: Annotated[Path | None, typer.Option(help="Folder in which each has its own.")] = None,
    seed: Seed = 0,
    restart: Restart = False,
    register: Register = False,
    home: Home = None,
) -> None:
    """Detector, then embedder, both from drawn pictures."""
    with one_sentence():

        def options(name: str) -> Options:
            return Options(DRAWN, None, out / name if out else None, None, seed, restart)

        _train(
            {
                "detector": lambda: _detector(options("detector"), 4096),
                "embedder": lambda: _embedder(options("embedder")),
            },
            _home(register, home),
        )


def _train(trainers: Mapping[str, Callable[[], tuple[Result, Path]]], home: Path | None) -> None:
    """Train, keep, register, and say it in one line of JSON, by name where there are several."""
    from serving.models import runtime

    runtime.tune(threads=1)  # the backbone's looks and the drawing are what run side by side
    said: dict[str, Any] = {}
    for name, trainer in trainers.items():
        started = time.monotonic()
        result, folder = trainer()
        one: dict[str, Any] = {key: round(value, 4) for key, value in result.figures.items()}
        one |= {"seconds": round(time.monotonic() - started), "folder": str(folder)}
        one["version"] = result.store(LocalObjectStore(folder / "objects")).version
        if home is not None:
            one["registered"] = _register(result, LocalObjectStore(home / "objects"))
        said[name] = one
    typer.echo(json.dumps(said if len(said) > 1 else next(iter(said.values()))))


def _register(result: Result, store: ObjectStore) -> bool:
    """Offer it to the gate. Raises ``Refused`` with the figures when it is worse than what is live."""
    import getpass

    from imgsearch_assets.registration import register

    bundle = result.store(store)
    registered = register(
        store,
        bundle,
        measure=result.measure,
        samples=result.samples,
        who=getpass.getuser(),
        why="imgsearch train",
    )
    return registered.changed


def _home(register: bool, home: Path | None) -> Path | None:
    if register and home is None:
        raise BadSettings("--register needs --home, the folder of the installation whose model it becomes")
    return home if register else None


def _detector(options: Options, scenes: int) -> tuple[Result, Path]:
    try:
        import pycocotools  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        raise Unsupported("training a detector needs pycocotools: install imgsearch[train]") from None
    from imgsearch_assets.datasets.scenes import HELD_OUT, Drawn, Mirrored
    from imgsearch_assets.training.checkpoint import fingerprint
    from imgsearch_assets.training.detector import Recipe, configuration, train

    learned: Scenes
    unseen: Scenes
    form, _, rest = options.data.partition(":")
    if options.data == DRAWN:
        learned, unseen = Drawn(options.seed, 0, scenes), HELD_OUT
    elif form == "coco" and rest:
        learned, unseen = _coco(Path(rest), options.images)
    else:
        raise BadSettings(f"a detector learns from boxes: --data is drawn or coco:FILE, not {options.data!r}")
    learned = Mirrored(learned)
    recipe = Recipe(seed=options.seed)
    if options.epochs:
        recipe = Recipe(seed=options.seed, epochs=options.epochs)
    name = f"detector-{fingerprint(configuration(learned, unseen, recipe))}"
    folder = options.out or FOLDER / name
    trained = train(learned, unseen, recipe, folder, restart=options.restart)
    trained.write(folder)
    return trained, folder


def _coco(file: Path, images: Path | None) -> tuple["Scenes", "Scenes"]:
    """Pictures to learn from and to measure with; copies of held-out ones are learned from by nobody."""
    from imgsearch_assets.datasets import coco
    from imgsearch_assets.datasets.scenes import Pictures
    from imgsearch_assets.datasets.split import apart, split

    found = coco.load(file, images)
    parts, copies = apart(split(found.dataset, _SHARE))
    left_out = Counter(found.rejected) + Counter({"picture_like_a_held_out_one": len(copies)})
    for reason, count in sorted(left_out.items()):
        typer.echo(f"left out: {count:,} {reason}", err=True)
    return (
        Pictures(parts.train, found.categories, f"{parts.version}/train"),
        Pictures(parts.held_out, found.categories, f"{parts.version}/held_out"),
    )


def _embedder(options: Options) -> tuple[Result, Path]:
    from imgsearch_assets.training.embedder import trained

    return trained(options)
