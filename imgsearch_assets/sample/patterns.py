"""What is printed, woven or knitted into cloth: patterns as RGB tiles that repeat without a seam."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from imgsearch_assets.sample.design import Design
from imgsearch_assets.sample.palette import RGB, mixed
from imgsearch_assets.sample.textures import TILE_PX, periodic_noise

Tile = NDArray[np.uint8]
_WHITE = np.full((TILE_PX, TILE_PX, 3), 255, np.uint8)
_FINE = 4  # fractional bits of cv2's drawing coordinates


def _flat(rgb: RGB) -> Tile:
    tile: Tile = cv2.multiply(_WHITE, (*(channel / 255 for channel in rgb), 0))
    return tile


def _over(ground: Tile, rgb: RGB, share: NDArray[np.float32]) -> Tile:
    """``ground`` (uint8 (h, w, 3)) with ``rgb`` over it by ``share`` (float32 (h, w), 0..1)."""
    share = share.astype(np.float32, copy=False)
    laid: Tile = cv2.blendLinear(_flat(rgb), ground, share, 1 - share)
    return laid


def _two_tone(design: Design, share: NDArray[np.float32]) -> Tile:
    """The second colour on the first by ``share`` (float32 (TILE_PX, TILE_PX), 0..1)."""
    ramp = np.linspace(design.colour.rgb, design.second.rgb, 256).astype(np.uint8)[:, None]
    steps = (share * 255).astype(np.uint8)
    tile: Tile = cv2.LUT(cv2.merge([steps] * 3), ramp)
    return tile


def _bands(across: NDArray[np.float32], design: Design) -> Tile:
    """``across`` float32 (TILE_PX,) 0..1 is the share of the second colour along one axis."""
    return _two_tone(design, np.repeat(across[:, None], TILE_PX, axis=1))


def _square(period_px: int, width_px: float, offset_px: float = 0.0) -> NDArray[np.float32]:
    """1 on bands ``width_px`` wide every ``period_px``, soft over a pixel: float32 (TILE_PX,)."""
    place = (np.arange(TILE_PX, dtype=np.float32) - offset_px) % period_px
    distance = np.abs(place - period_px / 2) - (period_px - width_px) / 2
    bands: NDArray[np.float32] = np.clip(distance + 0.5, 0, 1)
    return bands


def _stripes(design: Design) -> Tile:
    period = design.pick("period", (32, 64, 128))
    return _turned(_bands(_square(period, period * design.between("share", 0.25, 0.5)), design))


def _breton(design: Design) -> Tile:
    period = design.pick("period", (32, 64, 64, 128))
    across = _square(period, period * design.between("share", 0.3, 0.5))
    return _bands(across, design)


def _pinstripes(design: Design) -> Tile:
    period = design.pick("period", (16, 32, 32, 64))
    return _turned(_bands(_square(period, design.between("width", 1.5, 4)) * 0.8, design))


def _turned(tile: Tile) -> Tile:
    return np.ascontiguousarray(tile.transpose(1, 0, 2))


def _crossed(ground: Tile, rgb: RGB, bands: NDArray[np.float32], strength: float) -> Tile:
    """``bands`` (float32 (TILE_PX,)) of ``rgb`` woven into ``ground``, both ways."""
    down = np.repeat(bands[:, None] * np.float32(strength), TILE_PX, axis=1)
    return _over(_over(ground, rgb, down), rgb, np.ascontiguousarray(down.T))


def _gingham(design: Design) -> Tile:
    period = design.pick("period", (16, 32, 64))
    base = _flat(design.colour.rgb)
    return _crossed(base, design.second.rgb, _square(period, period / 2), 0.55)


def _tartan(design: Design) -> Tile:
    period = design.pick("period", (128, 128, 256))
    base = _flat(design.colour.rgb)
    base = _crossed(base, design.second.rgb, _square(period, period * 0.42), 0.5)
    base = _crossed(base, design.third.rgb, _square(period, period * 0.06, period * 0.37), 0.8)
    return _crossed(base, design.third.rgb, _square(period, period * 0.04, period * 0.12), 0.6)


def _windowpane(design: Design) -> Tile:
    period = design.pick("period", (64, 128))
    base = _flat(design.colour.rgb)
    return _crossed(base, design.second.rgb, _square(period, design.between("width", 3, 6)), 0.8)


def _herringbone(design: Design) -> Tile:
    y, x = np.mgrid[0:TILE_PX, 0:TILE_PX]
    bones = ((x + np.abs((y % 64) - 32)) % 16 < 8).astype(np.float32)
    return _two_tone(design, bones * 0.45)


def _chevron(design: Design) -> Tile:
    y, x = np.mgrid[0:TILE_PX, 0:TILE_PX].astype(np.float32)
    period = design.pick("period", (64, 128))
    place = (y + np.abs((x % period) - period / 2)) % (period / 2)
    share = np.clip(place - period / 4 + 0.5, 0, 1) * np.clip(period / 2 - place + 0.5, 0, 1)
    return _two_tone(design, share)


def _argyle(design: Design) -> Tile:
    y, x = np.mgrid[0:TILE_PX, 0:TILE_PX].astype(np.float32)
    u, v = np.abs((x % 128) - 64) / 64, np.abs((y % 256) - 128) / 128
    lozenges = _two_tone(design, np.clip((1 - u - v) * 40 + 0.5, 0, 1))
    lines = 0.8 * np.clip(1.6 - np.abs(u - v) * 60, 0, 1)
    return _over(lozenges, design.third.rgb, lines)


def _nordic(design: Design) -> Tile:
    """Rows of small knitted motifs: snow, zigzag, diamonds, on a grid of stitches."""
    stitches = np.zeros((64, 64), np.float32)
    rng = np.random.default_rng(design.seed)
    for row in range(0, 64, 16):
        half = (rng.random((9, 8)) < 0.42).astype(np.float32)
        motif = np.concatenate([half, half[:, ::-1]], axis=1)
        motif = np.maximum(motif, motif[::-1])
        stitches[row + 2 : row + 11] = np.tile(motif, (1, 4))
        stitches[row + 13] = np.arange(64) % 2
    share = cv2.resize(stitches, (TILE_PX, TILE_PX), interpolation=cv2.INTER_NEAREST)
    return _two_tone(design, share * 0.92)


Stamp = Callable[[Tile, float, float], None]


def _scattered(
    tile: Tile, rng: np.random.Generator, columns: int, rows: int, wobble: float, stamp: Stamp
) -> None:
    """Stamp a motif on every cell of a shifted grid, again beyond each edge it may cross."""
    for row in range(rows):
        for column in range(columns):
            x = (column + 0.5 * (row % 2) + wobble * rng.uniform(-1, 1)) * TILE_PX / columns
            y = (row + 0.5 + wobble * rng.uniform(-1, 1)) * TILE_PX / rows
            state = rng.bit_generator.state
            for dx in (0, TILE_PX if x < TILE_PX / 2 else -TILE_PX):
                for dy in (0, TILE_PX if y < TILE_PX / 2 else -TILE_PX):
                    if -60 < x + dx < TILE_PX + 60 and -60 < y + dy < TILE_PX + 60:
                        rng.bit_generator.state = state
                        stamp(tile, x + dx, y + dy)


def _disc(tile: Tile, x: float, y: float, radius: float, rgb: RGB) -> None:
    scale = 1 << _FINE
    centre = (round(x * scale), round(y * scale))
    cv2.circle(tile, centre, round(radius * scale), rgb, -1, cv2.LINE_AA, _FINE)


def _dots(design: Design) -> Tile:
    tile = _flat(design.colour.rgb)
    cells = design.pick("cells", (8, 12, 16))
    radius = TILE_PX / cells * design.between("size", 0.14, 0.3)
    rng = np.random.default_rng(design.seed)

    def dot(tile: Tile, x: float, y: float) -> None:
        _disc(tile, x, y, radius, design.second.rgb)

    _scattered(tile, rng, cells, cells, 0.0, dot)
    return tile


def _floral(design: Design) -> Tile:
    tile = _flat(design.colour.rgb)
    rng = np.random.default_rng(design.seed)
    cells = design.pick("cells", (5, 6, 8))
    petals, size = design.pick("petals", (5, 6, 8)), TILE_PX / cells * design.between("size", 0.24, 0.36)
    leaf = mixed(design.colour.rgb, (70, 110, 70), 0.6)

    def flower(tile: Tile, x: float, y: float) -> None:
        turn, scale = rng.uniform(0, 2 * np.pi), rng.uniform(0.65, 1.1)
        rgb = design.second.rgb if rng.random() < 0.65 else design.third.rgb
        stem = turn + 0.6
        _leaf(tile, x, y, stem, size * 1.9 * scale, leaf)
        for petal in range(petals):
            a = turn + petal * 2 * np.pi / petals
            far = size * 0.55 * scale
            _disc(tile, x + far * np.cos(a), y + far * np.sin(a), size * 0.42 * scale, rgb)
        _disc(tile, x, y, size * 0.28 * scale, mixed(rgb, (245, 205, 90), 0.75))

    _scattered(tile, rng, cells, cells, 0.16, flower)
    return tile


def _leaf(tile: Tile, x: float, y: float, angle: float, length: float, rgb: RGB) -> None:
    t = np.linspace(0, 1, 9)
    wide = np.sin(np.pi * t) ** 0.8 * length * 0.17
    spine, normal = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    middle = np.array([x, y]) + np.outer(t * length, spine)
    sides = np.concatenate([middle + np.outer(wide, normal), (middle - np.outer(wide, normal))[::-1]])
    cv2.fillPoly(tile, [np.round(sides * (1 << _FINE)).astype(np.int32)], rgb, cv2.LINE_AA, _FINE)


def _leaves(design: Design) -> Tile:
    tile = _flat(design.colour.rgb)
    rng = np.random.default_rng(design.seed)
    cells = design.pick("cells", (5, 6, 8))
    length, fronds = TILE_PX / cells * 0.62, design.pick("fronds", (1, 3, 5))

    def sprig(tile: Tile, x: float, y: float) -> None:
        turn = rng.uniform(0, 2 * np.pi)
        rgb = design.second.rgb if rng.random() < 0.6 else design.third.rgb
        for frond in range(fronds):
            _leaf(tile, x, y, turn + (frond - (fronds - 1) / 2) * 0.55, length, rgb)

    _scattered(tile, rng, cells, cells, 0.15, sprig)
    return tile


def _layered(design: Design, cells: int, cuts: tuple[float, ...]) -> Tile:
    """Blobs of the second and third colour where smooth noise is high."""
    rng = np.random.default_rng(design.seed)
    tile = _flat(design.colour.rgb)
    for cut, rgb in zip(cuts, (design.second.rgb, design.third.rgb), strict=False):
        share = np.clip((periodic_noise(rng, cells, cells) - cut) * 12 + 0.5, 0, 1)
        tile = _over(tile, rgb, share)
    return tile


def _camouflage(design: Design) -> Tile:
    rng = np.random.default_rng(design.seed)
    base = design.colour.rgb
    tile = _flat(base)
    tints = (
        mixed(base, (30, 34, 26), 0.6),
        mixed(base, (225, 215, 180), 0.45),
        mixed(base, (90, 70, 45), 0.55),
    )
    for rgb in tints:
        share = np.clip((periodic_noise(rng, 7, 9) - 0.55) * 14 + 0.5, 0, 1)
        tile = _over(tile, rgb, share)
    return tile


def _abstract(design: Design) -> Tile:
    return _layered(design, design.pick("cells", (5, 7, 9)), (0.45, 0.9))


def _leopard(design: Design) -> Tile:
    rng = np.random.default_rng(design.seed)
    noise = periodic_noise(rng, 20, 20)
    ground = _flat(mixed(design.colour.rgb, (200, 155, 95), 0.5))
    inner = np.clip((noise - 0.95) * 9 + 0.5, 0, 1)
    ring = np.clip(2 - np.abs(noise - 0.75) * 9, 0, 1)
    spots = _over(ground, mixed(design.colour.rgb, (125, 80, 40), 0.6), inner)
    return _over(spots, (34, 26, 22), ring)


def _tie_dye(design: Design) -> Tile:
    y, x = np.mgrid[0:TILE_PX, 0:TILE_PX].astype(np.float32)
    rng = np.random.default_rng(design.seed)
    dx = (x - 256) + 18 * periodic_noise(rng, 10, 10)
    dy = (y - 256) + 18 * periodic_noise(rng, 10, 10)
    turns = np.hypot(dx, dy) / design.pick("ring", (26, 34, 46))
    rings = _two_tone(design, 0.5 + 0.5 * np.sin(turns))
    return _over(rings, design.third.rgb, (0.5 + 0.5 * np.sin(turns * 0.5 + 1)) ** 3)


def _melange(design: Design) -> Tile:
    rng = np.random.default_rng(design.seed)
    share = np.clip(0.22 * periodic_noise(rng, 256, 64) + 0.15, 0, 1)
    return _two_tone(design, share)


_MAKERS: dict[str, Callable[[Design], Tile]] = {
    "stripes": _stripes,
    "breton": _breton,
    "pinstripes": _pinstripes,
    "gingham": _gingham,
    "tartan": _tartan,
    "windowpane": _windowpane,
    "herringbone": _herringbone,
    "chevron": _chevron,
    "argyle": _argyle,
    "nordic": _nordic,
    "dots": _dots,
    "floral": _floral,
    "leaves": _leaves,
    "camouflage": _camouflage,
    "abstract": _abstract,
    "leopard": _leopard,
    "tie-dye": _tie_dye,
    "melange": _melange,
}
# Not repeated over the cloth: the garment's own outline says where they go.
PLACED = frozenset({"plain", "chest print", "chest band", "colour block", "side stripe"})


def pattern_tile(design: Design) -> Tile | None:
    """The design's pattern: uint8 (TILE_PX, TILE_PX, 3) RGB; ``None`` for cloth of one colour."""
    return None if design.pattern in PLACED else _MAKERS[design.pattern](design)
