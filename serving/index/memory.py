"""How much memory a process may still take, and giving back what it no longer needs."""

import ctypes
import gc
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
_LIBC = ctypes.CDLL(None)


def available_bytes(cgroup: Path = _CGROUP) -> int:
    """What is left of the machine, or of the container's limit when that is less (cgroup v2)."""
    left = psutil.virtual_memory().available
    limit, used = cgroup / "memory.max", cgroup / "memory.current"
    if limit.is_file() and (text := limit.read_text().strip()) != "max":
        left = min(left, int(text) - int(used.read_text()))
    return int(left)


def give_back() -> None:
    """Return freed memory to the system; after a swap it takes both calls (glibc keeps it otherwise)."""
    gc.collect()
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
