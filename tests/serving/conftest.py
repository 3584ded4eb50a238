from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.processes import Start, starting
from tests.serving.sinks import Sink, listening


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with starting(tmp_path) as start:
        yield start


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening() as sink:
        yield sink
