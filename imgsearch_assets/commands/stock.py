"""``imgsearch stock``: what is in stock, from the catalogue to search within seconds."""

import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from imgsearch_assets.commands.terminal import one_sentence

app = typer.Typer(help="What is in stock: its feed, and what search goes by.", no_args_is_help=True)

_VALUES = {1: "in stock", 0: "sold out", -1: "not known any more"}


@app.command()
def feed(
    once: Annotated[bool, typer.Option("--once", help="End after one look.")] = False,
    allow: Annotated[
        bool, typer.Option("--allow", help="With --once: write it however much of the shop would leave.")
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Without --once: where Prometheus reads.", show_default="none"),
    ] = None,
) -> None:
    """Follow the catalogue (IMGSEARCH_CATALOGUE), and write what changed in stock into Redis."""
    from imgsearch_assets.catalogue.stock import Feed, follow
    from imgsearch_assets.environment import read_environment
    from serving import telemetry

    if allow and not once:
        raise typer.BadParameter("--allow is for one look: add --once")
    if metrics_port is not None and once:
        raise typer.BadParameter("--metrics-port is for a feed that stays: leave --once out")
    with one_sentence():
        environment = read_environment()
        with closing(environment.stock_log) as stock_log:
            most = 1.0 if allow else environment.pipeline.stock_max_lost
            looking = Feed(environment.warehouse, stock_log, most)
            if not once:
                telemetry.log_json()
                if metrics_port is not None:
                    telemetry.show(telemetry.process_registry(), environment.serving.host, metrics_port)
                follow(looking, environment.serving.stock_poll_s)
            changes = list(looking.look().values())
            typer.echo(f"{changes.count(1)} came into stock, {changes.count(0)} are sold out")


@app.command()
def show(
    changes: Annotated[int, typer.Option(help="So many of the last changes.", min=0, max=1000)] = 10,
) -> None:
    """Whether the feed halted, how much is sold out, as of when, and what changed last."""
    from imgsearch_assets.environment import read_environment
    from serving.errors import NotFound

    with one_sentence(), closing(read_environment().stock_log) as stock_log:
        halted = stock_log.halted()
        if halted is not None:
            typer.echo(f"the feed halted {time.time() - halted.at:.0f} s ago: {halted.why}")
        known = stock_log.whole()
        if known is None:
            raise NotFound("nothing is known of the stock; imgsearch stock feed writes it")
        _, values = known.all()
        age = time.time() - stock_log.compared_at()
        typer.echo(
            f"{int((values == 0).sum())} of {len(values)} products are sold out, as of {age:.0f} s ago"
        )
        if changes:
            table = Table("at", "product", "is")
            for at, name, value in stock_log.latest(changes):
                what = _VALUES[value] if name else "everything anew"
                table.add_row(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S UTC}", name, what)
            Console().print(table)


if __name__ == "__main__":
    app()
