"""How commands end: an error that a person can mend is one sentence, a stop by signal is no error."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import typer
from rich.console import Console

from serving.errors import ImgsearchError

STOPPED = 130


def _stop(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn an error we know into its sentence and exit status 1, and SIGINT or SIGTERM into status 130."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for asked in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # SIGINT too: a shell's background job starts with it ignored
        signal.signal(asked, _stop)
    try:
        yield
    except ImgsearchError as error:
        console.print(f"imgsearch: {error.message}", markup=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("stopped")
        raise typer.Exit(STOPPED) from None
