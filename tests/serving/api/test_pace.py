import asyncio
import threading
from collections import Counter
from typing import Any

import pytest

from serving.api.pace import FIRST, LEAST, Pace
from serving.errors import Overloaded


async def let_in(pace: Pace, count: int, took_s: float = 0.0) -> int:
    """How many of ``count`` at once are."""
    refused = 0

    async def one() -> None:
        nonlocal refused
        try:
            with pace.place():
                await asyncio.sleep(took_s)
        except Overloaded:
            refused += 1

    await asyncio.gather(*(one() for _ in range(count)))
    return count - refused


async def test_as_many_are_let_in_as_are_done_in_time() -> None:
    pace = Pace(target_s=1.0, most=20)
    assert await let_in(pace, 100) == FIRST
    for _ in range(200):
        most = await let_in(pace, 100)
    assert most == 20


async def test_a_crowd_that_is_late_is_smaller_while_it_is_there() -> None:
    pace = Pace(target_s=0.05, most=FIRST)
    with pace.place():  # so that there is always somebody
        assert await let_in(pace, 100, 0.06) == FIRST - 1
        assert await let_in(pace, 100, 0.06) == int(FIRST * 0.8) - 1, (
            "once for all that were in work together"
        )
        for _ in range(10):
            most = await let_in(pace, 100, 0.06)
        assert most == LEAST - 1
    assert await let_in(pace, 100) == FIRST, "what was learned of it is forgotten"


async def test_one_that_is_slow_by_itself_says_nothing_of_a_crowd() -> None:
    pace = Pace(target_s=0.001, most=FIRST)
    for _ in range(10):
        assert await let_in(pace, LEAST, 0.002) == LEAST
    assert await let_in(pace, 100) == FIRST
    assert await let_in(Pace(target_s=0.001, most=2), 100) == 2


@pytest.mark.parametrize("same", [True, False])
def test_only_what_is_looked_at_needs_a_place(keeping_house: Any, patches: Any, same: bool) -> None:
    """Thirty at once: equal ones wait for one answer, and products are looked up."""
    keeping_house.reset()
    keeping_house.detect.delay_s = 0.5
    answers: Counter[int] = Counter()
    products = list(keeping_house.search.products)

    def ask(number: int) -> None:
        if same:
            asked = {"image_url": f"{keeping_house.picture_host}/red.jpg", "k": 7}
        else:
            asked = {"product_id": products[number % len(products)], "k": 1 + number}
        answers[keeping_house.http.post("/v1/search", json=asked).status_code] += 1

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(30)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert answers == {200: 30}
