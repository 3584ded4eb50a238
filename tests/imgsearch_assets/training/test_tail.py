import torch

from imgsearch_assets.training.described import trunk_engine
from imgsearch_assets.training.tail import early_engine, tail


def test_early_and_tail_say_what_the_trunk_says() -> None:
    x = torch.randint(0, 256, (3, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    early, whole = early_engine()(x), trunk_engine()(x)
    assert isinstance(early, torch.Tensor)
    assert isinstance(whole, torch.Tensor)
    assert early.shape == (3, 9560)
    with torch.inference_mode():
        torch.testing.assert_close(tail()(early), whole, atol=1e-4, rtol=1e-3)
