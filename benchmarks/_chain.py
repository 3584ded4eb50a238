"""Five assets that do nothing, one after the other. Imports what a process of the pipeline's steps would."""

import dagster as dg

import imgsearch_assets.definitions  # noqa: F401

LINKS = 5
_PRELOADED = {"start_method": {"forkserver": {"preload_modules": ["benchmarks._chain"]}}}
EXECUTORS: dict[str, dg.ExecutorDefinition] = {
    "in_process": dg.in_process_executor,
    "forkserver_preloaded": dg.multiprocess_executor.configured(_PRELOADED, "forkserver_preloaded"),
    "forkserver": dg.multiprocess_executor.configured({"start_method": {"forkserver": {}}}, "forkserver"),
    "spawn": dg.multiprocess_executor.configured({"start_method": {"spawn": {}}}, "spawn"),
}


def _link(number: int) -> dg.AssetsDefinition:
    before = [dg.AssetKey(f"link_{number - 1}")] if number else []

    @dg.asset(name=f"link_{number}", deps=before)
    def link() -> None:
        """Nothing."""

    return link


def job(executor: str) -> dg.JobDefinition:
    """All of them by that one of ``EXECUTORS``."""
    links = [_link(number) for number in range(LINKS)]
    chain = dg.define_asset_job("chain", dg.AssetSelection.all(), executor_def=EXECUTORS[executor])
    return dg.Definitions(assets=links, jobs=[chain]).resolve_job_def("chain")
