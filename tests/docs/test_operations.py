"""Whatever operators can be told has its section in docs/operations.md, and its links lead somewhere."""

import os
import re
import subprocess
from pathlib import Path

import dagster as dg
import pytest
import typer

from imgsearch_assets.alerting.alerts import RUNBOOK, Alert, Kind, Trouble, anchor, section
from imgsearch_assets.cli import app
from imgsearch_assets.definitions import build_definitions
from imgsearch_assets.environment import read_environment

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / RUNBOOK).read_text()
HEADINGS = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def alerts() -> set[str]:
    """The section of every alert that the code can send."""
    graph = build_definitions(read_environment()).resolve_asset_graph()
    with_policy = [node.key for node in graph.asset_nodes if node.freshness_policy_or_from_metadata]
    gates = [key for key in graph.asset_check_keys if graph.get_check_spec(key).blocking]
    found = {section(Kind.LATE, key.to_user_string()) for key in with_policy}
    found |= {section(Kind.GATE, f"{key.asset_key.to_user_string()}/{key.name}") for key in gates}
    assert len(found) > 8
    return found | {section(kind, "") for kind in (Kind.FAILED, Kind.STOCK, Kind.CATALOGUE)}


def test_every_alert_has_its_section(alerts: set[str]) -> None:
    assert alerts - {heading.replace("`", "") for heading in HEADINGS} == set(), f"write it in {RUNBOOK}"


def test_the_link_of_an_alert_is_that_of_its_section(alerts: set[str]) -> None:
    anchors = {anchor(heading) for heading in HEADINGS}
    assert len(anchors) == len(HEADINGS), "two sections of one name"
    for kind in Kind:
        trouble = Trouble(kind, "ann_index/unit_norms" if kind is Kind.GATE else "ann_index", "")
        assert Alert("begun", trouble, 0, 0, "local").runbook.removeprefix(f"{RUNBOOK}#") in anchors


def test_links_within_the_page_lead_somewhere() -> None:
    anchors = {anchor(heading) for heading in HEADINGS}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) - anchors == set()


def test_every_kind_is_described() -> None:
    assert [kind for kind in Kind if f"| `{kind}` |" not in PAGE] == []


def test_its_commands_and_their_options_exist() -> None:
    found = re.findall(r"imgsearch ((?:[a-z]+ ?)+)((?: ?(?:--)?[^`\n|;]+)?)", _commands())
    assert len(found) > 20
    for words, rest in found:
        command, left = typer.main.get_command(app), words.split()
        while left and isinstance(command, typer.core.TyperGroup):
            command = command.commands[left.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, f"imgsearch {words}{rest}"


def test_the_home_of_dagster_is_made_as_it_says(tmp_path: Path) -> None:
    section = PAGE.partition("\n## Rebuild from nothing\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.+?)```", section, re.DOTALL)
    made, last = block.rsplit("\n", 2)[:2]
    assert last == "dagster dev -w workspace.yaml"
    told = os.environ | {"HOME_DIR": str(tmp_path / "new")}
    subprocess.run(["bash", "-euc", made], cwd=ROOT, env=told, check=True)
    home = tmp_path / "new" / "dagster"
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert type(instance.run_launcher).__name__ == "LocalRunLauncher"


def _commands() -> str:
    """What stands between backticks, over the end of a line too, or is a line of a block."""
    inline = re.findall(r"`(imgsearch [^`]+)`", PAGE)
    blocks = re.findall(r"^imgsearch .+$", PAGE, re.MULTILINE)
    return "\n".join(" ".join(one.split()) for one in inline + blocks)
