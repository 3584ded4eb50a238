"""``imgsearch keys``: who may ask, and who may administer."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from imgsearch_assets.commands.terminal import one_sentence
from imgsearch_assets.local.installation import objects_of
from serving.settings import Place

if TYPE_CHECKING:
    from serving.identity.keys import Key

app = typer.Typer(help="API keys of an environment.", no_args_is_help=True)

Home = Annotated[Path, typer.Option(envvar="IMGSEARCH_HOME", help="Folder of one installation.")]
Environment = Annotated[
    Place,
    typer.Option(envvar="IMGSEARCH_ENVIRONMENT", help="The environment whose keys are meant."),
]
KeyId = Annotated[str, typer.Argument(help="As `imgsearch keys list` shows it.", show_default=False)]

_DAY_S = 86_400.0


@app.command()
def create(
    home: Home,
    name: Annotated[str, typer.Option(help="Who holds it, for the list.", show_default=False)],
    scope: Annotated[list[str], typer.Option(help="search or admin; once for each that it may do.")],
    rate: Annotated[
        str | None,
        typer.Option(help="10/second, 600/minute, or 0 for no limit.", show_default="IMGSEARCH_RATE"),
    ] = None,
    days: Annotated[
        float | None, typer.Option(min=0.0, help="How long it works.", show_default="until it is revoked")
    ] = None,
    environment: Environment = "local",
) -> None:
    """Make a key and print it, this once, on standard output."""
    from serving.identity import store

    with one_sentence():
        expires_at = None if days is None else time.time() + days * _DAY_S
        key, told = store.create(objects_of(home), environment, name, scope, rate, expires_at)
        _tell(key.id, told)


@app.command("list")
def list_(home: Home, environment: Environment = "local") -> None:
    """Every key, those that were revoked too; never a secret."""
    from serving.identity.store import read_keys

    with one_sentence():
        known = read_keys(objects_of(home), environment).keys
        table = Table()
        table.add_column("id", no_wrap=True, min_width=12)
        for column in ("name", "may", "rate", "made", "expires", "state"):
            table.add_column(column, no_wrap=column in ("made", "expires"), overflow="fold")
        for key in known:
            rate = "default" if key.rate is None else "no limit" if key.rate == "0" else key.rate
            expires = "" if key.expires_at is None else _day(key.expires_at)
            row = (key.name, ", ".join(sorted(key.scopes)), rate, _day(key.created_at), expires, _state(key))
            table.add_row(key.id, *row)
        Console().print(table if known else f"there is no API key in {environment} yet")


@app.command()
def revoke(home: Home, key_id: KeyId, environment: Environment = "local") -> None:
    """Make a key nobody's; every process knows within a few seconds."""
    from serving.identity import store

    with one_sentence():
        store.revoke(objects_of(home), environment, key_id)
        typer.echo(f"{key_id} is revoked in {environment}")


@app.command()
def rotate(
    home: Home,
    key_id: KeyId,
    grace_s: Annotated[
        float, typer.Option(min=0.0, help="Seconds for which the old secret still works.")
    ] = 3600.0,
    environment: Environment = "local",
) -> None:
    """Give a key a new secret and print it, this once, on standard output."""
    from serving.identity import store

    with one_sentence():
        key, told = store.rotate(objects_of(home), environment, key_id, grace_s)
        _tell(key.id, told)
        typer.echo(f"the old secret works for {grace_s:g} s more", err=True)


def _tell(key_id: str, told: str) -> None:
    """The key alone on standard output, for a script to keep."""
    typer.echo(f"API key {key_id}; keep it now, it is not shown again:", err=True)
    typer.echo(told)


def _state(key: "Key") -> str:
    """With the secret of before a rotation, while that works too."""
    now = time.time()
    state, earlier = key.state(now), key.earlier
    if state != "active" or earlier is None or earlier.until <= now:
        return state
    until = datetime.fromtimestamp(earlier.until, UTC)
    return f"{state}; the old secret too, until {until:%Y-%m-%d %H:%M:%S UTC}"


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
