"""``python measure.py FOLDER``: what each way to look at each file of a folder gives, and what it takes.

A process of its own, so that its memory is that of one picture, and a decoder that dies takes no test along.
One JSON line for a file and a way: file, way, reason (null for a picture), error, cpu_s, memory_mb.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from serving.errors import BadImage
from serving.images.decode import decode, inspect, verify

WAYS: dict[str, Callable[[bytes], object]] = {
    "front": inspect,
    "pipeline": verify,
    "services": partial(decode, at_least=448),  # ``serving.models.preprocess.open_picture``, without torch
}


def memory_kb(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def looked(data: bytes, way: Callable[[bytes], object]) -> dict[str, object]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = memory_kb("VmRSS"), time.process_time()
    reason = error = None
    try:
        way(data)
    except BadImage as refused:
        reason = refused.reason
    except Exception as other:
        error = f"{type(other).__name__}: {other}"
    cpu_s = time.process_time() - start
    grown_mb = (memory_kb("VmHWM") - before) / 1024
    return {"reason": reason, "error": error, "cpu_s": cpu_s, "memory_mb": grown_mb}


if __name__ == "__main__":
    for path in sorted(Path(sys.argv[1]).iterdir()):
        data = path.read_bytes()
        for name, way in WAYS.items():
            print(json.dumps({"file": path.name, "way": name, **looked(data, way)}), flush=True)
