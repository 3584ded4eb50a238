"""``imgsearch train``: a model from pictures, resumable, and on request through the gate to be served."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from annotated_types import Ge, Le
from pydantic import BaseModel

from imgsearch_assets.commands.terminal import one_sentence
from imgsearch_assets.local.installation import objects_of
from imgsearch_assets.training.settings import (
    PRODUCTS,
    SCENES,
    DetectorSettings,
    EmbedderSettings,
    ModelName,
    Source,
    TrainerSettings,
    check_installed,
)
from serving.errors import BadSettings

if TYPE_CHECKING:
    from imgsearch_assets.training.trainer import Done
    from serving.models.bundle import Bundle

app = typer.Typer(help="Train a model; a killed training goes on where it stood.", no_args_is_help=True)

FOLDER = Path(".imgsearch") / "training"


def _asked(model: type[BaseModel], name: str, *flags: str, help: str = "", shown: str | None = None) -> Any:
    """The option for a field of ``model``."""
    field = model.model_fields[name]
    least: Any = next((one.ge for one in field.metadata if isinstance(one, Ge)), None)
    most: Any = next((one.le for one in field.metadata if isinstance(one, Le)), None)
    return typer.Option(
        *flags, help=help or field.description, min=least, max=most, show_default=shown or True
    )


# One seed for both: what is drawn and held out, and the weights.
_SEEDED = (Source, TrainerSettings)
Data = Annotated[str, _asked(Source, "data")]
Images = Annotated[str | None, _asked(Source, "images", shown="near the file")]
Scenes = Annotated[int, _asked(Source, "drawn", "--scenes", help="Drawn scenes to learn from.")]
Products = Annotated[
    int,
    _asked(
        Source,
        "drawn",
        "--products",
        help="Drawn products to learn from; 200 others are drawn to measure with.",
    ),
]
HeldOut = Annotated[float | None, _asked(Source, "held_out", shown="by the data")]
Finder = Annotated[str, _asked(EmbedderSettings, "detector", "--detector")]
Out = Annotated[
    Path | None, typer.Option(help="Folder of the training.", show_default=f"{FOLDER}/NAME-FINGERPRINT")
]
Epochs = Annotated[int | None, _asked(TrainerSettings, "epochs", shown="by the recipe")]
Seed = Annotated[
    int, typer.Option(help=" ".join(filter(None, (m.model_fields["seed"].description for m in _SEEDED))))
]
Restart = Annotated[bool, typer.Option("--restart", help="Forget what was trained in that folder.")]
Register = Annotated[
    bool, typer.Option("--register", help="Make it the live model of --home if it is not worse than that.")
]
Home = Annotated[Path | None, typer.Option(help="Folder of one installation, for --register and --detector.")]

_DATA: str = Source.model_fields["data"].default
_FINDER: str = EmbedderSettings.model_fields["detector"].default


@app.command()
def detector(
    data: Data = _DATA,
    images: Images = None,
    scenes: Scenes = SCENES,
    held_out: HeldOut = None,
    out: Out = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    restart: Restart = False,
    register: Register = False,
    home: Home = None,
) -> None:
    """Boxes of items: from drawn scenes, or from pictures with boxes in COCO's format."""
    with _said(register, home) as keep:
        source = Source(
            model="detector", data=data, images=images, drawn=scenes, held_out=held_out, seed=seed
        )
        keep(source, DetectorSettings(epochs=epochs, seed=seed, restart=restart), None, out)


@app.command()
def embedder(
    data: Data = _DATA,
    products: Products = PRODUCTS,
    held_out: HeldOut = None,
    finder: Finder = _FINDER,
    out: Out = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    restart: Restart = False,
    register: Register = False,
    home: Home = None,
) -> None:
    """Vectors that find the same product: from pictures of products, or from photos by category."""
    with _said(register, home) as keep:
        from imgsearch_assets.models.candidates import candidate

        source = Source(model="embedder", data=data, drawn=products, held_out=held_out, seed=seed)
        settings = EmbedderSettings(epochs=epochs, seed=seed, restart=restart, detector=finder)
        keep(source, settings, candidate("detector", finder, home), out)


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
        finder: Bundle | None = None
        drawn: dict[ModelName, int] = {"detector": scenes, "embedder": products}
        for name, count in drawn.items():
            source = Source(model=name, drawn=count, seed=seed)
            settings = TrainerSettings(seed=seed, restart=restart)
            finder = keep(source, settings, finder, out / name if out else None)


_NEXT = (
    "to measure it: imgsearch evaluate --{name} {kept}; to make it live: this command with --register --home "
    "INSTALLATION, or, where the data has moved on, imgsearch model register {kept} --name {name} --home "
    "INSTALLATION --data SPEC"
)
Keep = Callable[[Source, TrainerSettings, "Bundle | None", Path | None], "Bundle"]


@contextmanager
def _said(register: bool, home: Path | None) -> Iterator[Keep]:
    """What trains a model, keeps it and offers it; in the end all is said in one line of JSON.

    By name where there are several. What may be done next goes to stderr.
    """
    said: dict[str, dict[str, Any]] = {}
    with one_sentence():
        check_installed()
        if register:
            if home is None:
                raise BadSettings(
                    "--register needs --home, the folder of the installation whose model it becomes"
                )
            objects_of(home)  # known before an hour has gone
        from imgsearch_assets.models.registration import Refused
        from imgsearch_assets.training.trainer import offer

        refused: list[Refused] = []

        def keep(
            source: Source, settings: TrainerSettings, finder: "Bundle | None", out: Path | None
        ) -> "Bundle":
            from serving.object_store import LocalObjectStore

            name = source.model
            done = _trained(source, settings, finder, out)
            result, folder = done.result, done.folder
            one: dict[str, Any] = {key: round(value, 4) for key, value in result.figures.items()}
            one |= {"seconds": round(done.seconds), "folder": str(folder)}
            bundle = result.store(LocalObjectStore(folder / "objects"))
            one["version"] = bundle.version
            typer.echo(f"{name} {bundle.version} is kept in {folder / 'objects'}", err=True)
            said[name] = one
            if register and home is not None:
                try:
                    one["registered"] = offer(objects_of(home), result, _who(), "imgsearch train").changed
                    typer.echo(f"{name} {bundle.version} is live in {home}", err=True)
                except Refused as error:  # the next one may be better
                    one["registered"] = False
                    refused.append(error)
            else:
                kept = folder / "objects" / "models" / name / bundle.version
                typer.echo(_NEXT.format(name=name, kept=kept), err=True)
            return bundle

        yield keep
        typer.echo(json.dumps(said if len(said) > 1 else next(iter(said.values()))))
        if refused:
            raise refused[0]


def _trained(source: Source, settings: TrainerSettings, finder: "Bundle | None", out: Path | None) -> "Done":
    from imgsearch_assets.training.material import gather
    from imgsearch_assets.training.trainer import folder_of, train

    material = gather(source, (out or FOLDER) / "pictures")
    for reason, count in sorted(material.taught.left_out.items()):
        typer.echo(f"left out: {count:,} {reason}", err=True)
    return train(material, settings, finder, out or folder_of(material, settings, finder, FOLDER))


def _who() -> str:
    import getpass

    return getpass.getuser()
