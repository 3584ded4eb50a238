"""A product as its designer leaves it: category, style, cloth, colours, and every measure of the cut.

A measure is a function of the design's seed and the measure's own name, so that a part of a garment can ask
for what it needs (``design.between("length", 62, 74)``) and gets the same answer in every picture.
"""

from dataclasses import dataclass
from typing import TypeVar
from zlib import crc32

import numpy as np

from imgsearch_assets.sample.palette import BY_NAME, COLOURS, Colour, companion, dyed

T = TypeVar("T")

CATEGORIES: tuple[str, ...] = (
    "t-shirt",
    "shirt",
    "sweater",
    "jacket",
    "coat",
    "dress",
    "skirt",
    "trousers",
    "shorts",
    "shoe",
    "bag",
    "hat",
)

# Category -> style -> (textures, patterns). Plain is always possible beside the patterns named.
_PRINTS = ("stripes", "breton", "dots", "floral", "chevron", "abstract", "leaves")
_CHECKS = ("gingham", "tartan", "windowpane")
STYLES: dict[str, dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "t-shirt": {
        "crew-neck tee": (
            ("jersey", "slub"),
            ("breton", "stripes", "tie-dye", "dots", "chest print", "chest band"),
        ),
        "v-neck tee": (("jersey", "slub"), ("stripes", "breton", "melange")),
        "long-sleeve tee": (("jersey", "rib"), ("breton", "stripes", "chest print", "melange")),
        "ringer tee": (("jersey",), ("chest print", "chest band")),
        "polo shirt": (("pique",), ("breton", "chest band", "stripes")),
        "tank top": (("jersey", "rib"), ("stripes", "tie-dye", "chest print")),
    },
    "shirt": {
        "Oxford shirt": (("poplin", "linen"), ("pinstripes", *_CHECKS, "dots")),
        "flannel shirt": (("flannel",), ("tartan", "gingham", "tartan")),
        "denim shirt": (("denim",), ()),
        "camp shirt": (("poplin", "linen"), _PRINTS),
        "blouse": (("satin", "poplin"), ("dots", "floral", "leaves", "pinstripes", "abstract")),
    },
    "sweater": {
        "crew-neck sweater": (
            ("knit", "cable", "chunky"),
            ("breton", "argyle", "nordic", "melange", "chest band"),
        ),
        "turtleneck": (("rib", "knit", "cable"), ("breton", "melange")),
        "cardigan": (("knit", "chunky", "cable"), ("argyle", "nordic", "melange", "stripes")),
        "hoodie": (("fleece",), ("chest print", "chest band", "melange")),
        "v-neck sweater": (("knit", "rib"), ("argyle", "breton", "melange")),
    },
    "jacket": {
        "bomber jacket": (("nylon", "satin"), ("camouflage",)),
        "denim jacket": (("denim",), ()),
        "blazer": (("wool", "tweed", "corduroy"), ("pinstripes", "windowpane", "herringbone")),
        "puffer jacket": (("nylon",), ("colour block",)),
        "biker jacket": (("leather",), ()),
    },
    "coat": {
        "trench coat": (("gabardine",), ()),
        "wool coat": (("wool", "tweed"), ("herringbone", "windowpane", "tartan")),
        "parka": (("nylon", "gabardine"), ("camouflage", "colour block")),
        "duffle coat": (("wool", "boucle"), ("tartan",)),
    },
    "dress": {
        "shift dress": (("crepe", "linen"), (*_PRINTS, "gingham", "colour block")),
        "skater dress": (("jersey", "crepe"), (*_PRINTS, "tartan")),
        "maxi dress": (("crepe", "satin"), _PRINTS),
        "slip dress": (("satin",), ("floral", "leaves", "leopard")),
        "shirt dress": (("poplin", "linen", "denim"), ("pinstripes", "gingham", "leaves")),
    },
    "skirt": {
        "pencil skirt": (("wool", "leather", "crepe"), ("herringbone", "windowpane", "leopard")),
        "A-line skirt": (("corduroy", "denim", "crepe", "wool"), ("gingham", "tartan", "dots", "floral")),
        "pleated skirt": (("crepe", "satin", "wool"), ("tartan", "stripes")),
        "tiered skirt": (("linen", "poplin"), ("floral", "leaves", "dots", "abstract")),
    },
    "trousers": {
        "jeans": (("denim",), ()),
        "chinos": (("gabardine", "corduroy"), ()),
        "wide-leg trousers": (("wool", "linen", "crepe"), ("pinstripes", "windowpane", "herringbone")),
        "joggers": (("fleece", "jersey"), ("side stripe", "camouflage", "melange")),
        "flared trousers": (("denim", "corduroy", "crepe"), ("abstract",)),
    },
    "shorts": {
        "chino shorts": (("gabardine", "linen"), ("gingham", "pinstripes")),
        "denim shorts": (("denim",), ()),
        "running shorts": (("nylon",), ("side stripe", "abstract")),
        "swim shorts": (("nylon",), ("floral", "leaves", "stripes", "dots")),
    },
    "shoe": {
        "sneaker": (("canvas", "leather", "suede"), ("colour block",)),
        "high-top": (("canvas", "leather"), ("colour block", "leopard")),
        "ankle boot": (("leather", "suede"), ()),
        "loafer": (("leather", "suede"), ("leopard",)),
        "pump": (("leather", "suede", "satin"), ("leopard", "dots")),
    },
    "bag": {
        "tote bag": (("canvas", "leather"), ("stripes", "leopard", "chest print", "colour block", "leaves")),
        "handbag": (("leather", "suede"), ("colour block", "herringbone")),
        "backpack": (("nylon", "canvas", "leather"), ("camouflage", "colour block", "leaves")),
        "shoulder bag": (("leather", "suede", "quilted"), ("leopard",)),
    },
    "hat": {
        "baseball cap": (("gabardine", "denim", "corduroy"), ("colour block", "camouflage")),
        "bucket hat": (("canvas", "denim", "linen"), ("leaves", "floral", "tie-dye", "gingham")),
        "beanie": (("rib", "chunky", "knit"), ("breton", "nordic", "melange")),
        "fedora": (("felt", "straw"), ()),
    },
}

