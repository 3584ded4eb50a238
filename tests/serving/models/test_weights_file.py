import io
import pickle

import pytest
import torch

from serving.errors import Unverified
from serving.models.weights_file import check, from_bytes, to_bytes


def test_what_is_written_is_read() -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "n": torch.tensor(3), "h": torch.ones(2).half()}
    found = from_bytes(to_bytes(tensors), "w")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert to_bytes(tensors) == to_bytes(dict(reversed(tensors.items())))


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("a pickle was opened",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_refused_unopened(protocol: int) -> None:
    with pytest.raises(Unverified, match=r"^w is a pickle, which can run code: convert it to safetensors$"):
        from_bytes(pickle.dumps(Harm(), protocol), "w")


def test_what_torch_saves_is_refused_unopened() -> None:
    for new in (True, False):
        sink = io.BytesIO()
        torch.save({"a": torch.ones(2)}, sink, _use_new_zipfile_serialization=new)
        with pytest.raises(Unverified, match="w is a pickle"):
            from_bytes(sink.getvalue(), "w")


@pytest.mark.parametrize("data", [b"", b"\x00", b"not weights at all", b"\xff" * 64])
def test_anything_else_is_no_safetensors_file(data: bytes) -> None:
    with pytest.raises(Unverified, match=r"^w is not a safetensors file$"):
        from_bytes(data, "w")


@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8, torch.bool, torch.complex64])
def test_an_odd_type_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(
        Unverified, match=r"^w: tensor 'odd' is \w+; weights are float32, float16 or bfloat16$"
    ):
        check({"fine": torch.ones(1), "odd": torch.ones(2).to(dtype)}, "w")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_value_that_is_no_number_is_refused(value: float, dtype: torch.dtype) -> None:
    weights = torch.ones(3, 4, dtype=dtype)
    weights[2, 1] = value
    with pytest.raises(Unverified, match=r"^w: tensor 'b' holds values that are NaN or infinite$"):
        check({"a": torch.ones(1), "b": weights}, "w")
