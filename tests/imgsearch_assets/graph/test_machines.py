from imgsearch_assets.definitions import defs
from imgsearch_assets.graph.machines import MACHINES, machine_of


def test_every_asset_that_is_made_here_has_a_machine() -> None:
    assert {key.to_user_string() for key in defs.resolve_asset_graph().executable_asset_keys} == set(MACHINES)


def test_a_part_of_a_step_runs_where_the_step_runs() -> None:
    assert machine_of("item_embeddings") == machine_of("item_embeddings.embeddings_part[3]") == "gpu"
    assert machine_of("item_embeddings.embeddings_finish") == "cpu"
    assert machine_of("of_another_day") == "cpu"
