"""What loaders collect: pictures that can be used, and a count of the rows that cannot, by reason."""

import os
from collections import Counter
from pathlib import Path
from typing import TypeGuard

from imgsearch_assets.datasets.dataset import Dataset, Kind, Labelled, Role
from serving.errors import BadImage, BadInput
from serving.images.box import Box
from serving.images.decode import Header, inspect

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
# Why a row is left out; ``malformed`` is a row that does not say what its layout promises.
REASONS = BadImage.REASONS | {"missing", "malformed", "bad_box", "in_both_parts"}

# Left, top, right, bottom in pixels.
Pixels = tuple[float, float, float, float]


class Collection:
    """Gathers the pictures of the data set ``name`` below ``root``."""

    def __init__(self, name: str, root: Path) -> None:
        self.root = root
        self._name = name
        self._pictures: list[Labelled] = []
        self._skipped: Counter[str] = Counter()

    def skip(self, reason: str) -> None:
        """Count a row that cannot be used."""
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is not one of {sorted(REASONS)}")
        self._skipped[reason] += 1

    def add(
        self,
        path: Path | None,
        product: str = "",
        category: str = "",
        kind: Kind = "shop",
        role: Role = "",
        pixels: Pixels | None = None,
    ) -> None:
        """Add a picture whose item is at ``pixels``, or count why it cannot be used.

        Its header is read, and no more: whether a file breaks off shows when it is decoded.
        """
        if not is_text(product) or not is_text(category) or (path and not self._below(path)):
            self.skip("malformed")
            return
        try:
            header = _header(path)
            items = ((_box(pixels, header), category),) if pixels else ()
        except BadImage as error:
            self.skip(error.reason)
        except BadInput:
            self.skip("bad_box")
        except (OSError, ValueError):  # a name that no file can have
            self.skip("missing")
        else:
            assert path is not None  # noqa: S101 - or _header had raised
            self._pictures.append(Labelled(path, product, category, kind, role, items))

    def _below(self, path: Path) -> bool:
        """Whether a row names a file of the data set, by its name alone: folders may well be links."""
        return Path(os.path.normpath(path)).is_relative_to(self.root)

    def dataset(self) -> Dataset:
        """What was collected. Raises ``BadInput`` when that is nothing."""
        if not self._pictures:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in self._skipped.most_common())
            raise BadInput(f"no picture of {self.root} can be used ({reasons or 'none is there'})")
        return Dataset(self._name, self.root, tuple(self._pictures), dict(self._skipped))


def required(root: Path, places: tuple[str, ...], layout: str) -> Path:
    """The first of ``places`` below ``root`` that is there. Raises ``BadInput`` naming it and the layout."""
    for place in places:
        if (root / place).exists():
            return root / place
    raise BadInput(f"{root / places[0]} is not there; expected is {layout}")


def is_text(value: object) -> TypeGuard[str]:
    """Whether it is a text that can be written down: JSON may hold half of a character."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _header(path: Path | None) -> Header:
    if path is None:
        raise FileNotFoundError
    return inspect(path.read_bytes())


def _box(pixels: Pixels, header: Header) -> Box:
    """Raises ``BadInput`` when no part of it lies on the picture."""
    x0, y0, x1, y1 = pixels
    return Box.clipped(x0 / header.width, y0 / header.height, x1 / header.width, y1 / header.height)
