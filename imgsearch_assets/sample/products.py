"""Products of the sample: the i-th is the same however many are asked for."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import numpy as np

from imgsearch_assets.sample.design import Design, new_design
from imgsearch_assets.sample.scenes import PACKSHOTS, Scene, packshot, street

BRANDS = ("Alder & Finch", "Bergamot", "Casa Lume", "Dovetail", "Elm Street", "Fjordline", "Guild No. 9")
# Category -> lowest and highest price in whole units of the currency.
_PRICES = {
    "t-shirt": (12, 45),
    "shirt": (29, 99),
    "sweater": (39, 149),
    "jacket": (69, 299),
    "coat": (99, 449),
    "dress": (39, 199),
    "skirt": (29, 109),
    "trousers": (35, 129),
    "shorts": (22, 69),
    "shoe": (49, 219),
    "bag": (35, 289),
    "hat": (15, 79),
}
# What a shop calls a pattern or a texture where that is not its own name.
_PATTERNS = {
    "plain": "",
    "stripes": "striped",
    "breton": "Breton-striped",
    "pinstripes": "pinstriped",
    "dots": "polka-dot",
    "leaves": "leaf-print",
    "leopard": "leopard-print",
    "abstract": "abstract-print",
    "windowpane": "windowpane-check",
    "chest print": "printed",
    "chest band": "banded",
    "side stripe": "side-striped",
    "colour block": "colour-block",
}
_CLOTHS = {
    "rib": "ribbed",
    "cable": "cable-knit",
    "chunky": "chunky-knit",
    "pique": "piqué",
    "boucle": "bouclé",
}
CURRENCY = "EUR"
# In the past, whatever the clock of the machine: a picture is fetched again when its row is newer than it.
_FIRST_UPDATE = datetime(2025, 1, 1, tzinfo=UTC)
_IN_STOCK_SHARE = 0.85

# Streams of random numbers of one product, so that one more picture changes none of the others.
_DESIGN, _PACKSHOT, _STREET, _RETAKE = range(4)


_DRAWN_ID = re.compile(r"P(\d{6,})")


def number_of(product_id: str) -> int | None:
    """The number of a drawn product; ``None`` for one that comes from elsewhere."""
    drawn = _DRAWN_ID.fullmatch(product_id)
    return int(drawn[1]) if drawn else None


@dataclass(frozen=True)
class Product:
    """The design of one product, and everything a shop says about it."""

    seed: int
    number: int
    design: Design

    @classmethod
    def drawn(cls, seed: int, number: int) -> Self:
        return cls(seed, number, new_design(np.random.default_rng([seed, number, _DESIGN])))

    @property
    def product_id(self) -> str:
        return f"P{self.number:06d}"

    @property
    def name(self) -> str:
        d = self.design
        cloth = _CLOTHS.get(d.texture, d.texture)
        words = [_PATTERNS.get(d.pattern, d.pattern), "" if cloth in d.style else cloth, d.style]
        text = " ".join(word for word in words if word)
        return f"{text[0].upper()}{text[1:]} in {d.colour.name}"

    def row(self, image_urls: list[str]) -> dict[str, Any]:
        """The product's row of the catalogue, with its pictures at ``image_urls``."""
        d = self.design
        low, high = _PRICES[d.category]
        whole = round(low * (high / low) ** d.between("price", 0, 1))
        return {
            "product_id": self.product_id,
            "name": self.name,
            "brand": d.pick("brand", BRANDS),
            "category": d.category,
            "colour": d.colour.family,
            "price": whole * 100 - d.pick("cents", (0, 1, 5, 10)),
            "currency": CURRENCY,
            "in_stock": d.chance("in stock", _IN_STOCK_SHARE),
            "image_urls": image_urls,
            "updated_at": _FIRST_UPDATE + timedelta(minutes=self.number),
        }

    def packshots(self) -> list[Scene]:
        """One for each of ``PACKSHOTS``."""
        return [
            packshot(self.design, np.random.default_rng([self.seed, self.number, _PACKSHOT, i]), kind)
            for i, kind in enumerate(PACKSHOTS)
        ]

    def street(self) -> Scene:
        """The picture a shopper takes of it, which the catalogue does not have."""
        return street(self.design, np.random.default_rng([self.seed, self.number, _STREET]))

    def retake(self, take: int) -> Scene:
        """Another packshot: what the shop replaces the first one with."""
        return packshot(self.design, np.random.default_rng([self.seed, self.number, _RETAKE, take]), "turned")
