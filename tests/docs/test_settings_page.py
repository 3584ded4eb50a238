"""Every setting is in docs/settings.md, as it is in the code."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_fresh() -> None:
    generate = runpy.run_path(str(DOCS / "generate.py"))
    assert (DOCS / "settings.md").read_text() == generate["settings_page"](), "run `make docs`"


def test_every_setting_says_what_it_is_for() -> None:
    rows = [
        line for line in (DOCS / "settings.md").read_text().splitlines() if line.startswith("| `IMGSEARCH_")
    ]
    assert rows
    assert [row for row in rows if row.endswith("|  |")] == []
