"""The ``imgsearch`` command. Heavy modules are imported by the command that needs them."""

import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer

from imgsearch_assets.commands import evaluate, explain, keys, model, probe, release, stock, train
from imgsearch_assets.commands.terminal import one_sentence
from serving.__main__ import app as serve

app = typer.Typer(
    help="Visual product search: photograph a garment, find it in the shop.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(serve, name="serve", help="Run one service of the search platform.")
app.add_typer(keys.app, name="keys")
app.add_typer(model.app, name="model")
app.add_typer(release.app, name="release")
app.add_typer(stock.app, name="stock")
app.add_typer(train.app, name="train")
app.command("evaluate")(evaluate.evaluate)
app.command("explain")(explain.explain)
app.command("probe")(probe.probe)

Home = Annotated[
    Path,
    typer.Option(help="Folder in which each catalogue has its own installation."),
]
ApiPort = Annotated[int, typer.Option(help="Port of the page and the HTTP API.", min=1, max=65535)]
DagsterPort = Annotated[int, typer.Option(help="Port of the Dagster UI.", min=1, max=65535)]
PicturesPort = Annotated[int, typer.Option(help="Port of the sample's picture server.", min=1, max=65535)]
Once = Annotated[bool, typer.Option("--once", help="End after the main job; no service stays up.")]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON, as the last line.")]
RedisUrl = Annotated[
    str | None,
    typer.Option(
        envvar="REDIS_URL", help="A Redis that runs already; without it one is started.", show_default=False
    ),
]

HOME = Path(".imgsearch")


@app.command()
def demo(
    products: Annotated[int, typer.Option(help="Products of the drawn sample.", min=1, max=100_000)] = 1000,
    seed: Annotated[int, typer.Option(help="Another seed draws another catalogue.")] = 7,
    photos: Annotated[
        Path | None,
        typer.Option(help="A folder of photos instead (category = sub-folder).", show_default=False),
    ] = None,
    home: Home = HOME,
    api_port: ApiPort = 8080,
    dagster_port: DagsterPort = 3000,
    pictures_port: PicturesPort = 8090,
    redis_url: RedisUrl = None,
    once: Once = False,
    as_json: Json = False,
) -> None:
    """Sample catalogue to searchable, with progress; then the page, the API and the Dagster UI stay up."""
    with one_sentence():
        from imgsearch_assets.commands import demo  # which reads the settings
        from imgsearch_assets.local.installation import Ports

        ports = Ports(api_port, dagster_port, pictures_port)
        source = demo.Photos(photos) if photos else demo.Drawn(products, seed)
        demo.run(source, home, ports, redis_url, once=once, as_json=as_json)


@app.command()
def run(
    catalogue: Annotated[
        str,
        typer.Option(
            help="FILE.parquet, FILE.csv, FILE.duckdb, FILE.duckdb::TABLE or bigquery:PROJECT.DATASET.TABLE.",
            show_default=False,
        ),
    ],
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="host:port to fetch pictures from though it is not a public address.", show_default=False
        ),
    ] = None,
    home: Home = HOME,
    api_port: ApiPort = 8080,
    dagster_port: DagsterPort = 3000,
    redis_url: RedisUrl = None,
    once: Once = False,
    as_json: Json = False,
) -> None:
    """Your own catalogue to searchable; then the page, the API and the Dagster UI stay up."""
    with one_sentence():
        from imgsearch_assets.commands import demo  # which reads the settings
        from imgsearch_assets.local.installation import Ports

        source = demo.Catalogue(catalogue, frozenset(allow_host or ()))
        demo.run(
            source, home, Ports(api_port, dagster_port, pictures=0), redis_url, once=once, as_json=as_json
        )


BENCHMARKS = Path("benchmarks")


@app.command()
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which; all without a name.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Run benchmarks from a checkout; each prints a table and its figures as one JSON line."""
    there = sorted(path.stem for path in BENCHMARKS.glob("[!_]*.py"))
    unknown = set(names or ()) - set(there)
    if unknown or not there:
        known = ", ".join(there) or "none here: run it in the root of a checkout"
        raise typer.BadParameter(f"no benchmark {', '.join(sorted(unknown))}; there are {known}")
    sys.path.insert(0, str(Path.cwd()))  # benchmarks are of a checkout, not of the installed package
    for name in names or there:
        sys.argv = [name, *(["--json"] if as_json else [])]
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")


if __name__ == "__main__":
    app()
