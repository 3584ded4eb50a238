"""Texts for people."""

import pytest

from imgsearch_assets.figures import visible


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Blåbär 100\u00a0% 😀", "Blåbär 100\u00a0% 😀"),
        ("\x1b[31mred\r\n", r"\x1b[31mred\r\n"),
        ("\u202eevil\u2028", r"\u202eevil\u2028"),
    ],
)
def test_what_would_steer_a_terminal_is_written_out(text: str, seen: str) -> None:
    assert visible(text) == seen
