"""A release that is watched: live on trial, until those who serve it say that it is served well.

Else it goes back by itself. Whoever is killed in between leaves the trial in the pointer, and whoever
releases the same generation next goes on with it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from imgsearch_assets.environment import PRODUCTION, Environment
from imgsearch_assets.features.rows import fill_for_generation
from imgsearch_assets.gates.sanity import complete
from imgsearch_assets.release.publish import follow_in_milvus, publish, rollback
from imgsearch_assets.release.replay_report import Report, recorded_queries, replay
from imgsearch_assets.trial.golden import keep_golden
from imgsearch_assets.trial.witnesses import Heard
from serving.errors import BadSettings, Conflict, NotFound, Unavailable, Unverified
from serving.index.store import (
    Pointer,
    PointerAt,
    Release,
    end_trial,
    left_by,
    read_manifest,
    read_pointer,
)
from serving.object_store import ObjectStore

# The gate of a promotion, as a waiver names it.
REPLAY = "replay_overlap"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Released:
    """The pointer as it is now, how that was verified in words, and what was heard, if anybody was asked."""

    pointer: Pointer
    verified: str
    heard: Heard | None = None


@dataclass(frozen=True)
class Candidate:
    """What ``source`` has live, to be promoted; ``report`` is None where there is nothing to compare with."""

    source: str
    generation: str
    report: Report | None


def release(
    store: ObjectStore,
    environment: Environment,
    name: str,
    generation: str,
    who: str,
    why: str,
    waive: frozenset[str] = frozenset(),
    seen: PointerAt | None = None,
    agree: Callable[[], object] = lambda: None,
) -> Released:
    """Make a generation live in the environment ``name``, and leave it so if its witnesses agree.

    One that is live and on trial is verified, not published again. ``agree`` as ``point``'s. Raises as
    ``publish``; ``Unverified`` too when it was taken back, ``Conflict`` when another publisher moved the
    pointer meanwhile, which is left.
    """
    witnesses = environment.witnesses(name)
    on_trial = witnesses.search_address is not None
    seen = seen or read_pointer(store, name)
    before = seen.pointer
    pointer = publish(store, name, generation, who, why, waive, on_trial, seen, agree)
    _follow(store, environment, name)
    live = pointer.live
    if not live.on_trial:
        return Released(pointer, "it was live already" if pointer == before else _nobody(name))
    manifest = read_manifest(store, generation, live.manifest_sha256)
    try:
        heard = witnesses.hear(
            generation, lambda: keep_golden(store, manifest), lambda: _still_live(store, name, live)
        )
        ended = end_trial(store, name, live)
        return Released(ended, _nobody(name) if heard is None else _said(heard), heard)
    except Unverified as error:
        raise _taken_back(store, environment, name, pointer, who, error) from error


def candidate(store: ObjectStore, environment: Environment, source: str, to: str) -> Candidate:
    """What is live in ``source``, compared with what is live in ``to``.

    Raises ``NotFound`` when nothing is, ``Conflict`` while it is on trial there.
    """
    staged, live = read_pointer(store, source).pointer, read_pointer(store, to).pointer
    if staged is None:
        raise NotFound(f"nothing was ever released in {source}")
    generation = staged.live.generation
    if staged.live.on_trial:
        raise Conflict(_on_trial(generation, source))
    if live is None or live.live.generation == generation:
        return Candidate(source, generation, None)
    recorded = recorded_queries(environment.pipeline.replay_queries)
    return Candidate(source, generation, replay(store, live.live.generation, generation, recorded))


def promote(
    store: ObjectStore,
    environment: Environment,
    found: Candidate,
    to: str,
    who: str,
    why: str,
    waive: frozenset[str] = frozenset(),
) -> Released:
    """Make the very files of a candidate live in ``to``.

    Raises as ``release``, ``Unverified`` when too much of what is shown would change, and ``Conflict`` when
    the source has gone on, or back, since the candidate was looked up; ``Unavailable`` when the Redis of
    ``to`` is away, ``BadSettings`` when it refuses us.
    """
    _still_staged(store, found)
    wanted, report = environment.pipeline.replay_min_overlap, found.report
    if report is not None and report.overlap_at_10 < wanted and REPLAY not in waive:
        raise Unverified(
            f"generation {found.generation} stays out of {to}: {REPLAY}: overlap@10 with {report.before} is "
            f"{report.overlap_at_10:.3f}, at least {wanted:g} wanted; look at {report.page_key}, and waive "
            f"{REPLAY} if that is meant"
        )
    _fill(store, environment, found.generation, to)
    return release(
        store, environment, to, found.generation, who, why, waive, agree=lambda: _still_staged(store, found)
    )


def _fill(store: ObjectStore, environment: Environment, generation: str, to: str) -> None:
    """Make the features complete in the Redis of ``to``, where that is another than the pipeline filled."""
    feature_store = environment.other_feature_store(to)
    if feature_store is None:
        return
    try:
        filled = fill_for_generation(feature_store, store, generation)
    except (Unavailable, BadSettings) as error:
        raise type(error)(f"IMGSEARCH_{to.upper()}_REDIS_URL: {error.message}") from error
    gate = complete(filled.wanted, filled.lacking)
    if not gate.passed:
        raise Unverified(f"generation {generation} stays out of {to}: {gate.name}: {gate.message}")


def _still_staged(store: ObjectStore, found: Candidate) -> None:
    """Raises ``Conflict`` when the source has something else live than the candidate, or has it on trial."""
    pointer = read_pointer(store, found.source).pointer
    if pointer is None:
        raise NotFound(f"nothing is released in {found.source} any more")
    live, wanted = pointer.live, found.generation
    if live.generation == wanted:
        if live.on_trial:
            raise Conflict(_on_trial(wanted, found.source))
        return
    left = left_by(pointer.history, wanted)
    how = "" if left is None else f" ({left.who} rolled back from {wanted}: {left.why})"
    raise Conflict(
        f"generation {wanted} is live in {found.source} no longer: {live.generation} is{how}; look at that "
        f"one and promote it, or release {wanted} in {found.source} again first"
    )


def _on_trial(generation: str, source: str) -> str:
    return f"generation {generation} is on trial in {source} still; promote it when that is over"


def _said(heard: Heard) -> str:
    count = len(heard.replicas)
    served = f"{count} of {count} search services serve it"
    if heard.smoke is None:
        return f"{served}; no public API is named to be asked"
    asked = heard.smoke.queries
    return f"{served}, {asked} of {asked} golden queries are answered rightly"


def _nobody(name: str) -> str:
    place = "PRODUCTION" if name == PRODUCTION else "STAGING"
    return f"nobody was asked: IMGSEARCH_{place}_SEARCH_ADDRESS is not set"


def _follow(store: ObjectStore, environment: Environment, name: str) -> None:
    follow_in_milvus(store, name, environment.serving, environment.pipeline.keep_generations)


def _still_live(store: ObjectStore, name: str, live: Release) -> None:
    """Raises ``Conflict`` when another release is."""
    pointer = read_pointer(store, name).pointer
    if pointer is None or pointer.live != live:
        now = "nothing" if pointer is None else f"generation {pointer.live.generation}"
        raise Conflict(
            f"generation {live.generation} was released in {name}, but {now} is live there by now: another "
            "publisher moved the pointer, which is left so"
        )


def _taken_back(
    store: ObjectStore,
    environment: Environment,
    name: str,
    pointer: Pointer,
    who: str,
    error: Unverified,
) -> Unverified | Conflict:
    """Goes back to what was live before; the error that says so, or why not."""
    generation = pointer.live.generation
    try:
        back = _back(store, name, pointer, who, f"taken back by itself: {error}")
    except Conflict as moved:
        return Conflict(
            f"generation {generation} is not served well in {name}: {error}; {moved}, which is left"
        )
    except (NotFound, Unverified) as none:
        return Unverified(
            f"generation {generation} stays live in {name} though it is not served well: {error}; it "
            f"cannot be taken back: {none}"
        )
    _follow(store, environment, name)
    return Unverified(
        f"generation {generation} was taken back from {name}, where {back.generation} is live again: "
        f"{error}; mend that, then release it once more"
    )


def _back(store: ObjectStore, name: str, pointer: Pointer, who: str, why: str) -> Release:
    """What was live before and is not on trial, whoever once left it; else the latest whole one."""
    proven = next((release for release in pointer.earlier if not release.on_trial), None)
    if proven is not None:
        try:
            to = proven.generation
            return rollback(store, name, who, why, to, leaving=pointer.live).live
        except (NotFound, Unverified) as error:
            log.warning("%s", error)
    return rollback(store, name, who, why, leaving=pointer.live).live
