from serving.models.bundle import Block, Card, Text
from serving.models.card_text import model_card
from serving.models.preprocess import Preprocessing


def card(**fields) -> Card:
    weights = {"weights_sha256": "ab" * 32, "weights_size_bytes": 1_500_000}
    return Card(name="embedder", preprocessing=Preprocessing(), **weights, **fields)


def test_a_person_reads_what_the_card_says() -> None:
    one = card(
        dim=12,
        blocks=(Block(dim=8), Block(dim=4, weight=0.5)),
        text=Text(),
        metrics={"recall_at_1": 0.61234, "map_at_10": 0.5},
        training={"seed": 3, "note": "a|b\nc"},
        dataset="d1",
        split="s1",
    )
    lines = model_card(one).splitlines()
    for expected in (
        "# embedder",
        f"| version | `{one.version}` |",
        "| architecture | `efficientnet_lite0` |",
        "| gives | 12 numbers, unit length: 8 of weight 1, 4 of weight 0.5 |",
        "| reads text | yes, 77 CLIP's own tokens |",
        "| data set | `d1` |",
        "| held-out split | `s1` |",
        "| recall_at_1 | 0.6123 |",
        "| seed | 3 |",
        "| note | a\\|b c |",
        f"| weights | 1.5 MB, sha256 `{'ab' * 32}` |",
    ):
        assert expected in lines
    assert "must not be used for that" in lines[-1]


def test_what_nobody_said_is_said_to_be_so() -> None:
    text = model_card(card(categories=("hat", "shoe")))
    assert "| gives | boxes of hat, shoe |" in text
    assert "| data set | not said |" in text
    assert text.count("Nothing is recorded.") == 2
    assert "missed or called by another's name" in text


def test_every_field_of_a_card_is_for_people_too() -> None:
    """A field that is added to the card is decided on here."""
    shown = {"name", "architecture", "preprocessing", "categories", "dim", "blocks", "text", "metrics"}
    shown |= {"training", "dataset", "split", "weights_sha256", "weights_size_bytes"}
    assert set(Card.model_fields) == shown | {"format"}
