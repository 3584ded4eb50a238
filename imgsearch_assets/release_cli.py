"""``imgsearch release``: which generation is live, and moving the pointer by hand."""

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from imgsearch_assets.installation import objects_of
from imgsearch_assets.terminal import one_sentence

app = typer.Typer(help="Which generation is live, and moving it.", no_args_is_help=True)

Home = Annotated[Path, typer.Option(envvar="IMGSEARCH_HOME", help="Folder of one installation.")]
Environment = Annotated[str, typer.Option(help="The environment whose pointer is meant.")]
Why = Annotated[str, typer.Option(help="Kept with the release.", prompt=True)]


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S UTC}"


def _kept() -> int:
    """Generations that an environment can go back to, as the pipeline is told."""
    from imgsearch_assets.environment import PipelineSettings
    from serving.settings import read

    return read(PipelineSettings).keep_generations


@app.command()
def status(home: Home, environment: Environment = "local") -> None:
    """The releases that are remembered, the live one first."""
    from imgsearch_assets.release import history

    with one_sentence():
        releases = history(objects_of(home), environment)
        table = Table("generation", "since", "by", "why")
        for release in releases:
            table.add_row(release.generation, _time(release.at), release.who, release.why)
        Console().print(table if releases else f"nothing was ever released in {environment}")


@app.command("list")
def list_(home: Home) -> None:
    """Every generation in the store, the one made last first, and where it is live."""
    from imgsearch_assets.release import status as live
    from serving.errors import Unverified
    from serving.index.store import environments, generations

    with one_sentence():
        store = objects_of(home)
        found, unreadable = generations(store)
        why = [str(error) for error in unreadable.values()]
        where: dict[str, list[str]] = {}
        for environment in environments(store):
            try:
                release = live(store, environment)
            except Unverified as error:
                why.append(str(error))
                continue
            if release is not None:
                where.setdefault(release.generation, []).append(environment)
        table = Table()
        table.add_column("generation", no_wrap=True, min_width=16)
        for name in ("made", "products", "rows", "deltas", "MiB", "live in"):
            table.add_column(name)
        for manifest in found:
            size = sum(segment.size_bytes for segment in manifest.files) / 2**20
            counts = [f"{count:,}" for count in (manifest.products, manifest.rows, len(manifest.deltas))]
            places = ", ".join(where.get(manifest.id, []))
            table.add_row(manifest.id, _time(manifest.created_at), *counts, f"{size:,.1f}", places)
        for generation in unreadable:
            table.add_row(generation, "unreadable", *[""] * 4, ", ".join(where.get(generation, [])))
        Console().print(table if table.row_count else "there is no generation yet")
        for reason in why:
            typer.echo(reason, err=True)


@app.command()
def promote(
    home: Home,
    why: Why,
    source: Annotated[str, typer.Option("--from", help="Environment whose live generation it is.")] = "local",
    to: Annotated[str, typer.Option(help="Environment that gets it.")] = "production",
) -> None:
    """Make what is live in one environment live in another: the same files, past the gates again."""
    from imgsearch_assets.release import follow_in_milvus, publish
    from imgsearch_assets.release import status as live
    from serving.errors import NotFound
    from serving.settings import read_settings

    with one_sentence():
        release = live(objects_of(home), source)
        if release is None:
            raise NotFound(f"nothing was ever released in {source}")
        pointer = publish(objects_of(home), to, release.generation, getpass.getuser(), why)
        follow_in_milvus(objects_of(home), to, read_settings(), _kept())
        typer.echo(f"{pointer.live.generation} is live in {to}")


@app.command()
def rollback(
    home: Home,
    why: Why,
    environment: Environment = "local",
    to: Annotated[
        str | None, typer.Option(help="A generation that was live.", show_default="the last good")
    ] = None,
) -> None:
    """Make an earlier generation live again; the services follow within a second."""
    from imgsearch_assets.release import follow_in_milvus, rollback
    from serving.settings import read_settings

    with one_sentence():
        pointer = rollback(objects_of(home), environment, getpass.getuser(), why, to)
        follow_in_milvus(objects_of(home), environment, read_settings(), _kept())
        typer.echo(f"{pointer.live.generation} is live in {environment}")


@app.command()
def prune(
    home: Home,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Generations that every environment can go back to.",
            show_default="IMGSEARCH_KEEP_GENERATIONS",
        ),
    ] = None,
) -> None:
    """Remove generations that nobody can need; every run of the pipeline does so after its release."""
    from imgsearch_assets.release import prune

    with one_sentence():
        removed = prune(objects_of(home), keep or _kept())
        typer.echo("\n".join(f"{generation} is removed" for generation in removed) or "nothing is removed")
