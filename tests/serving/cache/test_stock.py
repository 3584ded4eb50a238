"""What is known of the stock, against a plain dictionary."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cache import stock
from serving.cache.stock import IN_STOCK, SOLD_OUT, UNKNOWN, Known, News

names = st.sampled_from([f"p{number}" for number in range(12)])
first = st.dictionaries(names, st.sampled_from([IN_STOCK, SOLD_OUT]))
changes = st.dictionaries(names, st.sampled_from([IN_STOCK, SOLD_OUT, UNKNOWN]))


@pytest.mark.parametrize("later", [0, 3, 4_096])
def test_what_changed_counts(later: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "_LATER", later)
    asked = [f"p{number}" for number in range(-1, 13)]

    @given(first, st.lists(changes, max_size=5))
    def check(before: dict[str, int], news: list[dict[str, int]]) -> None:
        known, wanted = Known("0", before), dict(before)
        for number, some in enumerate(news):
            known.take(News(str(number), some))
            wanted |= some
            assert known.version == str(number)
        wanted = {name: value for name, value in wanted.items() if value != UNKNOWN}
        found = known.values(pa.array(asked, pa.string())).tolist()
        assert found == [wanted.get(name, UNKNOWN) for name in asked]
        ids, values = known.all()
        assert dict(zip(ids.to_pylist(), values.tolist(), strict=True)) == wanted
        assert len(ids) == len(wanted)

    check()


def test_nothing_is_known_of_nothing() -> None:
    known = Known("", {})
    assert known.values(pa.array([], pa.string())).tolist() == []
    assert known.values(pa.array(["p1"])).tolist() == [UNKNOWN]
    assert len(known.all()[0]) == 0
