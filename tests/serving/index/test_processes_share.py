"""Processes of one machine that serve the same base hold its vectors in memory once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SERVER = """
import sys
from pathlib import Path

from serving.index.artifact import load
from serving.index.store import read_manifest
from serving.object_store import LocalObjectStore

store = LocalObjectStore(Path(sys.argv[1]))
generation = load(store, read_manifest(store, sys.argv[2]))
found, _ = generation.base.vectors.all().nearest(generation.vectors(0)[:1], 10)  # touches every vector
print(found.shape, flush=True)
sys.stdin.read()
"""


def mapped_kib(process: int, name: str) -> tuple[int, int]:
    """Of a mapped file: what is in a process's memory, and its share of that with all that have it, too."""
    resident = shared = 0
    inside = False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(name)
        elif inside and line.startswith("Rss:"):
            resident += int(line.split()[1])
        elif inside and line.startswith("Pss:"):
            shared += int(line.split()[1])
    return resident, shared


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/PID/smaps is Linux's")
def test_two_processes_share_the_vectors(big_shop) -> None:
    manifest = big_shop.build()
    base = manifest.segment("base")
    command = [sys.executable, "-c", SERVER, str(big_shop.store.root), manifest.id]
    pipe = subprocess.PIPE
    servers = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    try:
        for server in servers:
            assert server.stdout is not None
            assert server.stdout.readline() == "(1, 10)\n"
        for server in servers:
            resident, shared = mapped_kib(server.pid, Path(base.key).name)
            vectors = 2 * manifest.rows * manifest.dim / 1024
            assert resident >= vectors
            assert shared <= 0.6 * resident
    finally:
        for server in servers:
            server.communicate("", timeout=60)
