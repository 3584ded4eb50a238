"""``imgsearch explain``: why a product is, or is not, searchable."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from imgsearch_assets.commands.terminal import one_sentence
from imgsearch_assets.figures import visible
from imgsearch_assets.local.installation import objects_of
from serving.settings import Place

if TYPE_CHECKING:
    from serving.ledger.journey import Journey

_TIMEOUT_S = 60.0
_SIGNS = {"done": "[green]yes[/]", "failed": "[red]no[/]", "waiting": "[yellow]not yet[/]"}


def explain(
    product_id: Annotated[str, typer.Argument(help="As in the catalogue.", show_default=False)],
    home: Annotated[Path, typer.Option(envvar="IMGSEARCH_HOME", help="Folder of one installation.")],
    environment: Annotated[Place, typer.Option(help="Where it should be searchable.")] = "local",
    redis_url: Annotated[
        str | None,
        typer.Option(
            envvar="IMGSEARCH_REDIS_URL",
            help="Where the stock is; without it the index tells.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Why a product is, or is not, searchable: the verdict, then every stage with its time and reason."""
    from serving.cache.stock_log import StockLog
    from serving.ledger.explained import explain

    with one_sentence(), ExitStack() as stack:
        stock = stack.enter_context(closing(StockLog(redis_url, environment))) if redis_url else None
        journey = explain(objects_of(home), environment, product_id, stock, _TIMEOUT_S)
        if as_json:
            typer.echo(journey.model_dump_json())
        else:
            _show(journey)
            if stock is None and journey.searchable:
                typer.echo("The stock was not looked at; set IMGSEARCH_REDIS_URL to have it in this.")


def _show(journey: "Journey") -> None:
    from serving.ledger.verdict import moment

    def time(at: float | None) -> str:
        return "" if at is None else moment(at)

    console = Console()
    sentence = visible(journey.sentence)
    console.print(sentence, style="bold", soft_wrap=True, markup=False, highlight=False)
    stages = _table("stage", "", "at", "what")
    for stage in journey.stages:
        stages.add_row(
            stage.stage.replace("_", " "), _SIGNS[stage.state], time(stage.at), _plain(stage.detail)
        )
    console.print(stages)
    if journey.updated_at is not None:
        console.print(f"The catalogue says that it was changed at {moment(journey.updated_at)}.")
    if journey.pictures:
        pictures = _table("picture", "fetched", "why not", "next try", "items", "searchable")
        for number, one in enumerate(journey.pictures, 1):
            status = f"HTTP {one.http_status}" if one.reason and one.http_status else None
            said = [one.reason, status, one.detected_reason]
            pictures.add_row(
                str(number),
                time(one.fetched_at) if one.fetched == "done" else _SIGNS[one.fetched],
                _plain(", ".join(str(what) for what in [*said, one.embedded_reason] if what)),
                time(one.retry_at),
                str(one.items) if one.detected == "done" else _SIGNS[one.detected],
                _SIGNS["done" if one.searchable else "failed"],
            )
        console.print(pictures)
        for number, one in enumerate(journey.pictures, 1):  # whole, to be copied
            url = visible(one.image_url)
            console.print(f"{number}: {url}", soft_wrap=True, markup=False, highlight=False)
    if journey.rejected:
        rejected = _table("row", "rejected as", "because")
        for row in journey.rejected:
            rejected.add_row(str(row.row), row.reason, _plain(row.detail))
        console.print(rejected)
    if journey.places:
        places = _table("environment", "generation", "released", "has it since")
        for place in journey.places:
            places.add_row(
                place.environment,
                place.generation,
                time(place.released_at),
                time(place.since) if place.searchable else _SIGNS["failed"],
            )
        console.print(places)
    if journey.history:
        history = _table("at", "change", "what", "in")
        for event in journey.history:
            history.add_row(
                time(event.at), event.change, _plain(event.detail), event.generation or event.snapshot
            )
        console.print(history)


def _table(*columns: str) -> Table:
    """Whatever does not fit goes on below: nothing is cut."""
    table = Table()
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _plain(text: str) -> str:
    """A text of the catalogue or of a host is no markup, and steers no terminal."""
    return escape(visible(text))
