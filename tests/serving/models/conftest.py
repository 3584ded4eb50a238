import pytest

from serving.models import runtime


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """As services and pipeline run: two threads wait for each other longer than they work."""
    runtime.tune(threads=1)