_DENIM = ("navy", "denim", "denim", "sky", "black", "charcoal", "cobalt", "chalk")
_NATURAL = ("sand", "oatmeal", "camel", "ivory", "chestnut", "black")
_DYES: dict[str, tuple[str, ...]] = {
    "denim": _DENIM,
    "straw": _NATURAL,
    "leather": (
        "black",
        "black",
        "chestnut",
        "chocolate",
        "camel",
        "burgundy",
        "navy",
        "forest",
        "chalk",
        "scarlet",
        "rose",
    ),
}
_PLAIN_SHARE = 0.4


@dataclass(frozen=True)
class Design:
    """What makes a product that product; pose, light and camera are the picture's."""

    category: str
    style: str
    texture: str
    pattern: str
    colour: Colour
    second: Colour
    third: Colour
    seed: int

    def _fraction(self, name: str) -> float:
        """0..1, even over seeds (splitmix64's finaliser over seed and name)."""
        x = (self.seed ^ (crc32(name.encode()) << 24)) & 0xFFFFFFFFFFFFFFFF
        x = (x + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        return ((x ^ (x >> 31)) >> 11) / 2.0**53

    def between(self, name: str, low: float, high: float) -> float:
        """The measure ``name``, somewhere from ``low`` to ``high``."""
        return low + (high - low) * self._fraction(name)

    def pick(self, name: str, options: tuple[T, ...]) -> T:
        """The one of ``options`` that this design has for ``name``."""
        return options[int(self._fraction(name) * len(options))]

    def chance(self, name: str, share: float) -> bool:
        """Whether this design has ``name``, which ``share`` of designs do."""
        return self._fraction(name) < share


def new_design(rng: np.random.Generator, category: str | None = None) -> Design:
    """A design drawn by ``rng``, of ``category`` or of any."""
    category = category or CATEGORIES[int(rng.integers(len(CATEGORIES)))]
    styles = tuple(STYLES[category])
    style = styles[int(rng.integers(len(styles)))]
    textures, patterns = STYLES[category][style]
    texture = textures[int(rng.integers(len(textures)))]
    plain = not patterns or rng.random() < _PLAIN_SHARE
    pattern = "plain" if plain else patterns[int(rng.integers(len(patterns)))]
    names = _DYES.get(texture)
    base = (
        BY_NAME[names[int(rng.integers(len(names)))]] if names else COLOURS[int(rng.integers(len(COLOURS)))]
    )
    colour = dyed(base, rng)
    second = companion(colour, rng)
    third = companion(second, rng)
    return Design(category, style, texture, pattern, colour, second, third, int(rng.integers(2**62)))
