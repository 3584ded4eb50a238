"""Training that survives being killed: all of its state in one file, written whole or not at all.

A checkpoint is ``<step>.<hash>.safetensors``: the tensors, and everything else as JSON in the metadata of the
file. The name carries the hash of the content, so a damaged file is known for what it is. Nothing is pickled.

    checkpoint = Checkpoint(folder, configuration)
    saved = checkpoint.latest()  # refused where it is of another configuration
    if saved:
        state = unpacked(saved.tensors, saved.state)
        optimiser.load_state_dict(state["optimiser"])
    ...
    checkpoint.save(step, *packed({"optimiser": optimiser.state_dict(), "rng": rng.bit_generator.state}))
"""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from serving.errors import BadSettings

Json = Any  # what the json module reads and writes

_CHECKPOINT = r"\d{10}\.[0-9a-f]+\.safetensors"
_PART = r"[^.]+\.\d{7}\.(safetensors|json)"
_SUFFIX = r"\.partial"

_KEPT = 2  # the newest, and the one before should the newest turn out damaged
# The only key of the metadata: with several, safetensors writes them in an order of its own each time.
_KEY = "checkpoint"


@dataclass(frozen=True)
class Saved:
    """A training as it stood after ``step``."""

    step: int
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Json]


class Checkpoint:
    """The checkpoints of one training, in ``folder``.

    ``configuration`` is whatever decides the outcome: options, seed, version of the data.
    """

    def __init__(self, folder: Path, configuration: Mapping[str, Json] | None = None) -> None:
        self.folder = folder
        self.configuration = json.loads(json.dumps(dict(configuration or {})))

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Json]) -> Path:
        """Write a checkpoint, on the disk when this returns; older ones go but for one."""
        head = {"step": step, "configuration": self.configuration, "state": state}
        flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        content = safetensors.torch.save(flat, {_KEY: json.dumps(head, sort_keys=True)})
        target = self.folder / f"{step:010d}.{_hash(content)}.safetensors"
        write_whole(target, content)
        for old in [one for one in self._files() if one != target][_KEPT - 1 :]:
            old.unlink(missing_ok=True)
        return target

    def latest(self) -> Saved | None:
        """The newest checkpoint that is whole; a damaged one is passed over with a warning.

        Raises ``BadSettings`` where it belongs to another configuration.
        """
        for path in self._files():
            try:
                found = _read(path)
            except ValueError as error:
                warnings.warn(f"{path} is damaged ({error}); the one before it is used", stacklevel=2)
                continue
            self._check(found[0])
            return Saved(found[0]["step"], found[1], found[0]["state"])
        return None

    def newest(self) -> int:
        """The step of the newest checkpoint, whole or not, of any configuration; 0 where there is none."""
        return max((int(path.name.partition(".")[0]) for path in self._files()), default=0)

    def clear(self) -> None:
        """Forget every checkpoint of the folder: what ``--restart`` asks for."""
        for path in self._files(f"({_SUFFIX})?"):
            path.unlink(missing_ok=True)

    def _files(self, ending: str = "") -> list[Path]:
        """The newest first. Nothing that somebody else keeps there."""
        return sorted(_matching(self.folder, _CHECKPOINT + ending), reverse=True)

    def _check(self, head: Mapping[str, Json]) -> None:
        before, now = head["configuration"], self.configuration
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                raise BadSettings(
                    f"the training in {self.folder} was begun with {key} = {json.dumps(before.get(key))}, "
                    f"not {json.dumps(now.get(key))}; choose another folder with --out, or begin anew with "
                    "--restart"
                )


def clear_parts(folder: Path) -> None:
    """Remove what was kept in parts (``<mark>.<7 digits>.*``), and the folder if that was all."""
    for path in _matching(folder, f"{_PART}({_SUFFIX})?"):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _matching(folder: Path, pattern: str) -> list[Path]:
    there = folder.iterdir() if folder.is_dir() else iter(())
    return [path for path in there if re.fullmatch(pattern, path.name)]


def write_whole(path: Path, content: bytes) -> None:
    """Put ``content`` on the disk under that name; a kill at any moment leaves all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)  # a name is on the disk only once its folder is
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def fingerprint(configuration: Mapping[str, Json]) -> str:
    """16 hex digits, equal exactly for equal configurations."""
    return hashlib.sha256(json.dumps(dict(configuration), sort_keys=True).encode()).hexdigest()[:16]


def packed(parts: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Json]]:
    """Nested dictionaries, lists, tuples, tensors and plain values, taken apart into tensors and JSON.

    Takes what ``state_dict()`` of modules, optimisers and schedulers gives, a torch generator's
    ``get_state()`` and numpy's ``bit_generator.state``; ``unpacked`` gives back exactly the same. Raises
    ``TypeError`` for anything else.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, {name: _pack(value, name, tensors) for name, value in parts.items()}


def unpacked(tensors: Mapping[str, Tensor], state: Mapping[str, Json]) -> dict[str, Any]:
    """What was ``packed``."""
    return {name: _unpack(value, tensors) for name, value in state.items()}


def sha256_of(tensors: Mapping[str, Tensor]) -> str:
    """The hash of weights as they are shipped: of their safetensors file."""
    return hashlib.sha256(
        safetensors.torch.save({name: one.detach().cpu().contiguous() for name, one in tensors.items()})
    ).hexdigest()


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Json:
    match value:
        case Tensor():
            tensors[name] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            return {"__tensor__": name}
        case None | bool() | int() | float() | str():
            return value
        case tuple():
            return {"__tuple__": [_pack(one, f"{name}.{i}", tensors) for i, one in enumerate(value)]}
        case list():
            return [_pack(one, f"{name}.{i}", tensors) for i, one in enumerate(value)]
        case Mapping() if all(isinstance(key, str) for key in value):
            return {key: _pack(one, f"{name}.{key}", tensors) for key, one in value.items()}
        case Mapping():  # an optimiser counts its parameters; JSON has no such keys
            return {"__items__": [[key, _pack(one, f"{name}.{key}", tensors)] for key, one in value.items()]}
    raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint does not hold")


def _unpack(value: Json, tensors: Mapping[str, Tensor]) -> Any:
    match value:
        case list():
            return [_unpack(one, tensors) for one in value]
        case {"__tensor__": name}:
            return tensors[name]
        case {"__tuple__": parts}:
            return tuple(_unpack(one, tensors) for one in parts)
        case {"__items__": pairs}:
            return {key: _unpack(one, tensors) for key, one in pairs}
        case dict():
            return {key: _unpack(one, tensors) for key, one in value.items()}
    return value


def _read(path: Path) -> tuple[dict[str, Json], dict[str, Tensor]]:
    """Head and tensors. Raises ``ValueError`` for a file that is not what its name says."""
    content = path.read_bytes()
    if path.name.split(".")[1] != _hash(content):
        raise ValueError("it does not hash to its name")
    size = int.from_bytes(content[:8], "little")
    head = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][_KEY])
    return head, safetensors.torch.load(content)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
