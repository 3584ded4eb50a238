"""A run that does nothing but write to Dagster's records, in a process of its own."""

from collections.abc import Mapping
from multiprocessing.process import BaseProcess

import dagster as dg

from tests.forked import fork

ASSETS, POOL = 10, "gpu"


def _asset(number: int) -> dg.AssetsDefinition:
    @dg.asset(name=f"busy_{number}", pool=None if number else POOL)
    def busy() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"number": number})

    return busy


def start(environment: Mapping[str, str]) -> BaseProcess:
    return fork(environment, _run)


def _run() -> None:
    with dg.DagsterInstance.get() as instance:
        dg.materialize([_asset(number) for number in range(ASSETS)], instance=instance)
