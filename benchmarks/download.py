"""Images a second of the downloader, against a plain httpx gather and img2dataset, at equal concurrency.

    python -m benchmarks.download --json

All three fetch the same pictures from the same server on loopback, each in a process of its own, turn by
turn, so that a noisy machine disturbs all alike; figures are medians over the rounds. A peer's time runs from
the first request to the last answer as the server saw them; ours until its last row is written. Only ours
checks that what came is a picture. Then: a second run, which must ask for nothing, and one that is killed
in the middle and started again, which must ask for the rest only.
"""

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._peers import ROOT, NotInstalled, installed
from imgsearch_assets.images.store import fetch_table
from serving.object_store import LocalObjectStore

HERE = Path(__file__).parent
PROCESSES = 2  # of img2dataset; its threads are shared out among them
RUN_LIMIT_S = 300


@dataclass(frozen=True)
class Measured:
    images_per_s: float
    most_connections: int
    failures: int


class Server:
    """The picture server, in its own process."""

    def __init__(self, pictures: int, latency_ms: float) -> None:
        options = ("--pictures", str(pictures), "--latency-ms", str(latency_ms))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks._picture_server", *options],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        self.host = f"127.0.0.1:{self._process.stdout.readline().strip()}"

    def ask(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{self.host}{path}", timeout=10) as response:
            return bytes(response.read())

    def stats(self) -> dict[str, Any]:
        return dict(json.loads(self.ask("/_stats")))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def run(command: list[str | Path]) -> str:
    """Run to the end, its chatter kept back unless it fails; its standard output."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_LIMIT_S)
    if done.returncode != 0:
        raise SystemExit(f"{command} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Contest:
    """One server, three downloaders."""

    def __init__(self, server: Server, peers: Path, pictures: int, concurrency: int, folder: Path) -> None:
        self._server = server
        self._peers = peers
        self._pictures = pictures
        self._concurrency = concurrency
        self._folder = folder
        self._urls = folder / "urls.txt"
        self._urls.write_text("\n".join(f"http://{server.host}/{n}.jpg" for n in range(pictures)))

    @property
    def downloaders(self) -> dict[str, Callable[[Path], Measured]]:
        return {"httpx gather": self._httpx, "img2dataset": self._img2dataset, "ours": self._ours}

    def measure(self, name: str) -> Measured:
        folder = self._folder / "store"
        folder.mkdir()
        self._server.ask("/_reset")
        try:
            return self.downloaders[name](folder)
        finally:
            shutil.rmtree(folder)

    def our_command(self, folder: Path, concurrency: int | None = None) -> list[str | Path]:
        numbers = (str(self._pictures), str(concurrency or self._concurrency))
        return [sys.executable, "-m", "benchmarks._download_ours", folder, self._server.host, *numbers]

    def _ours(self, folder: Path) -> Measured:
        said = json.loads(run(self.our_command(folder)).splitlines()[-1])
        return self._measured(said["done"], len(list(LocalObjectStore(folder).list("images"))))

    def _httpx(self, folder: Path) -> Measured:
        numbers = (str(self._pictures), str(self._concurrency))
        run([self._peers / "python", HERE / "_download_httpx.py", folder, self._server.host, *numbers])
        return self._measured(None, len(list(folder.glob("*.jpg"))))

    def _img2dataset(self, folder: Path) -> Measured:
        options = {
            "url_list": self._urls,
            "input_format": "txt",
            "output_folder": folder / "out",
            "output_format": "files",
            "resize_mode": "no",
            "skip_reencode": True,
            "processes_count": PROCESSES,
            "thread_count": self._concurrency // PROCESSES,
            "number_sample_per_shard": math.ceil(self._pictures / PROCESSES),
            "enable_wandb": False,
        }
        run([self._peers / "img2dataset", *(f"--{name}={value}" for name, value in options.items())])
        return self._measured(None, len(list(folder.rglob("*.jpg"))))

    def _measured(self, done: float | None, stored: int) -> Measured:
        stats = self._server.stats()
        seconds = (done or stats["last"]) - stats["first"]
        return Measured(self._pictures / seconds, stats["most_connections"], self._pictures - stored)

    def requests_of_a_second_run(self) -> int:
        """How many requests a run makes when everything is there."""
        folder = self._folder / "again"
        run(self.our_command(folder))
        self._server.ask("/_reset")
        run(self.our_command(folder))
        return int(self._server.stats()["requests"])

    def resumes_after_kill(self) -> bool:
        """Whether a run killed in the middle keeps what it had and the next one asks for the rest only."""
        folder = self._folder / "killed"
        self._server.ask("/_reset")
        process = subprocess.Popen(
            self.our_command(folder, concurrency=4), cwd=ROOT, stderr=subprocess.DEVNULL
        )
        rows = fetch_table(LocalObjectStore(folder))
        while self._server.stats()["requests"] < 0.6 * self._pictures or rows.read(["url"]).num_rows == 0:
            if process.poll() is not None:
                raise SystemExit("the run to be killed ended before it was; use more --pictures")
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept = rows.read(["url"]).num_rows
        self._server.ask("/_reset")
        run(self.our_command(folder))
        asked = int(self._server.stats()["requests"])
        statuses = rows.read(["status"])["status"].to_pylist()
        print(f"killed with {kept:,} rows written; the next run asked for {asked:,}", file=sys.stderr)
        return (
            0 < kept < self._pictures
            and asked == self._pictures - kept
            and statuses == ["ok"] * self._pictures
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--concurrency", type=int, default=16, help="connections to the host")
    parser.add_argument("--latency-ms", type=float, default=10.0, help="of every answer of the server")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        peers = installed(HERE / "download-peers.txt")
    except NotInstalled as error:
        sys.exit(f"no figures without the peers: {error}")

    server = Server(options.pictures, options.latency_ms)
    rounds: dict[str, list[Measured]] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            contest = Contest(server, peers, options.pictures, options.concurrency, Path(folder))
            for round_ in range(options.rounds):
                names = list(contest.downloaders)
                for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
                    measured = contest.measure(name)
                    rounds.setdefault(name, []).append(measured)
                    print(f"round {round_ + 1}: {name:<14}{measured.images_per_s:8.0f}/s", file=sys.stderr)
            second_run = contest.requests_of_a_second_run()
            resumed = contest.resumes_after_kill()
    finally:
        server.stop()

    speeds = {name: median(m.images_per_s for m in found) for name, found in rounds.items()}
    best_peer = max((name for name in speeds if name != "ours"), key=lambda name: speeds[name])
    # Round by round, for both ran in the same weather.
    ratio = median(
        ours.images_per_s / theirs.images_per_s
        for ours, theirs in zip(rounds["ours"], rounds[best_peer], strict=True)
    )
    print(
        f"\n{options.pictures:,} pictures, {options.latency_ms:g} ms, {options.concurrency} at once per host"
    )
    print(f"{'':<16}{'images/s':>10}{'connections':>13}{'failures':>10}")
    for name, found in rounds.items():
        most, failures = max(m.most_connections for m in found), max(m.failures for m in found)
        print(f"{name:<16}{speeds[name]:>10.0f}{most:>13}{failures:>10}")
    print(
        f"ours / {best_peer}: {ratio:.2f}; a second run asked for {second_run}; resumed after kill: {resumed}"
    )
    if options.json:
        figures = {
            "ratio_vs_best_peer": round(ratio, 3),
            "best_peer": best_peer,
            "images_per_s": round(speeds["ours"], 1),
            "max_connections": max(m.most_connections for m in rounds["ours"]),
            "failures": max(m.failures for m in rounds["ours"]),
            "second_run_downloads": second_run,
            "resumed_after_kill": int(resumed),
            "peers": {name: round(speed, 1) for name, speed in speeds.items() if name != "ours"},
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
