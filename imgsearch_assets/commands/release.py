"""``imgsearch release``: which generation is live, and moving the pointer by hand."""

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from imgsearch_assets.commands.terminal import one_sentence
from imgsearch_assets.local.installation import objects_of
from imgsearch_assets.release.history import COLUMNS, rows_of, time_of
from serving.settings import Place

if TYPE_CHECKING:
    from imgsearch_assets.release.replay_report import Report
    from serving.object_store import ObjectStore

app = typer.Typer(help="Which generation is live, and moving it.", no_args_is_help=True)

Home = Annotated[Path, typer.Option(envvar="IMGSEARCH_HOME", help="Folder of one installation.")]
Environment = Annotated[Place, typer.Option(help="The environment whose pointer is meant.")]
Why = Annotated[str, typer.Option(help="Kept with the release.", prompt=True)]


def _kept() -> int:
    """Generations that an environment can go back to, as the pipeline is told."""
    from imgsearch_assets.environment import read_told

    return read_told().pipeline.keep_generations


@app.command()
def status(home: Home, environment: Environment = "local") -> None:
    """The releases that are remembered, the live one first, and what the next one may fail."""
    from imgsearch_assets.gates.waivers import in_force
    from serving.index.store import list_generations, read_pointer

    with one_sentence():
        store = objects_of(home)
        pointer = read_pointer(store, environment).pointer
        table = Table(*COLUMNS)
        for row in rows_of(pointer, set(list_generations(store))) if pointer else ():
            table.add_row(*row)
        Console().print(table if pointer else f"nothing was ever released in {environment}")
        for waiver in in_force(store, environment).values():
            typer.echo(f"for the next release, {waiver}")


@app.command("list")
def list_(home: Home) -> None:
    """Every generation in the store, the one made last first, and where it is live."""
    from imgsearch_assets.release.publish import status as live
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
            table.add_row(manifest.id, time_of(manifest.created_at), *counts, f"{size:,.1f}", places)
        for generation in unreadable:
            table.add_row(generation, "unreadable", *[""] * 4, ", ".join(where.get(generation, [])))
        Console().print(table if table.row_count else "there is no generation yet")
        for reason in why:
            typer.echo(reason, err=True)


@app.command()
def promote(
    context: typer.Context,
    home: Home,
    why: Why,
    source: Annotated[
        Literal[Place, "proposed"],
        typer.Option("--from", help="Environment whose live generation it is."),
    ] = "local",
    to: Annotated[Place, typer.Option(help="Environment that gets it.")] = "production",
    waive: Annotated[
        list[str] | None, typer.Option(help="A gate that may fail this time; once for each.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask after the figures of the replay.")] = False,
    write: Annotated[
        Path | None,
        typer.Option(help="Write it into this overlay instead, for a pull request.", show_default=False),
    ] = None,
    generation: Annotated[
        str | None, typer.Option(help="Only this generation and no other.", show_default=False)
    ] = None,
    who: Annotated[str | None, typer.Option(help="Who it is.", show_default="who is logged in")] = None,
) -> None:
    """Make what is live in one environment live in another: the same files, past the gates again.

    Shows first what that changes; goes back by itself when those who serve it do not serve it well.
    With --write nothing goes live: images, models and generation are written into an overlay. Where
    DAGSTER_HOME is set, Dagster's records have it too.
    """
    from imgsearch_assets.assets.release import record
    from imgsearch_assets.environment import PRODUCTION, read_told
    from imgsearch_assets.release.delivery import Overlay, propose
    from imgsearch_assets.release.rollout import candidate, promote
    from serving.errors import BadInput, Conflict

    with one_sentence():
        store, who = objects_of(home), who or getpass.getuser()
        if write is not None:
            for name in ("to", "waive", "yes"):
                by = context.get_parameter_source(name)
                if by is not None and by.name == "COMMANDLINE":
                    raise BadInput(f"--write releases nothing, so there is nothing to --{name}; leave it out")
            into = Overlay(write)
            manifest, changed = propose(store, source, into, who, why, generation)
            said = "is written into" if changed else "is in"
            typer.echo(f"generation {manifest.id}, embedder {manifest.embedder} {said} {into.path}")
            return
        told = read_told()
        found = candidate(store, told, source, to)
        if generation is not None and found.generation != generation:
            raise Conflict(
                f"generation {found.generation} is live in {source}, not {generation}; nothing is released"
            )
        typer.echo(_replayed(store, found.report))
        if not yes:
            typer.confirm(f"make {found.generation} live in {to}?", abort=True)
        released = promote(store, told, found, to, who, why, frozenset(waive or ()))
        if to == PRODUCTION and os.environ.get("DAGSTER_HOME"):
            record(released)
        typer.echo(f"{released.pointer.live.generation} is live in {to}: {released.verified}")


