"""The benchmark itself runs, on next to nothing: its figures here mean nothing."""

import shutil

import pytest

from benchmarks._h2load import Call, _read

SAID = """
finished in 1.25s, 80.00 req/s, 3.53KB/s
requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 100 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 4.41KB (4517) total, 1.17KB (1200) headers (space savings 93.51%), 1.46KB ({data}) data
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load (nghttp2-client) is not installed")
def test_searches_and_calls_that_do_nothing(benchmark) -> None:
    ran = benchmark(
        "rpc",
        "--n",
        "3000",
        "--dim",
        "16",
        "--rounds",
        "1",
        "--seconds",
        "0.1",
        "--queries",
        "50",
        "--changed",
        "20",
    )
    said = ran.figures
    assert "no-op (health Check)" in ran.stdout
    assert said["failed"] == 0
    assert 0 < said["ratio_vs_noop_new_queries"] <= said["ratio_vs_noop"] < 2
    assert 0 < said["ratio_vs_noop_of_a_picture_beside_a_delta"] < 2
    assert said["recall_at_10"] > 0.9
    assert said["batch_vectors_per_s"] > said["search_per_s"] > 0


def test_an_answer_of_status_200_without_its_bytes_is_an_error() -> None:
    call = Call("/a/b", b"", reply_bytes=10)
    right = _read(SAID.format(data=1500), call, 100)
    assert (right.calls, right.right, right.seconds) == (100, 100, 1.25)
    assert _read(SAID.format(data=1485), call, 100).right == 99
    assert _read(SAID.format(data=1501), call, 100).right == 0, "some answer is a longer one"


def test_h2load_that_says_something_else() -> None:
    with pytest.raises(SystemExit, match="what is not understood"):
        _read("no route to host", Call("/a/b", b"", 1), 1)
