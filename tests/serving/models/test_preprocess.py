import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pydantic import ValidationError

from serving.models.preprocess import Preprocessing

picture = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda size: arrays(np.uint8, (*size, 3), elements=st.integers(0, 255))
)


@settings(max_examples=30, deadline=None)
@given(st.lists(picture, min_size=1, max_size=4))
def test_a_picture_becomes_the_same_input_in_any_company(pictures) -> None:
    together = Preprocessing().apply(pictures)
    alone = torch.cat([Preprocessing().apply([one]) for one in pictures])
    assert torch.equal(together, alone)
    assert together.shape == (len(pictures), 3, 224, 224)
    assert together.is_contiguous(memory_format=torch.channels_last)
    assert -1 <= together.min() <= together.max() <= 1


def test_values_are_those_the_weights_were_trained_with() -> None:
    grey = np.full((224, 224, 3), 127, np.uint8)
    white = np.full((300, 100, 3), 255, np.uint8)
    x = Preprocessing().apply([grey, white])
    assert x[0].unique().tolist() == [0.0]
    assert x[1].unique().tolist() == [1.0]


def test_a_view_that_is_not_contiguous_is_read_right() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    view = picture[10:50, 20:70]
    for same in (view, picture[::-1][10:50, 20:70][::-1][:, ::-1][:, ::-1]):
        assert torch.equal(Preprocessing().apply([same]), Preprocessing().apply([view.copy()]))


def test_shrinking_averages_as_pillow_does() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (360, 500, 3), np.uint8)
    picture.flags.writeable = False
    theirs = np.asarray(Image.fromarray(picture).resize((224, 224), Image.Resampling.BILINEAR))
    ours = Preprocessing().pixels([picture])[0].permute(1, 2, 0).numpy()
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_no_pictures() -> None:
    assert Preprocessing().apply([]).shape == (0, 3, 224, 224)


def test_the_fingerprint_names_every_parameter() -> None:
    assert Preprocessing().fingerprint == Preprocessing().fingerprint
    assert Preprocessing(size=256).fingerprint != Preprocessing().fingerprint
    with pytest.raises(ValidationError):
        Preprocessing.model_validate({"sise": 224})
