import os

import pytest
import torch

from serving.models import runtime


def test_tune_sets_the_threads_of_a_forward_pass() -> None:
    before = torch.get_num_threads()
    try:
        runtime.tune(threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_cores_are_those_of_this_process() -> None:
    assert runtime.cores() == len(os.sched_getaffinity(0))


def test_batches_are_small_on_a_cpu() -> None:
    assert runtime.batch_size(torch.device("cpu")) == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_are_large_on_an_accelerator() -> None:
    assert runtime.batch_size(torch.device("cuda")) > runtime.batch_size(torch.device("cpu"))
