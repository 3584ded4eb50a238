"""``python -m serving search|detect|embed|api``: one process, one service.

Prints ``listening on HOST:PORT`` on standard output when it can be called; everything else it has to say is
JSON lines on standard error. SIGTERM lets it finish what is in work and end with status 0.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from serving import processes, telemetry
from serving.errors import ImgsearchError
from serving.settings import read_settings

app = typer.Typer(
    help="Run one service of the search platform.", no_args_is_help=True, pretty_exceptions_enable=False
)

Port = Annotated[
    int | None,
    typer.Option(help="0 is any free one.", show_default="that of its address", min=0, max=65535),
]
MetricsPort = Annotated[
    int | None, typer.Option(help="Where Prometheus reads.", show_default="none", min=1, max=65535)
]


@app.command()
def search(port: Port = None, metrics_port: MetricsPort = None) -> None:
    """Nearest products to vectors, in the generation that the environment's pointer names."""
    with _one_sentence():
        settings = read_settings()
        at = _port(port, settings.search_address)
        asyncio.run(processes.search(settings, at, metrics_port, _say_listening))


@app.command()
def detect(port: Port = None, metrics_port: MetricsPort = None) -> None:
    """The garments on pictures, by the live detector."""
    with _one_sentence():
        settings = read_settings()
        at = _port(port, settings.detect_address)
        asyncio.run(processes.detect(settings, at, metrics_port, _say_listening))


@app.command()
def embed(port: Port = None, metrics_port: MetricsPort = None) -> None:
    """Vectors of parts of pictures, by the live embedder."""
    with _one_sentence():
        settings = read_settings()
        at = _port(port, settings.embed_address)
        asyncio.run(processes.embed(settings, at, metrics_port, _say_listening))


@app.command()
def api(port: Port = None) -> None:
    """The HTTP front and its page."""
    with _one_sentence():
        settings = read_settings()
        at = settings.api_port if port is None else port
        asyncio.run(processes.api(settings, at, _say_listening))


@contextmanager
def _one_sentence() -> Iterator[None]:
    """An error that we know is one sentence and status 1; all that is logged is JSON lines."""
    telemetry.log_json()
    try:
        yield
    except ImgsearchError as error:
        print(f"imgsearch: {error.message}", file=sys.stderr)
        raise typer.Exit(1) from None


def _port(given: int | None, address: str) -> int:
    return int(address.rpartition(":")[2]) if given is None else given


def _say_listening(address: str) -> None:
    print(f"listening on {address}", flush=True)


if __name__ == "__main__":
    app()
