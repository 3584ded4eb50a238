"""Labelled pictures on disk: what models learn from and are measured with.

Every loader of this package ends in the same two values, so that training and evaluation know one shape.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from serving.images.box import Box

# Who took the picture: the shop, somebody who wants the thing, or a machine that altered the shop's.
Kind = Literal["shop", "street", "again"]
# What the data set itself says a picture is for; "" where it says nothing.
Role = Literal["", "train", "query", "gallery"]


@dataclass(frozen=True, slots=True)
class Labelled:
    """One encoded picture and what is known of it; a text is empty where nothing is."""

    path: Path
    product: str = ""  # pictures of one product show the same thing
    category: str = ""
    kind: Kind = "shop"
    role: Role = ""
    # Boxes and their categories, that of the product first.
    items: tuple[tuple[Box, str], ...] = ()

    @property
    def box(self) -> Box:
        """The box of the product, the whole picture where none is known."""
        return self.items[0][0] if self.items else Box.whole()


@dataclass(frozen=True)
class Dataset:
    """Labelled pictures below ``root``."""

    name: str
    root: Path
    pictures: tuple[Labelled, ...]
    # Rows that could not be used, by reason; a loader says which there are.
    skipped: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def version(self) -> str:
        """16 hex digits over every label and every picture's bytes, wherever ``root`` lies."""
        digest = hashlib.sha256()
        for one in sorted(self.pictures, key=lambda one: (one.path, one.product)):
            with one.path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            items = [f"{box.key} {category}" for box, category in one.items]
            labels = (
                one.path.relative_to(self.root).as_posix(),
                one.product,
                one.category,
                one.kind,
                one.role,
            )
            digest.update("\0".join((*labels, content, *items, "\n")).encode())
        return digest.hexdigest()[:16]
