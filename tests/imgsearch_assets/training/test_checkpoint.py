"""Training state: exact there and back, whole or not at all, and a kill that changes nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imgsearch_assets.training.checkpoint import (
    Checkpoint,
    clear_parts,
    fingerprint,
    packed,
    sha256_of,
    unpacked,
)
from serving.errors import BadSettings

# What a trainer does, on as little as there is: one run writes a checkpoint every step and prints it.
TRAINER = """
import sys
from pathlib import Path
import numpy as np, torch
from torch import nn
from imgsearch_assets.training.checkpoint import Checkpoint, packed, sha256_of, unpacked

torch.set_num_threads(1)
checkpoint = Checkpoint(Path(sys.argv[1]), {"seed": 3})
torch.manual_seed(3)
order, noise = torch.Generator().manual_seed(5), np.random.default_rng(7)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=40)
rows = torch.arange(64 * 8).reshape(64, 8).sin()
saved = checkpoint.latest()
first = 0
if saved:
    first = saved.step
    state = unpacked(saved.tensors, saved.state)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    rate.load_state_dict(state["rate"])
    order.set_state(state["order"])
    noise.bit_generator.state = state["noise"]
for step in range(first + 1, 41):
    batch = rows[torch.randperm(64, generator=order)[:16]]
    batch = batch + torch.from_numpy(noise.normal(size=(16, 8))).float()
    loss = model(batch).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    rate.step()
    checkpoint.save(step, *packed({
        "model": model.state_dict(), "optimiser": optimiser.state_dict(), "rate": rate.state_dict(),
        "order": order.get_state(), "noise": noise.bit_generator.state,
    }))
    print(step, flush=True)
print(sha256_of(model.state_dict()))
"""


def trainer(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.timeout(300)  # three processes; on a busy machine they take their time to start
def test_a_killed_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    with trainer(tmp_path / "unbroken") as whole:
        unbroken = whole.communicate()[0].split()
    assert unbroken[:-1] == [str(step) for step in range(1, 41)]

    with trainer(tmp_path / "killed") as killed:
        assert killed.stdout
        for line in killed.stdout:
            if line == "17\n":
                os.kill(killed.pid, signal.SIGKILL)
                break
    assert killed.returncode == -signal.SIGKILL
    with trainer(tmp_path / "killed") as resumed:
        rest = resumed.communicate()[0].split()
    assert int(rest[0]) >= 18
    assert rest[-1] == unbroken[-1]


def test_state_comes_back_exactly(tmp_path: Path) -> None:
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1 + 0.2, betas=(0.9, 0.95))
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 7)
    rng = np.random.default_rng(0)
    model(torch.ones(1, 3, 4, 4)).sum().backward()
    optimiser.step()
    rate.step()
    parts = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "rate": rate.state_dict(),
        "numpy": rng.bit_generator.state,
        "torch": torch.get_rng_state(),
        "shared": [model.weight, model.weight],
    }
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save(1, *packed(parts))
    saved = checkpoint.latest()
    assert saved is not None
    back = unpacked(saved.tensors, saved.state)
    assert back["optimiser"]["param_groups"] == optimiser.state_dict()["param_groups"]
    assert list(back["optimiser"]["state"]) == [0, 1]
    for number, kept in optimiser.state_dict()["state"].items():
        assert all(torch.equal(value, back["optimiser"]["state"][number][key]) for key, value in kept.items())
    assert back["rate"] == rate.state_dict()
    assert back["numpy"] == rng.bit_generator.state
    assert torch.equal(back["torch"], parts["torch"])
    assert sha256_of(back["model"]) == sha256_of(model.state_dict())


def test_what_a_checkpoint_does_not_hold_is_said() -> None:
    with pytest.raises(TypeError, match=r"rate\.lambda is a function, which a checkpoint does not hold"):
        packed({"rate": {"lambda": test_what_a_checkpoint_does_not_hold_is_said}})


def test_two_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.latest() is None
    for step in (1, 2, 10):
        checkpoint.save(step, {"x": torch.full((2,), float(step))}, {"step": step})
    assert len(list(tmp_path.iterdir())) == 2
    saved = checkpoint.latest()
    assert saved is not None
    assert (saved.step, saved.state, saved.tensors["x"].tolist()) == (10, {"step": 10}, [10, 10])


@pytest.mark.parametrize("damage", ["flipped", "short", "empty"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, damage: str) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save(1, {"x": torch.zeros(2)}, {})
    newest = checkpoint.save(2, {"x": torch.ones(2)}, {})
    content = bytearray(newest.read_bytes())
    if damage == "flipped":
        content[-1] ^= 1
    newest.write_bytes({"flipped": content, "short": content[:-3], "empty": b""}[damage])
    with pytest.warns(
        UserWarning, match="is damaged .it does not hash to its name.; the one before it is used"
    ):
        saved = checkpoint.latest()
    assert saved is not None
    assert saved.step == 1


def test_half_a_file_of_a_killed_process_is_nothing(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    (tmp_path / "0000000007.0123456789abcdef.safetensors.partial").write_bytes(b"half")
    assert checkpoint.latest() is None
    checkpoint.save(1, {}, {})
    checkpoint.clear()
    assert not list(tmp_path.iterdir())


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    Checkpoint(tmp_path, {"seed": 0, "data": "a", "sizes": (1, 2)}).save(1, {}, {})
    assert Checkpoint(tmp_path, {"sizes": (1, 2), "data": "a", "seed": 0}).latest() is not None
    with pytest.raises(BadSettings) as refused:
        Checkpoint(tmp_path, {"seed": 0, "data": "b", "sizes": (1, 2)}).latest()
    assert str(refused.value) == (
        f'the training in {tmp_path} was begun with data = "a", not "b"; '
        "choose another folder with --out, or begin anew with --restart"
    )


def test_a_fingerprint_is_of_the_content() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})


def test_only_what_is_its_own_is_forgotten(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, {})
    checkpoint.save(1, {"a": torch.ones(1)}, {})
    parts = tmp_path / "items"
    parts.mkdir()
    own = parts / f"{'0' * 16}.0000128.json"
    for path in (own, parts / "mine.txt", tmp_path / "2024.notes.safetensors"):
        path.write_text("{}")
    checkpoint.clear()
    clear_parts(parts)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"items/mine.txt", "2024.notes.safetensors"}
    (parts / "mine.txt").unlink()
    own.write_text("{}")
    clear_parts(parts)
    assert not parts.exists()
    clear_parts(parts)
