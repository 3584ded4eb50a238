"""How often a JPEG goes over its pixels, counted before a decoder does it.

A scan of a few bytes may stand for every pixel, so 30 kB can keep libjpeg busy for minutes: it has no limit
of its own. "Two Issues with the JPEG Standard", libjpeg-turbo project, 2018; markers: ITU-T T.81, annex B.
"""

import re

_MOST_SEGMENTS = 10_000

_EOI, _SOS = 0xD9, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# The end of compressed pixels: a marker that is neither a stuffed zero nor a restart.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def scans(data: bytes) -> int:
    """Of the first picture in ``data``, a JPEG; never fewer than libjpeg will decode."""
    at, found, components, progressive = 2, 0, 0, False
    for _ in range(_MOST_SEGMENTS):
        if at + 4 > len(data) or data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # fill before a marker
            at += 1
            continue
        if marker == _EOI:
            return found
        if not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xD8:
            break
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
        if marker in _FRAMES:
            progressive = marker in _PROGRESSIVE
            components = data[at + 9] if at + 9 < len(data) else 0
        elif marker == _SOS:
            found += 1
            if not progressive and found == 1 and at + 4 < len(data) and data[at + 4] == components:
                return 1  # all there is in one go; libjpeg takes no other after it
            after = _MARKER.search(data, end)
            if after is None:
                return found
            end = after.start()
        at = end
    # Not as encoders write it, and read in more than one way: count whatever looks like a scan.
    return data.count(b"\xff\xda")
