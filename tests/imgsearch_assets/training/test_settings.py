import pytest
from pydantic import ValidationError

from imgsearch_assets.training.settings import PRODUCTS, SCENES, EmbedderSettings, Source


def test_what_nobody_says_is_said_by_the_model() -> None:
    assert Source(model="detector").count == SCENES
    assert Source().count == PRODUCTS
    assert Source(drawn=7).count == 7
    assert EmbedderSettings().detector == "shipped"


@pytest.mark.parametrize("wrong", [{"drawn": 1}, {"held_out": 0}, {"held_out": 1.0}, {"model": "other"}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Source.model_validate(wrong)
