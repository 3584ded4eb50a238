"""What pictures take on their way into the index: seconds of each step, and bytes that are kept.

    python -m benchmarks.fill [--products 300] [--json]

``imgsearch demo --once`` of a drawn catalogue, in a process and a folder of its own: three pictures a
product, fetched from a server on loopback. "per_s" is pictures a second of a step that looks at each, its
start included: downloading, the detector, the embedder (two rows a picture). "kept" is bytes of the object
store by the first part of their keys.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks._peers import ROOT
from imgsearch_assets.local.processes import free_port

STEPS = {"download": "product_images", "detect": "item_detections", "embed": "item_embeddings"}


def kept_bytes(objects: Path) -> dict[str, int]:
    """By the first name of their keys."""
    found: Counter[str] = Counter()
    for path in objects.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            found[path.relative_to(objects).parts[0]] += path.stat().st_size
    return dict(sorted(found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--products", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    busy = os.getloadavg()[0]
    ports = [word for name in ("api", "dagster", "pictures") for word in (f"--{name}-port", str(free_port()))]
    with tempfile.TemporaryDirectory(prefix="imgsearch-bench-") as folder:
        command = [sys.executable, "-m", "imgsearch_assets.cli", "demo", "--once", "--json", "--home", folder]
        command += ["--products", str(options.products), *ports]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"the demo failed; what it says is above\n{done.stdout}")
        said = json.loads(done.stdout.splitlines()[-1])
        (objects,) = Path(folder).glob("*/objects")
        kept = kept_bytes(objects)
    per_s = {name: round(said["pictures"] / said["seconds"][step], 1) for name, step in STEPS.items()}
    print(f"\n{said['products']:,} products, {said['pictures']:,} pictures")
    for name, value in per_s.items():
        print(f"{name:<12}{value:>10,.1f} pictures a second")
    for name, value in kept.items():
        print(f"{name:<12}{value / said['pictures']:>10,.0f} bytes a picture")
    if options.json:
        figures = {
            "products": said["products"],
            "pictures": said["pictures"],
            "per_s": per_s,
            "kept_bytes": kept,
        }
        print(json.dumps({**figures, "seconds": said["seconds"], "load_before": round(busy, 1)}))


if __name__ == "__main__":
    main()
