"""A folder of copies that stays within its size, and is filled by several processes at once."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from serving.bucket.files import Files
from serving.errors import BadSettings

ROOT = Path(__file__).resolve().parents[3]
LONG_AGO = time.time() - 3600


def fetch(data: bytes):
    def written(file: BinaryIO) -> None:
        file.write(data)

    return written


def never(_: BinaryIO) -> None:
    raise AssertionError("it is there")


def kept(files: Files) -> set[str]:
    return {path.read_text() for path in files.root.glob("??/*")}


def test_a_file_is_fetched_once_for_each_generation(tmp_path: Path) -> None:
    files = Files(tmp_path / "cache", 2**20)
    path = files.file("reports/a.html", 1, 3, fetch(b"one"))
    assert (path.read_bytes(), path.suffix) == (b"one", ".html")
    assert files.file("reports/a.html", 1, 3, never) == path
    assert Files(tmp_path / "cache", 2**20).file("reports/a.html", 1, 3, never) == path
    assert files.file("reports/a.html", 2, 3, fetch(b"two")).read_bytes() == b"two"
    files.forget("reports/a.html", 1)
    files.forget("reports/a.html", 1)
    assert files.file("reports/a.html", 1, 3, fetch(b"One")).read_bytes() == b"One"


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path / "cache", 2**20)

    def breaks(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"):
        files.file("a", 1, 9, breaks)
    assert kept(files) == set()
    assert files.file("a", 1, 5, fetch(b"whole")).read_bytes() == b"whole"


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = Files(tmp_path / "cache", 10)
    paths = {name: files.file(name, 1, 3, fetch(name.encode() * 3)) for name in "abc"}
    for number, name in enumerate("bca"):
        os.utime(paths[name], (LONG_AGO, LONG_AGO + number))
    files.file("b", 1, 3, never)  # used now
    mapped = paths["c"].open("rb")
    files.file("d", 1, 4, fetch(b"dddd"))
    assert kept(files) == {"bbb", "aaa", "dddd"}
    assert mapped.read() == b"ccc", "whoever has it open reads on"
    mapped.close()
    assert caplog.records == []
    files.file("e", 1, 8, fetch(b"eeeeeeee"))
    assert kept(files) == {"bbb", "dddd", "eeeeeeee"}, "what was used just now stays"
    assert [record.getMessage() for record in caplog.records] == [
        f"the files in use take more than IMGSEARCH_CACHE_BYTES, 10: {files.root} is fuller"
    ]


def test_what_a_killed_process_left_goes_once_it_is_old(tmp_path: Path) -> None:
    files = Files(tmp_path / "cache", 10)
    folder = files.file("a", 1, 1, fetch(b"a")).parent
    old, young = folder / "old.half~", folder / "young.half~"
    for path in (old, young):
        path.write_text("half")
    os.utime(old, (0, 0))
    Files(tmp_path / "cache", 10).file("b", 1, 1, fetch(b"b"))
    assert kept(files) == {"a", "b", "half"}
    assert not old.exists()


FILLER = """
import sys, time
from pathlib import Path

from serving.bucket.files import Files

files, fetched = Files(Path(sys.argv[1]), 2**20), 0


def fetch(number):
    def written(file):
        global fetched
        fetched += 1
        for part in range(10):
            file.write(bytes([number]) * 1000)
            time.sleep(0.001)
    return written


for number in range(20):
    path = files.file(f"segments/{number}", 7, 10_000, fetch(number))
    assert path.read_bytes() == bytes([number]) * 10_000
print(fetched)
"""


def test_processes_fill_it_together(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILLER, str(tmp_path / "cache")]
    fillers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    fetched = [int(filler.communicate(timeout=60)[0]) for filler in fillers]
    assert sum(fetched) == 20, "each was fetched by one of them"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSettings) as error:
        Files(tmp_path / "file" / "cache", 1)
    assert error.value.message == (
        f"cannot make the folder {tmp_path}/file/cache for files of the bucket: Not a directory"
    )
