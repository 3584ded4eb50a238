import hashlib
from pathlib import Path

import numpy as np
import pytest

from imgsearch_assets.sample import drawing as module
from imgsearch_assets.sample.drawing import Drawing, draw, draw_chunk, encode, has_street, write_whole
from serving.images.decode import decode


def digests(folder: Path) -> dict[str, str]:
    files = sorted(folder.rglob("*.jpg"))
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_the_first_products_are_the_same_however_many_are_drawn(tmp_path: Path) -> None:
    truth = draw(Drawing(tmp_path / "few", 3), 2)
    more = draw(Drawing(tmp_path / "more", 3), 3)
    few = digests(tmp_path / "few")
    assert few.items() <= digests(tmp_path / "more").items()
    assert truth == more[:2]
    assert len(few) == 2 * 3 + 2


def test_what_is_there_is_not_drawn_again_and_what_is_missing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = Drawing(tmp_path, 3)
    monkeypatch.setattr(module, "_CHUNK", 1)
    draw(drawing, 2)
    before = digests(tmp_path)
    drawn: list[range] = []

    def counted(drawing: Drawing, numbers: range) -> int:
        drawn.append(numbers)
        return draw_chunk(drawing, numbers)

    monkeypatch.setattr(module, "draw_chunk", counted)
    draw(drawing, 2)
    assert drawn == []
    # A run that was killed leaves pictures without their record, perhaps not all of them.
    drawing.record(range(1, 2)).unlink()
    drawing.packshot(1, "near").unlink()
    draw(drawing, 2)
    assert drawn == [range(1, 2)]
    assert digests(tmp_path) == before


def test_several_processes_draw_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 1)
    truth = draw(Drawing(tmp_path / "processes", 3), 3)
    monkeypatch.setattr(module, "_CHUNK", 20)
    assert draw(Drawing(tmp_path / "alone", 3), 3) == truth
    assert digests(tmp_path / "processes") == digests(tmp_path / "alone")


def test_drawings_of_another_seed_go(tmp_path: Path) -> None:
    draw(Drawing(tmp_path, 3), 2)
    draw(Drawing(tmp_path, 4), 1)
    assert len(digests(tmp_path)) == 4


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.bin", b"first")
    write_whole(tmp_path / "a.bin", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"second"


def test_encoding_keeps_the_order_of_the_channels() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, :, 0] = 220
    red, green, blue = decode(encode(picture, 90)).reshape(-1, 3).mean(axis=0)
    assert red > 200
    assert green < 20
    assert blue < 20


def test_a_fixed_share_of_products_has_a_street_picture() -> None:
    assert all(has_street(number) for number in range(300))
    assert sum(has_street(number) for number in range(300, 700)) == 40
