"""What assets hand to each other."""

from pathlib import Path

import dagster as dg
import pytest

from imgsearch_assets.references import Built, Change, ReferenceIOManager, Snapshot, of_one_snapshot
from serving.errors import Conflict, NotFound, Unverified
from serving.object_store import LocalObjectStore


@pytest.fixture
def store(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


@dg.asset
def one() -> Snapshot:
    return Snapshot(id="s1", products=2, rejected=1)


@dg.asset
def two(one: Snapshot) -> Change:
    return Change(snapshot=one.id, key="k")


def test_a_reference_reaches_the_next_asset_as_json(store: LocalObjectStore) -> None:
    resources = {"io_manager": ReferenceIOManager(store)}
    first = dg.materialize([one, two], resources=resources)
    assert first.output_for_node("two") == Change(snapshot="s1", key="k")
    assert store.get("references/two/latest.json") == b'{\n "snapshot": "s1",\n "key": "k",\n "waived": []\n}'
    # Of another run, the latest.
    second = dg.materialize([one, two], selection=[two], resources=resources)
    assert second.output_for_node("two") == Change(snapshot="s1", key="k")


def test_an_asset_of_the_same_run_is_read_as_that_run_left_it(store: LocalObjectStore) -> None:
    manager = ReferenceIOManager(store)

    @dg.asset
    def meddled(one: Snapshot) -> Change:
        return Change(snapshot=one.id, key="k")

    class OtherRunComesBetween(ReferenceIOManager):
        def handle_output(self, context: dg.OutputContext, obj: Snapshot) -> None:
            super().handle_output(context, obj)
            other = dg.build_output_context(asset_key=context.asset_key, run_id="other")
            manager.handle_output(other, Snapshot(id="s2", products=0, rejected=0))

    resources = {"io_manager": OtherRunComesBetween(store)}
    done = dg.materialize([one, meddled], resources=resources)
    assert done.output_for_node("meddled") == Change(snapshot="s1", key="k")


def test_what_was_never_made_or_has_another_form_is_an_error(store: LocalObjectStore) -> None:
    resources = {"io_manager": ReferenceIOManager(store)}
    with pytest.raises(NotFound, match="one was never materialized; run the job refresh"):
        dg.materialize([one, two], selection=[two], resources=resources)
    store.put("references/one/latest.json", b'{"id": 1}')
    with pytest.raises(Unverified, match=r"references/one/latest\.json is no Snapshot; run the job refresh"):
        dg.materialize([one, two], selection=[two], resources=resources)


def test_snapshots_do_not_mix() -> None:
    a, b = Built(snapshot="s1", generation="g"), Built(snapshot="s2", generation="g")
    assert of_one_snapshot(a, a) == "s1"
    with pytest.raises(Conflict, match="belongs to snapshots s1, s2; run the job again"):
        of_one_snapshot(a, b)
