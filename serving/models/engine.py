"""How a network is run: by OpenVINO on a CPU, by torch on a GPU and wherever OpenVINO cannot.

What goes in is pixels, and what is done to them before the first layer is part of what is run: a quarter of
the bytes to move, and one pass over them less. What comes out is float32 on the CPU, whatever ran it.
``docs/adr/0005-engine.md`` has the figures.
"""

import logging
import queue
import warnings
from collections.abc import Callable
from typing import Protocol, TypeAlias

import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn

from serving.models import runtime
from serving.settings import EngineSettings, read

Outputs: TypeAlias = Tensor | tuple[Tensor, ...]

log = logging.getLogger(__name__)

# Least cosine of a vector in reduced numbers with the same in float32: what a release asks of batch and
# online, of which one may run reduced and the other not. Over 32 photos float16 left 0.99997 at least.
# bfloat16 left 0.995, with which one of thirty neighbours was another; so float16 it is, everywhere.
# ``benchmarks/embed.py`` measures what is found again.
REDUCED_COSINE = 0.999

# Largest difference from torch in float32, as a part of the largest value of an output. Seen: 3e-7, and
# 6e-3 in float16; a number beyond float16 makes it infinite.
_SAME, _SAME_REDUCED = 1e-4, 5e-2


class Engine(Protocol):
    """A network ready to answer. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """``openvino float32``, ``torch float16``: what runs it, and in which numbers."""

    def __call__(self, x: Tensor) -> Outputs:
        """``x`` (n, ...) on the CPU, of the example's dtype and shape but for n, which may be any from 1.

        Pictures (n, 3, h, w) are taken without a copy where they lie channels last. Returns what the network
        returns, float32 on the CPU, memory of its own.
        """


def make_engine(
    network: nn.Module,
    example: Tensor,
    *,
    before: Callable[[Tensor], Tensor] | None = None,
    device: torch.device | None = None,
    settings: EngineSettings | None = None,
) -> Engine:
    """The fastest engine that says what ``network`` says; ``settings`` are the process's own by default.

    ``example`` (1, ...) is an input as it will come, ``before`` what is done to it on the way to the network
    (the normalising of uint8 pixels). The network must be ready for inference; whoever keeps no other
    reference to it has its memory back when OpenVINO runs it.
    """
    settings = settings or read(EngineSettings)
    device = device or runtime.device()
    reduced = settings.precision == "reduced" or (settings.precision == "auto" and device.type == "cuda")
    whole = _Whole(network, before)
    exact = TorchEngine(whole, device, reduced=False)
    # Two rows: a converter that took the example's single one for a constant is found out.
    two = torch.cat((example, example.flip(-1)))
    expected = exact(two)
    by_torch = exact
    if reduced:
        by_torch = TorchEngine(whole, device, reduced=True)
        difference = _difference(by_torch(two), expected)
        if not difference <= _SAME_REDUCED:
            log.warning(
                "%s stays in float32: in float16 it differs by %.1e", type(network).__name__, difference
            )
            by_torch, reduced = exact, False
    if device.type != "cpu" or settings.engine == "torch":
        return by_torch
    try:
        engine = OpenVinoEngine(whole, example, reduced=reduced)
        difference = _difference(engine(two), expected)
    # The converter raises what it likes: RuntimeError, its own, those of torch's tracer.
    except Exception as error:
        said = f"{error}".strip().rpartition("\n")[2].removeprefix("-- ")
        log.warning("%s is run by torch, for OpenVINO cannot: %s", type(network).__name__, said)
        return by_torch
    if not difference <= (_SAME_REDUCED if reduced else _SAME):
        log.warning(
            "%s is run by torch, for OpenVINO's answer differs by %.1e", type(network).__name__, difference
        )
        return by_torch
    return engine


class TorchEngine:
    """Eager torch, channels last; in float16 where that is asked for, float32 to the outside."""

    def __init__(self, network: nn.Module, device: torch.device, *, reduced: bool) -> None:
        self._network = network.eval().to(device)
        self._device = device
        self._reduced = reduced
        self.name = f"torch {'float16' if reduced else 'float32'}"

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Outputs:
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self._device.type, torch.float16, enabled=self._reduced):
            found = self._network(x.to(self._device, non_blocking=True))
        if isinstance(found, Tensor):
            return found.float().cpu()
        return tuple(one.float().cpu() for one in found)


class OpenVinoEngine:
    """OpenVINO on the CPU: as many answers at once as there are cores for, each by its own threads.

    Raises whatever the converter raises where it does not know a network.
    """

    def __init__(self, network: nn.Module, example: Tensor, *, reduced: bool) -> None:
        # Pictures go in as they lie, channels last; the graph is told to turn them.
        self._pictures = example.dim() == 4
        core = openvino.Core()
        threads = runtime.threads()
        streams = max(1, runtime.cores() // threads)
        numbers = "f16" if reduced and "FP16" in _capabilities(core) else "f32"
        compiled = core.compile_model(
            _converted(_ChannelsLast(network) if self._pictures else network, self._laid(example)),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": numbers,
                "INFERENCE_NUM_THREADS": streams * threads,
                "NUM_STREAMS": streams,
            },
        )
        self._outputs = len(compiled.outputs)
        self.name = f"openvino {'float16' if numbers == 'f16' else 'float32'}"
        # One for each that can run: further callers wait here, and memory is bounded whatever their number.
        self._requests: queue.LifoQueue[openvino.InferRequest] = queue.LifoQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())

    def __call__(self, x: Tensor) -> Outputs:
        request = self._requests.get()
        try:
            found = request.infer(self._laid(x).numpy(), share_inputs=True)
            outputs = tuple(torch.from_numpy(found[i]) for i in range(self._outputs))
        finally:
            self._requests.put(request)
        return outputs[0] if len(outputs) == 1 else outputs

    def _laid(self, x: Tensor) -> Tensor:
        return (x.permute(0, 2, 3, 1) if self._pictures else x).contiguous()


class _Whole(nn.Module):
    """What comes before a network, and the network."""

    def __init__(self, network: nn.Module, before: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__()
        self.network = network
        self.before = before

    def forward(self, x: Tensor) -> Outputs:
        found: Outputs = self.network(self.before(x) if self.before else x)
        return found


class _ChannelsLast(nn.Module):
    """A network of pictures (n, 3, h, w), told (n, h, w, 3)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Outputs:
        found: Outputs = self.network(x.permute(0, 3, 1, 2))
        return found


def _converted(network: nn.Module, example: Tensor) -> openvino.Model:
    """What ``openvino.convert_model`` does, which also takes over the root logger and measures its memory.

    The second tripled the time, and the tracer's own check, which ours makes needless, doubled it.
    """
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every Python value it keeps
        graph = TorchScriptPythonDecoder(
            network.eval(), example_input=example, trace_kwargs={"check_trace": False}
        )
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(graph))
    model.reshape([-1, *example.shape[1:]])
    return model


def _capabilities(core: openvino.Core) -> list[str]:
    return list(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _difference(found: Outputs, expected: Outputs) -> float:
    """Largest difference, as a part of the largest value; infinite where the shapes differ."""
    pairs = list(zip(_several(found), _several(expected), strict=True))
    if any(one.shape != other.shape for one, other in pairs):
        return float("inf")
    return max(float((one - other).abs().max() / other.abs().max().clamp(min=1e-6)) for one, other in pairs)


def _several(outputs: Outputs) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
