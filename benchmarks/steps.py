"""How long nothing happens between the steps of a run.

    python -m benchmarks.steps [--rounds 3] [--json]

A chain of five assets that do nothing, in an instance as ``dagster.yaml`` says, on SQLite, by each way to run
steps: in the process of the run, as the pipeline does (``imgsearch_assets/definitions.py``), or in one of its
own, started anew or forked from a server, which has the pipeline's modules loaded or not. A gap is from the
success of a step to the start of the next, as the log of events has them; ``median_gap_s`` is that of the
pipeline's own way. "first": from the start of the run to that of its first step. Turn by turn; medians of all
gaps, and of rounds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median

import dagster as dg

from benchmarks._chain import EXECUTORS, LINKS
from imgsearch_assets.definitions import defs
from imgsearch_assets.local.services import dagster_home

Events = dg.DagsterEventType
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def one_run(instance: dg.DagsterInstance, executor: str) -> tuple[float, list[float]]:
    """Seconds until the first step starts, and of each gap."""
    job = dg.build_reconstructable_job("benchmarks._chain", "job", (executor,))
    with dg.execute_job(job, instance, _QUIET, raise_on_error=True) as result:
        run_id = result.run_id
    kinds = {Events.RUN_START, Events.STEP_START, Events.STEP_SUCCESS}
    logged = [
        (entry.timestamp, entry.dagster_event.event_type)
        for entry in instance.all_logs(run_id)
        if entry.dagster_event is not None and entry.dagster_event.event_type in kinds
    ]
    whole = [Events.RUN_START, *[Events.STEP_START, Events.STEP_SUCCESS] * LINKS]
    if [kind for _, kind in logged] != whole:
        raise SystemExit(f"run {run_id} by {executor} has other events than those of {LINKS} steps in turn")
    (began, _), (first, _), *_ = logged
    gaps = [start - end for (end, kind), (start, _) in pairwise(logged[2:]) if kind == Events.STEP_SUCCESS]
    return first - began, gaps


def in_its_own_process(executor: str, home: Path) -> tuple[float, list[float]]:
    """``one_run`` in a new one: a server to fork from would be that of the way before."""
    command = [sys.executable, "-m", "benchmarks.steps", "--of", executor, str(home)]
    first, gaps = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return first, gaps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=tuple(EXECUTORS), default=list(EXECUTORS), help="ways")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--of", nargs=2, metavar=("EXECUTOR", "HOME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.of:
        executor, home = options.of
        dagster_home(Path(home))
        with dg.DagsterInstance.get() as instance:
            print(json.dumps(one_run(instance, executor)))
        return
    busy = os.getloadavg()[0]
    first: dict[str, list[float]] = {name: [] for name in options.only}
    gaps: dict[str, list[float]] = {name: [] for name in options.only}
    with tempfile.TemporaryDirectory(prefix="imgsearch-bench-") as folder:
        for number in range(options.rounds):
            for name in options.only:
                waited, found = in_its_own_process(name, Path(folder))
                first[name].append(waited)
                gaps[name] += found
                print(f"round {number + 1}: {name} {median(found):.3f} s", file=sys.stderr)
    print(f"\n{LINKS} steps in turn, {options.rounds} rounds")
    print(f"{'':<24}{'gap s':>8}{'longest':>9}{'first s':>9}")
    figures = {}
    for name in options.only:
        gap, longest, waited = median(gaps[name]), max(gaps[name]), median(first[name])
        print(f"{name:<24}{gap:>8.3f}{longest:>9.3f}{waited:>9.3f}")
        figures[name] = {
            "median_gap_s": round(gap, 3),
            "longest_gap_s": round(longest, 3),
            "first_s": round(waited, 3),
        }
    own = getattr(defs.executor, "name", None)  # the pipeline's
    if options.json:
        said = {"median_gap_s": figures[own]["median_gap_s"]} if own in figures else {}
        print(json.dumps({**said, **figures, "rounds": options.rounds, "load_before": round(busy, 1)}))


if __name__ == "__main__":
    main()
