"""``imgsearch evaluate``: how well models find products, and where they do not."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from imgsearch_assets.commands.terminal import one_sentence
from imgsearch_assets.datasets.loader import FORMS

# A seed that neither training nor the demo draws with.
DATA = "drawn:500:1000003"

HeldOut = Annotated[
    float | None,
    typer.Option(
        help="Measure on this share of the data alone, 0 to 1: the part a training leaves out.",
        min=0.0,
        max=1.0,
        show_default=False,
    ),
]
SplitSeed = Annotated[int, typer.Option(help="With --held-out: the seed of that training's split.")]

_WHICH = "A stored version, 'live', 'shipped', or a folder with a bundle."


def evaluate(
    data: Annotated[str, typer.Option(help=f"Data set: {FORMS}.")] = DATA,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Folder of one installation, whose models are meant; the shipped ones without it.",
            show_default=False,
        ),
    ] = None,
    embedder: Annotated[str | None, typer.Option(help=_WHICH, show_default=False)] = None,
    detector: Annotated[
        str | None, typer.Option(help=f"{_WHICH[:-1]}; or 'none'.", show_default=False)
    ] = None,
    boxes: Annotated[
        Literal["detected", "true", "whole"],
        typer.Option(help="Whose boxes: the detector's, the data set's own, or the whole picture alone."),
    ] = "detected",
    held_out: HeldOut = None,
    split_seed: SplitSeed = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for report.json and gallery.html.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON, as the last line.")
    ] = False,
) -> None:
    """Recall, precision and the worst queries of a detector and an embedder on labelled pictures."""
    from imgsearch_assets.datasets.loader import load
    from imgsearch_assets.datasets.split import split
    from imgsearch_assets.evaluation import evaluate as measuring
    from imgsearch_assets.evaluation.gallery import page
    from imgsearch_assets.figures import rounded
    from imgsearch_assets.models.candidates import candidate, learned_from
    from serving.models import detector as detectors
    from serving.models import embedder as embedders

    with one_sentence():
        dataset = load(data)
        if held_out is not None:
            dataset = split(dataset, held_out, split_seed).unseen
        finder = None if detector == "none" else detectors.Detector(candidate(detectors.NAME, detector, home))
        bundle = candidate(embedders.NAME, embedder, home)
        report = measuring.evaluate(dataset, embedders.Embedder(bundle), finder, boxes)
        # With --json the figures are the answer, and stdout has nothing else.
        console = Console(stderr=as_json)
        if learned_from(bundle.card, report.dataset_version):
            console.print("the embedder learned from these very pictures: its figures here promise nothing")
        for table in report.tables():
            console.print(table)
        for reason, count in report.skipped.items():
            console.print(f"left out, {reason}: {count:,}")
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            (out / "report.json").write_bytes(report.to_json())
            (out / "gallery.html").write_text(page(report), encoding="utf-8")
            console.print(f"{out / 'report.json'}, {out / 'gallery.html'}")
        if as_json:
            typer.echo(json.dumps({**rounded(report.figures), "seconds": round(report.seconds, 1)}))
