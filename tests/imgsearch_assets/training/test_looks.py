from pathlib import Path

import torch

from imgsearch_assets.datasets.scenes import Drawn
from imgsearch_assets.models.shipped import imagenet_backbone
from imgsearch_assets.training import looks
from imgsearch_assets.training.looks import look
from serving.models.backbone import Backbone
from serving.models.network import fill
from serving.models.preprocess import Preprocessing


def test_looks_are_what_the_backbone_sees_and_are_kept(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(looks, "_CHUNK", 4)
    scenes = Drawn(seed=5, first=0, count=6)
    seen = look(scenes, tmp_path, "looking")
    assert [tuple(one.shape) for one in seen.maps] == [(6, 28, 28, 40), (6, 14, 14, 112), (6, 7, 7, 320)]
    assert seen.truth == [scenes.scene(i)[1] for i in range(6)]

    network = Backbone()
    weights = imagenet_backbone().items()
    maps = {key.removeprefix("maps."): value for key, value in weights if key.startswith("maps.")}
    fill(network, maps, torch.device("cpu"))
    with torch.inference_mode():
        taps = network(Preprocessing().apply([scenes.scene(5)[0]]))
    ours = seen.taps(slice(5, 6))
    for one, other in ((taps.fine, ours.fine), (taps.middle, ours.middle), (taps.coarse, ours.coarse)):
        assert torch.allclose(one, other, rtol=2e-3, atol=1e-2)  # half precision

    # A killed training looks at the part that it lacks, and sees the same.
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    files[1].unlink()
    again = look(scenes, tmp_path, "looking")
    assert all(torch.equal(one, other) for one, other in zip(seen.maps, again.maps, strict=True))
    assert again.truth == seen.truth
