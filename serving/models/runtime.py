"""How a process runs the networks: threads, and memory that is not handed back between layers.

Measured on two cores without AVX-512, EfficientNet-Lite0, one thread, milliseconds a picture at batch 16:
43 as it comes, 33 with channels last, 25 with the allocator told to keep its memory, 17 with both and small
batches. Fusing ReLU6 into the convolutions gained nothing more that could be told from noise.
"""

import ctypes
import os

import torch

# From malloc.h. By default glibc maps every activation of more than a few megabytes anew and returns it
# after use, and the page faults cost more than the arithmetic.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEEP_BYTES = 2**30

# Rows of one forward pass: on a CPU few enough that activations stay near the caches, on a GPU as many as its
# memory has room for. A picture's activations are some 30 MB in EfficientNet-Lite0, 60 MB in a ViT-L.
_PICTURE_BYTES = 64 * 2**20
_BATCH_CPU, _BATCH_GPU = 4, 64

_threads = 1


def cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0))


def threads() -> int:
    """Threads inside one forward pass, as this process was tuned."""
    return _threads


def tune(threads: int = 1) -> None:
    """Set this process up for the forward passes; call it once, before the first.

    ``threads`` are those inside one forward pass. Where several run at once (a service, the pipeline), one
    each is fastest.
    """
    global _threads
    _threads = threads
    torch.set_num_threads(threads)
    keep_memory()


def keep_memory() -> None:
    """Tell glibc's allocator, where there is one, to keep what it was given back."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
        # The arenas of further threads are capped at 64 MB, too small for a batch's activations.
        libc.mallopt(_M_ARENA_MAX, 1)


def device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def passes(place: torch.device) -> int:
    """Forward passes at once: on a CPU as its cores have threads for; a GPU does one after the other."""
    return 1 if place.type == "cuda" else max(1, cores() // _threads)


def batch_size(place: torch.device) -> int:
    """How many pictures one forward pass takes: on a GPU what fits when every core brings a batch."""
    if place.type != "cuda":
        return _BATCH_CPU
    free_bytes, _ = torch.cuda.mem_get_info(place)
    fits = free_bytes // 2 // cores() // _PICTURE_BYTES
    return max(_BATCH_CPU, min(_BATCH_GPU, fits))
