"""The colours garments come in, with the names a shop gives them."""

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RGB = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Colour:
    """``family`` is what a shop filters by, ``name`` what it prints."""

    name: str
    family: str
    rgb: RGB


COLOURS: tuple[Colour, ...] = tuple(
    Colour(name, family, (value >> 16, value >> 8 & 255, value & 255))
    for name, family, value in (
        ("chalk", "white", 0xEDEBE6),
        ("ivory", "white", 0xF0E8D6),
        ("oatmeal", "beige", 0xD9CBB2),
        ("camel", "beige", 0xC19A6B),
        ("sand", "beige", 0xCBB593),
        ("silver", "grey", 0xB4B7BA),
        ("slate", "grey", 0x6B747C),
        ("charcoal", "grey", 0x43474B),
        ("black", "black", 0x232427),
        ("navy", "blue", 0x22305A),
        ("cobalt", "blue", 0x2452B5),
        ("sky", "blue", 0x8DB8DC),
        ("denim", "blue", 0x47658F),
        ("petrol", "green", 0x1F5C66),
        ("teal", "green", 0x23918A),
        ("forest", "green", 0x2A5139),
        ("olive", "green", 0x6C6B3A),
        ("sage", "green", 0xA3B39A),
        ("mint", "green", 0xAEDCC4),
        ("mustard", "yellow", 0xD6A32F),
        ("lemon", "yellow", 0xEFD96B),
        ("tangerine", "orange", 0xE5812F),
        ("rust", "orange", 0xA94E2B),
        ("coral", "red", 0xEC7462),
        ("scarlet", "red", 0xC42B2F),
        ("burgundy", "red", 0x6C2034),
        ("rose", "pink", 0xE5A4AE),
        ("fuchsia", "pink", 0xC63A80),
        ("lilac", "purple", 0xB9A3D0),
        ("plum", "purple", 0x5B3260),
        ("chocolate", "brown", 0x553726),
        ("chestnut", "brown", 0x85502F),
    )
)
BY_NAME = {colour.name: colour for colour in COLOURS}

METAL: RGB = (178, 172, 158)
SKIN: tuple[RGB, ...] = ((241, 208, 181), (226, 180, 147), (196, 143, 106), (150, 102, 72), (99, 65, 46))
HAIR: tuple[RGB, ...] = (
    (38, 30, 28),
    (74, 49, 36),
    (122, 82, 52),
    (187, 146, 92),
    (148, 66, 40),
    (150, 148, 146),
)


def ink(rgb: RGB) -> NDArray[np.float32]:
    """A colour to reckon with: float32 (3,)."""
    return np.array(rgb, np.float32)


def shaded(rgb: RGB, factor: float) -> RGB:
    """Darker below 1, lighter above."""
    r, g, b = (min(round(channel * factor), 255) for channel in rgb)
    return r, g, b


def mixed(a: RGB, b: RGB, share: float) -> RGB:
    """``share`` of ``b`` in ``a``."""
    red, green, blue = (round(x * (1 - share) + y * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def dyed(colour: Colour, rng: np.random.Generator) -> Colour:
    """The colour as one dye lot has it: a little off in hue, saturation and lightness."""
    h, s, v = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour.rgb))
    h = (h + rng.uniform(-0.015, 0.015)) % 1
    s = min(max(s * rng.uniform(0.88, 1.12), 0.0), 1.0)
    v = min(max(v * rng.uniform(0.92, 1.07), 0.0), 0.97)
    r, g, b = (round(channel * 255) for channel in colorsys.hsv_to_rgb(h, s, v))
    return Colour(colour.name, colour.family, (r, g, b))


def companion(colour: Colour, rng: np.random.Generator) -> Colour:
    """A second colour that can be told from the first."""
    far = [other for other in COLOURS if _distance(colour.rgb, other.rgb) > 130]
    neutral = [other for other in far if other.family in ("white", "beige", "black", "grey", "blue")]
    chosen = neutral if neutral and rng.random() < 0.6 else far
    return dyed(chosen[int(rng.integers(len(chosen)))], rng)


def _distance(a: RGB, b: RGB) -> float:
    """Weighted by what the eye sees (a low-cost approximation: compuphase.com/cmetric.htm)."""
    mean = (a[0] + b[0]) / 2
    dr, dg, db = (x - y for x, y in zip(a, b, strict=True))
    return float(((2 + mean / 256) * dr**2 + 4 * dg**2 + (2 + (255 - mean) / 256) * db**2) ** 0.5)


def nearest_family(rgb: RGB) -> str:
    """What a shop would call the colour of a photo."""
    return min(COLOURS, key=lambda colour: _distance(colour.rgb, rgb)).family
