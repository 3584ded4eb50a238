import re

import pytest

from serving.api.clock import Clock, server_timing
from serving.errors import DeadlinePassed


def test_stages_add_up_by_name_even_when_they_raise() -> None:
    clock = Clock(5.0)
    with clock.stage("search"):
        pass
    with pytest.raises(KeyError):
        with clock.stage("search"):
            raise KeyError
    assert list(clock.timings_ms) == ["search", "total"]
    assert clock.timings_ms["total"] >= clock.timings_ms["search"] >= 0


def test_time_that_is_over_raises() -> None:
    assert 0 < Clock(5.0).left_s() <= 5
    with pytest.raises(DeadlinePassed, match=re.escape("no answer within 1e-09 s")):
        Clock(1e-9).left_s()


def test_header_follows_the_standard() -> None:
    assert server_timing({"detect": 12.5, "total": 20.0}) == "detect;dur=12.5, total;dur=20"
