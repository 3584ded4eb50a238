"""How garments that hang from the shoulders are cut: their measures, necklines and flanks."""

from dataclasses import dataclass

from imgsearch_assets.sample.design import Design


@dataclass(frozen=True)
class Cut:
    """Measures in cm; widths are half-widths. ``sleeve`` is the fraction of the arm that is covered."""

    length: float
    chest: float
    waist: float
    hem: float
    sleeve: float
    sleeve_width: float = 9.0
    cuff_width: float = 6.5
    neck_width: float = 8.0
    neck_depth: float = 6.0
    v_neck: bool = False
    drop: float = 0.0  # how far the shoulder seam falls off the shoulder
    hem_dip: float = 1.0
    ribbed: bool = False
    waist_y: float = 41.0


def cut_of(d: Design) -> Cut:
    """The measures of the design. Raises ``ValueError`` for one that hangs from elsewhere."""
    b = d.between
    match d.style:
        case "crew-neck tee" | "ringer tee":
            return Cut(
                b("l", 60, 70),
                b("c", 23, 27),
                b("w", 22, 26),
                b("h", 23, 27),
                b("s", 0.3, 0.44),
                b("sw", 9, 11),
                b("cw", 8, 10.5),
                neck_depth=b("n", 5, 8),
            )
        case "v-neck tee":
            return Cut(
                b("l", 60, 69),
                b("c", 22, 25),
                b("w", 20, 24),
                b("h", 22, 25),
                b("s", 0.28, 0.4),
                9,
                8,
                neck_depth=b("n", 13, 18),
                v_neck=True,
            )
        case "long-sleeve tee":
            return Cut(
                b("l", 61, 69),
                b("c", 22, 25),
                b("w", 20, 24),
                b("h", 22, 25),
                b("s", 0.9, 1),
                8.5,
                5,
                neck_depth=b("n", 5, 9),
            )
        case "polo shirt":
            return Cut(
                b("l", 62, 70),
                b("c", 23, 26),
                b("w", 22, 25),
                b("h", 23, 26),
                b("s", 0.32, 0.42),
                9.5,
                8,
                neck_depth=5,
            )
        case "tank top":
            return Cut(
                b("l", 58, 68),
                b("c", 20, 24),
                b("w", 19, 23),
                b("h", 20, 25),
                0,
                neck_width=b("nw", 9, 11),
                neck_depth=b("n", 11, 17),
                drop=-4.5,
            )
        case "Oxford shirt" | "flannel shirt" | "denim shirt":
            return Cut(
                b("l", 68, 76),
                b("c", 24, 28),
                b("w", 22, 27),
                b("h", 23, 28),
                b("s", 0.93, 1),
                9.5,
                5.5,
                neck_depth=4,
                hem_dip=b("d", 3, 7),
            )
        case "camp shirt":
            return Cut(
                b("l", 64, 71),
                b("c", 26, 29),
                b("w", 26, 29),
                b("h", 27, 30),
                b("s", 0.42, 0.5),
                11,
                11,
                neck_depth=13,
                v_neck=True,
                drop=1,
            )
        case "blouse":
            return Cut(
                b("l", 60, 68),
                b("c", 22, 25),
                b("w", 19, 24),
                b("h", 23, 28),
                b("s", 0.8, 1),
                9,
                b("cw", 5, 9),
                neck_depth=b("n", 8, 14),
                v_neck=True,
            )
        case "hoodie":
            return Cut(
                b("l", 64, 71),
                b("c", 27, 31),
                b("w", 26, 30),
                b("h", 23, 27),
                1,
                11.5,
                6,
                neck_depth=9,
                drop=2,
                ribbed=True,
            )
        case "cardigan":
            return Cut(
                b("l", 60, 80),
                b("c", 24, 29),
                b("w", 23, 28),
                b("h", 24, 29),
                0.97,
                10,
                6,
                neck_depth=b("n", 22, 32),
                v_neck=True,
                ribbed=True,
            )
        case "turtleneck" | "crew-neck sweater" | "v-neck sweater":
            v = d.style == "v-neck sweater"
            return Cut(
                b("l", 60, 69),
                b("c", 24, 29),
                b("w", 23, 28),
                b("h", 22, 26),
                0.98,
                b("sw", 9, 12),
                6,
                neck_depth=b("n", 15, 19) if v else 6,
                v_neck=v,
                ribbed=True,
            )
        case "bomber jacket" | "puffer jacket":
            return Cut(
                b("l", 58, 66),
                b("c", 28, 32),
                b("w", 28, 32),
                b("h", 24, 28),
                1,
                12,
                7,
                neck_depth=5,
                drop=1.5,
                ribbed=d.style == "bomber jacket",
            )
        case "denim jacket" | "biker jacket":
            return Cut(
                b("l", 55, 62),
                b("c", 25, 28),
                b("w", 23, 26),
                b("h", 23, 26),
                0.98,
                10,
                6.5,
                neck_depth=6,
                v_neck=d.style == "biker jacket",
            )
        case "blazer":
            return Cut(
                b("l", 70, 78),
                b("c", 25, 28),
                b("w", 21, 25),
                b("h", 25, 29),
                0.97,
                10,
                7,
                neck_depth=b("n", 30, 40),
                v_neck=True,
            )
        case "trench coat" | "wool coat":
            return Cut(
                b("l", 95, 120),
                b("c", 26, 30),
                b("w", 23, 28),
                b("h", 30, 39),
                0.98,
                11,
                8,
                neck_depth=b("n", 16, 30),
                v_neck=True,
            )
        case "parka" | "duffle coat":
            return Cut(
                b("l", 82, 98),
                b("c", 29, 33),
                b("w", 28, 32),
                b("h", 30, 35),
                1,
                12,
                8,
                neck_depth=5,
                drop=1.5,
            )
        case "shift dress":
            return Cut(
                b("l", 88, 102),
                b("c", 22, 24),
                b("w", 20, 23),
                b("h", 25, 30),
                d.pick("s", (0.0, 0.3, 0.5)),
                8.5,
                9,
                neck_width=9,
                neck_depth=b("n", 5, 9),
            )
        case "skater dress":
            return Cut(
                b("l", 86, 98),
                21,
                b("w", 15.5, 17.5),
                b("h", 38, 50),
                d.pick("s", (0.0, 0.25, 0.5, 0.95)),
                8,
                6.5,
                neck_width=10,
                neck_depth=b("n", 7, 13),
                waist_y=38,
            )
        case "maxi dress":
            return Cut(
                b("l", 128, 146),
                21,
                b("w", 16.5, 19),
                b("h", 32, 46),
                d.pick("s", (0.0, 0.3, 0.95)),
                8.5,
                d.pick("cw", (6.0, 11.0)),
                neck_width=9,
                neck_depth=b("n", 13, 20),
                v_neck=True,
            )
        case "slip dress":
            return Cut(
                b("l", 98, 128),
                19.5,
                b("w", 17, 19),
                b("h", 24, 32),
                0,
                neck_width=12,
                neck_depth=b("n", 17, 21),
                v_neck=d.chance("v", 0.7),
            )
        case "shirt dress":
            return Cut(
                b("l", 92, 116),
                b("c", 23, 26),
                b("w", 20, 23),
                b("h", 28, 38),
                d.pick("s", (0.45, 0.95)),
                9.5,
                7,
                neck_depth=6,
                hem_dip=4,
            )
        case _:
            raise ValueError(f"{d.style!r} does not hang from the shoulders")


def neckline(cut: Cut) -> list[tuple[float, float]]:
    """The right half of the front neckline, from the middle up to the side of the neck."""
    depth, width = cut.neck_depth, cut.neck_width
    if cut.v_neck:
        return [(0, depth), (width * 0.55, depth * 0.42 - 1.5), (width, -3)]
    return [(0, depth), (width * 0.55, depth - 1.2), (width * 0.93, depth * 0.35), (width, -3)]


def flank(cut: Cut) -> list[tuple[float, float]]:
    """Underarm to hem, right side."""
    y = cut.waist_y
    points = [(cut.chest, 21.0), (cut.waist, y)]
    if cut.length > 80:
        below = min(max((cut.hem - cut.waist) * 0.45, 0), 9)
        points += [(cut.waist + below, y + (cut.length - y) * 0.35)]
    return [*points, (cut.hem, cut.length)]