@app.command()
def images(
    overlay: Annotated[Path, typer.Argument(help="Folder of an overlay, as k8s/overlays/staging.")],
    pushed: Annotated[Path, typer.Option(help="Folder with a file for each image that the build pushed.")],
) -> None:
    """Write the digests that the build pushed into an overlay."""
    from imgsearch_assets.release import delivery

    with one_sentence():
        found, into = delivery.pushed(pushed), delivery.Overlay(overlay)
        into.write(found)
        delivery.equal(delivery.Overlay(overlay), found, "the build")
        typer.echo(f"{into.path} names what the build pushed")


@app.command()
def delivered(
    home: Home,
    why: Why,
    environment: Annotated[Place, typer.Option(help="Where it runs now.")],
    pushed: Annotated[Path, typer.Option(help="Folder with a file for each image that the build pushed.")],
    overlay: Annotated[Path, typer.Option(help="Folder of the overlay that was rolled out.")],
    who: Annotated[str | None, typer.Option(help="Who it is.", show_default="who is logged in")] = None,
) -> None:
    """Note that the images of the build run in an environment; only these can be proposed for production."""
    from imgsearch_assets.release import delivery

    with one_sentence():
        found = delivery.pushed(pushed)
        delivery.equal(delivery.Overlay(overlay), found, "the build")
        made = delivery.Delivery(images=found, who=who or getpass.getuser(), why=why)
        delivery.note(objects_of(home), environment, made)
        typer.echo(f"{', '.join(sorted(found))} of this build run in {environment}")


@app.command()
def check(
    home: Home,
    overlay: Annotated[Path, typer.Argument(help="Folder of an overlay, as k8s/overlays/production.")],
    source: Annotated[Place, typer.Option("--from", help="Environment that has run it.")] = "staging",
) -> None:
    """Whether an overlay names what another environment has run; prints its generation."""
    from imgsearch_assets.release import delivery

    with one_sentence():
        typer.echo(delivery.check(objects_of(home), source, delivery.Overlay(overlay)).id)


def _replayed(store: "ObjectStore", report: "Report | None") -> str:
    if report is None:
        return "there is nothing else to compare it with"
    return (
        f"of {report.queries} queries {report.changed} are answered otherwise than by {report.before}: "
        f"overlap@10 {report.overlap_at_10:.3f}, rank-biased overlap {report.rank_biased_overlap:.3f}; "
        f"{report.gone} products gone, {report.new} new\n{store.where(report.page_key)}"
    )


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
    from imgsearch_assets.release.publish import follow_in_milvus, rollback
    from serving.settings import read_settings

    with one_sentence():
        pointer = rollback(objects_of(home), environment, getpass.getuser(), why, to)
        follow_in_milvus(objects_of(home), environment, read_settings(), _kept())
        typer.echo(f"{pointer.live.generation} is live in {environment}")


@app.command()
def waive(
    home: Home,
    gates: Annotated[list[str], typer.Argument(help="As the failed run names them.")],
    why: Why,
    environment: Environment = "local",
) -> None:
    """Let gates pass once that stopped a run, because the shop is really so; for a day at most."""
    from imgsearch_assets.gates.waivers import waive

    with one_sentence():
        waive(objects_of(home), environment, gates, getpass.getuser(), why)
        typer.echo(f"the next release in {environment} may fail {', '.join(gates)}; start the job refresh")


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
    """Remove what nobody can need; every run of the pipeline does so after its release."""
    from imgsearch_assets.environment import read_told
    from imgsearch_assets.release.retention import forget
    from imgsearch_assets.release.retention import prune as remove

    with one_sentence():
        removed = remove(objects_of(home), keep or _kept())
        snapshots = forget(objects_of(home), read_told().pipeline.keep_snapshots_days)
        said = [f"{generation} is removed" for generation in removed]
        said += [f"{snapshots} old snapshots of the catalogue are removed"] if snapshots else []
        typer.echo("\n".join(said) or "nothing is removed")
