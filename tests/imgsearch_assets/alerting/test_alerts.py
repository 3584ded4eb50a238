"""How an alert reads."""

import pytest

from imgsearch_assets.alerting.alerts import Alert, Kind, Trouble, anchor, duration, section

LATE = Trouble(
    Kind.LATE,
    "ann_index",
    "ann_index is late",
    {"age": "31 h", "promise": "made anew within 30 h", "held_up_by": "product_images: <no> & disk"},
    "0a1b2c3d-run",
)
HERE = ("production", "http://dagster")


def test_as_a_line() -> None:
    assert Alert("begun", LATE, 0, 0, *HERE).text() == (
        "[production] ann_index is late; age: 31 h; promise: made anew within 30 h; "
        "held up by: product_images: <no> & disk; run: http://dagster/runs/0a1b2c3d-run; "
        "see docs/operations.md#late-ann_index"
    )
    assert "run: 0a1b2c3d-run;" in Alert("begun", LATE, 0, 0, "local").text()


def test_as_json() -> None:
    assert Alert("begun", LATE, 1_800_000_000.25, 1_800_000_060, *HERE).json() == {
        "version": 1,
        "id": "late/ann_index@1800000000.250/begun",
        "event": "begun",
        "kind": "late",
        "subject": "ann_index",
        "environment": "production",
        "title": "ann_index is late",
        "facts": dict(LATE.facts),
        "since": "2027-01-15T08:00:00+00:00",
        "at": "2027-01-15T08:01:00+00:00",
        "run_id": "0a1b2c3d-run",
        "run_url": "http://dagster/runs/0a1b2c3d-run",
        "runbook": "docs/operations.md#late-ann_index",
    }


def test_for_slack() -> None:
    assert Alert("begun", LATE, 0, 0, *HERE).slack() == {
        "text": "[production] ann_index is late",
        "blocks": [
            {
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": ":rotating_light: *[production] ann_index is late*\n*age*  31 h\n"
                    "*promise*  made anew within 30 h\n"
                    "*held up by*  product_images: &lt;no&gt; &amp; disk",
                },
            },
            {
                "type": "context",
                "elements": [
                    {
                        "type": "mrkdwn",
                        "text": "<http://dagster/runs/0a1b2c3d-run|run 0a1b2c3d>  ·  "
                        "docs/operations.md#late-ann_index",
                    }
                ],
            },
        ],
    }


def test_the_runbook_is_a_link_where_it_is_known_where_people_read_it() -> None:
    page = "https://git.example/docs/operations.md"
    alert = Alert("begun", LATE, 0, 0, *HERE, page)
    assert alert.json()["runbook"] == f"{page}#late-ann_index"
    (said,) = alert.slack()["blocks"][1]["elements"]
    assert said["text"] == (
        f"<http://dagster/runs/0a1b2c3d-run|run 0a1b2c3d>  ·  <{page}#late-ann_index|what to do>"
    )


def test_another_cause_is_a_message_of_its_own() -> None:
    changed = Alert.changed(LATE, 1.0, 2.5, *HERE)
    assert changed.json() | {"facts": {}} == Alert("begun", LATE, 1.0, 2.5, *HERE).json() | {
        "facts": {},
        "id": "late/ann_index@1.000/changed@2.500",
        "event": "changed",
        "title": "ann_index is late, now for another reason",
    }


def test_a_long_reason_is_cut_to_what_slack_takes() -> None:
    trouble = Trouble(
        Kind.FAILED, "ann_index", "a run failed", dict.fromkeys(("reason", "effect"), "<" * 5_000)
    )
    alert = Alert("begun", trouble, 0, 0, "local")
    assert len(alert.slack()["blocks"][0]["text"]["text"]) == 3_000
    assert len(alert.json()["facts"]["reason"]) == 600


@pytest.mark.parametrize(
    ("key", "title"),
    [
        ("late/ann_index", "ann_index is in time again"),
        ("gate/ann_index/unit_norms", "ann_index/unit_norms passes again"),
        ("failed/product_images", "product_images is made again"),
        ("stock/the stock", "the stock is followed again"),
        ("catalogue/the catalogue", "the catalogue can be read again"),
    ],
)
def test_that_it_is_over(key: str, title: str) -> None:
    alert = Alert.over(key, "run-1", 100, 7_360, "local", None)
    assert (alert.event, alert.trouble.key, alert.trouble.title) == ("over", key, title)
    assert alert.trouble.facts == {"lasted": "2 h 1 min"}
    assert alert.id == f"{key}@100.000/over"


def test_where_to_read_on() -> None:
    assert anchor(section(Kind.GATE, "ann_index/recall_at_10_vs_exact")) == "gate-recall_at_10_vs_exact"
    assert anchor("Late: `ann_index`") == "late-ann_index"
    assert anchor(section(Kind.FAILED, "ann_index")) == "run-failed"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "0 s"), (59, "59 s"), (60, "1 min"), (3_600, "1 h"), (111_900, "31 h 5 min")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
