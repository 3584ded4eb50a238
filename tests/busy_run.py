"""A run that does nothing but write to Dagster's records, in a process of its own."""

import multiprocessing
import os
from collections.abc import Mapping
from multiprocessing.process import BaseProcess

import dagster as dg

ASSETS, POOL = 10, "gpu"

_PROCESSES = multiprocessing.get_context("forkserver")


def _asset(number: int) -> dg.AssetsDefinition:
    @dg.asset(name=f"busy_{number}", pool=None if number else POOL)
    def busy() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"number": number})

    return busy


def start(environment: Mapping[str, str]) -> BaseProcess:
    process = _PROCESSES.Process(target=_run, args=(dict(environment),))
    process.start()
    return process


def _run(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    with dg.DagsterInstance.get() as instance:
        dg.materialize([_asset(number) for number in range(ASSETS)], instance=instance)
