from collections.abc import Iterator

import pytest

from tests.terraform.planning import Installation, Plan
from tests.terraform.provider import serving


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with serving() as environment:
        yield Installation(tmp_path_factory.mktemp("installation") / "copy", environment)


@pytest.fixture(scope="session")
def plan(installation: Installation) -> Plan:
    """That of the example, which is what the manifests describe."""
    return installation.plan()
