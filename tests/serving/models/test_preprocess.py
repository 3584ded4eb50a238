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


IMAGENET = {"mean": (123.7, 116.3, 103.5), "scale": (58.4, 57.1, 57.4)}


def test_each_channel_has_its_own_mean_and_scale() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (224, 224, 3), np.uint8)
    found = Preprocessing(**IMAGENET).apply([picture])[0].permute(1, 2, 0).numpy()
    expected = (picture - np.array(IMAGENET["mean"])) / np.array(IMAGENET["scale"])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_three_equal_channels_are_as_one() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (50, 70, 3), np.uint8)
    three = Preprocessing(mean=(127.0,) * 3, scale=(128.0,) * 3)
    assert torch.equal(three.apply([picture]), Preprocessing().apply([picture]))


def test_bicubic_is_pillows() -> None:
    picture = np.random.default_rng(4).integers(0, 256, (360, 500, 3), np.uint8)
    theirs = np.asarray(Image.fromarray(picture).resize((256, 256), Image.Resampling.BICUBIC))
    ours = Preprocessing(resample="bicubic", size=256).pixels([picture])[0].permute(1, 2, 0).numpy()
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300))
def test_cropping_keeps_proportions_and_the_middle(height: int, width: int) -> None:
    # A ramp along the longer side: what is seen of it is symmetric about its middle.
    longer = max(height, width)
    ramp = np.linspace(0, 255, longer).astype(np.uint8)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:] = ramp[:height, None, None] if height > width else ramp[None, :width, None]
    seen = Preprocessing(fit="crop", size=32).pixels([picture])
    assert seen.shape == (1, 3, 32, 32)
    first, last = int(seen[0, 0, 0, 0]), int(seen[0, 0, -1, -1])
    if longer > 1:
        assert abs((first + last) / 2 - 127) <= 255 / longer + 255 / 32 + 2
    # No more of the ramp is seen than the square's share of the picture.
    assert last - first <= 255 * min(height, width) / longer + 510 / longer + 2


def test_cropping_is_what_torchvision_does() -> None:
    picture = np.random.default_rng(5).integers(0, 256, (331, 500, 3), np.uint8)
    width = 224 * 500 // 331
    whole = Image.fromarray(picture).resize((width, 224), Image.Resampling.BICUBIC)
    left = (width - 224) // 2
    theirs = np.asarray(whole.crop((left, 0, left + 224, 224)))
    ours = Preprocessing(resample="bicubic", fit="crop").pixels([picture])[0].permute(1, 2, 0).numpy()
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_an_example_is_always_the_same() -> None:
    example = Preprocessing(size=96).example()
    assert (example.dtype, example.shape) == (torch.uint8, (1, 3, 96, 96))
    assert torch.equal(example, Preprocessing(size=96).example())
    assert example.unique().numel() > 200


def test_every_parameter_changes_the_fingerprint() -> None:
    made = [
        Preprocessing(),
        Preprocessing(fit="crop"),
        Preprocessing(resample="bicubic"),
        Preprocessing(mean=126.0),
        Preprocessing(scale=127.0),
        Preprocessing(**IMAGENET),
        Preprocessing(mean=(103.5, 116.3, 123.7), scale=IMAGENET["scale"]),
    ]
    assert len({one.fingerprint for one in made}) == len(made)
    again = [Preprocessing.model_validate_json(one.model_dump_json()) for one in made]
    assert [one.fingerprint for one in again] == [one.fingerprint for one in made]


@pytest.mark.parametrize(
    "wrong", [{"scale": 0.0}, {"scale": (1.0, -1.0, 1.0)}, {"mean": (1.0, 2.0)}, {"size": 0}, {"fit": "pad"}]
)
def test_what_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(ValidationError):
        Preprocessing(**wrong)
