import logging
import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serving.models.backbone import Backbone
from serving.models.engine import REDUCED_COSINE, Engine, make_engine
from serving.settings import EngineSettings

BY_TORCH = EngineSettings(engine="torch", precision="float32")
BY_DEFAULT = EngineSettings(engine="auto", precision="float32")
CPU = torch.device("cpu")


class Pooled(nn.Module):
    """A backbone with weights that keep the scale of what passes through, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.maps = Backbone()
        for parameter in self.maps.parameters():
            if parameter.dim() == 4:
                nn.init.kaiming_normal_(parameter)
            else:
                nn.init.zeros_(parameter)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        taps = self.maps(x)
        return F.normalize(taps.coarse.mean((2, 3))), taps.fine


class Unconvertible(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.lgamma(torch.special.i1e(x))


def normalised(pixels: Tensor) -> Tensor:
    return pixels.float().sub_(127.0).div_(128.0)


def pixels(rows: int, seed: int = 0) -> Tensor:
    shape = (rows, 3, 64, 64)
    made = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return made.contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def by_torch() -> Engine:
    return make_engine(Pooled(), pixels(1), before=normalised, device=CPU, settings=BY_TORCH)


@pytest.fixture(scope="module")
def by_openvino() -> Engine:
    return make_engine(Pooled(), pixels(1), before=normalised, device=CPU, settings=BY_DEFAULT)


def test_who_runs_it(by_torch, by_openvino) -> None:
    assert (by_torch.name, by_openvino.name) == ("torch float32", "openvino float32")


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_both_engines_say_the_same_of_any_number_of_pictures(by_torch, by_openvino, rows) -> None:
    x = pixels(rows, seed=rows)
    for one, other in zip(by_torch(x), by_openvino(x), strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert one.shape == other.shape
        assert F.cosine_similarity(one.flatten(1), other.flatten(1)).min() >= 0.9999


def test_pictures_may_lie_either_way(by_openvino) -> None:
    x = pixels(3)
    assert torch.equal(by_openvino(x)[0], by_openvino(x.contiguous())[0])


@pytest.mark.parametrize("name", ["by_torch", "by_openvino"])
def test_several_threads_each_get_their_own_answer(name, request) -> None:
    engine = request.getfixturevalue(name)
    inputs = [pixels(1 + seed % 3, seed) for seed in range(6)]
    expected = [engine(x)[0] for x in inputs]
    wrong: list[int] = []

    def ask(i: int) -> None:
        for _ in range(5):
            if not torch.allclose(engine(inputs[i])[0], expected[i], atol=1e-6):
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_answer_is_not_written_over_by_the_next(by_openvino) -> None:
    first = by_openvino(pixels(2, seed=1))[0]
    kept = first.clone()
    by_openvino(pixels(2, seed=2))
    assert torch.equal(first, kept)


def test_inputs_that_are_no_pictures() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Embedding(50, 16), nn.Flatten(), nn.Linear(16 * 7, 5)).requires_grad_(False)
    tokens = torch.randint(0, 50, (3, 7))
    engine = make_engine(network, tokens[:1], device=CPU, settings=BY_DEFAULT)
    assert engine.name == "openvino float32"
    torch.testing.assert_close(engine(tokens), network(tokens))


def test_what_openvino_cannot_convert_is_run_by_torch_and_said_so(caplog) -> None:
    x = torch.rand(2, 4)
    with caplog.at_level(logging.WARNING):
        engine = make_engine(Unconvertible(), x[:1], device=CPU, settings=BY_DEFAULT)
    assert engine.name == "torch float32"
    (record,) = caplog.records
    assert record.message == (
        "Unconvertible is run by torch, for OpenVINO cannot: "
        "No conversion rule found for operations: aten::lgamma, aten::special_i1e"
    )
    torch.testing.assert_close(engine(x), Unconvertible()(x))


def test_what_openvino_converts_wrongly_is_run_by_torch_and_said_so(caplog) -> None:
    class OneRow(nn.Module):
        """Keeps the number of rows it was traced with."""

        def forward(self, x: Tensor) -> Tensor:
            return x * float(len(x))

    x = torch.rand(3, 4)
    engine = make_engine(OneRow(), x[:1], device=CPU, settings=BY_DEFAULT)
    assert engine.name == "torch float32"
    assert [record.message for record in caplog.records] == [
        "OneRow is run by torch, for OpenVINO's answer differs by 5.0e-01"
    ]
    torch.testing.assert_close(engine(x), x * 3)


def test_reduced_precision_stays_near() -> None:
    settings = EngineSettings(engine="torch", precision="reduced")
    reduced = make_engine(Pooled(), pixels(1), before=normalised, device=CPU, settings=settings)
    exact = make_engine(Pooled(), pixels(1), before=normalised, device=CPU, settings=BY_TORCH)
    x = pixels(3)
    assert reduced.name == "torch float16"
    assert reduced(x)[0].dtype == torch.float32
    assert F.cosine_similarity(reduced(x)[0], exact(x)[0]).min() >= REDUCED_COSINE


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_says_what_the_processor_says(by_torch) -> None:
    x = pixels(8)
    for precision, least in (("float32", 0.9999), ("auto", REDUCED_COSINE)):
        settings = EngineSettings(precision=precision)
        engine = make_engine(
            Pooled(), pixels(1), before=normalised, device=torch.device("cuda"), settings=settings
        )
        found, expected = engine(x)[0], by_torch(x)[0]
        assert found.device.type == "cpu"
        assert F.cosine_similarity(found, expected).min() >= least


def test_what_does_not_fit_into_float16_stays_in_float32(caplog: pytest.LogCaptureFixture) -> None:
    class Loud(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.louder = nn.Linear(4, 4)
            nn.init.constant_(self.louder.weight, 1e5)

        def forward(self, x: Tensor) -> Tensor:
            return F.normalize(self.louder(x))

    settings = EngineSettings(engine="torch", precision="reduced")
    engine = make_engine(Loud(), torch.ones(1, 4), device=CPU, settings=settings)
    assert engine.name == "torch float32"
    assert [record.message for record in caplog.records] == [
        "Loud stays in float32: in float16 it differs by nan"
    ]
