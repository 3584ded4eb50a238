"""``python -m serving search|detect|embed|api``: one process, one service.

Prints ``listening on HOST:PORT`` on standard output when it can be called; everything else it has to say is
JSON lines on standard error. SIGTERM lets it finish what is in work and end with status 0.
"""

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from serving import processes, reports, startup, telemetry
from serving.errors import ImgsearchError
from serving.redaction import Redaction
from serving.settings import Settings, read_settings

log = logging.getLogger(__name__)

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
    with _process("search") as settings:
        at = _port(port, settings.search_address)
        startup.check("search", settings, at, metrics_port)
        asyncio.run(processes.search(settings, at, metrics_port, _say_listening))


@app.command()
def detect(port: Port = None, metrics_port: MetricsPort = None) -> None:
    """The garments on pictures, by the live detector."""
    with _process("detect") as settings:
        at = _port(port, settings.detect_address)
        startup.check("detect", settings, at, metrics_port)
        asyncio.run(processes.detect(settings, at, metrics_port, _say_listening))


@app.command()
def embed(port: Port = None, metrics_port: MetricsPort = None) -> None:
    """Vectors of parts of pictures, by the live embedder."""
    with _process("embed") as settings:
        at = _port(port, settings.embed_address)
        startup.check("embed", settings, at, metrics_port)
        asyncio.run(processes.embed(settings, at, metrics_port, _say_listening))


@app.command()
def api(port: Port = None, metrics_port: MetricsPort = None) -> None:
    """The HTTP front and its page."""
    with _process("api") as settings:
        at = settings.api_port if port is None else port
        startup.check("api", settings, at, metrics_port)
        asyncio.run(processes.api(settings, at, metrics_port, _say_listening))


@contextmanager
def _process(service: str) -> Iterator[Settings]:
    """The settings of a process, around all that it does.

    An error that we know is a sentence on a line and status 1, as one that we do not is a line of the log.
    All that is logged is JSON lines.
    """
    lines = telemetry.log_json()
    try:
        settings = read_settings()
        lines.redaction = Redaction.of(settings)
        with reports.sent(settings, service), _last_words():
            yield settings
    except ImgsearchError as error:
        for sentence in error.message.splitlines():
            print(f"imgsearch: {sentence}", file=sys.stderr)
        raise typer.Exit(1) from None


@contextmanager
def _last_words() -> Iterator[None]:
    try:
        yield
    except ImgsearchError:
        raise
    except Exception:
        log.critical("the process ends: an unexpected error", exc_info=True)
        raise typer.Exit(1) from None


def _port(given: int | None, address: str) -> int:
    return int(address.rpartition(":")[2]) if given is None else given


def _say_listening(address: str) -> None:
    print(f"listening on {address}", flush=True)


if __name__ == "__main__":
    app()
