"""However torch says that a device is out of memory, callers meet one error that says what to do."""

from __future__ import annotations

import pickle

import pytest
import torch
from ranking_batches import config, random_batch

from laser.models import build_model
from laser.out_of_memory import DeviceMemoryError, memory_told
from laser.scoring.runtime import Scorer

CPU = torch.device("cpu")
MORE_THAN_THERE_IS = 1 << 58  # bytes; no machine has them, so nothing is taken
LONG = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free. Process 7 has 70 GiB. See also"
)


def test_a_gpus_exception_is_reported_in_a_few_sentences() -> None:
    with (
        pytest.raises(DeviceMemoryError) as told,
        memory_told(torch.device("cuda", 1), "training", "Train less."),
    ):
        raise torch.OutOfMemoryError(LONG)
    assert str(told.value) == (
        "cuda:1 is out of memory while training (torch: CUDA out of memory. Tried to allocate 2.00 GiB. "
        "GPU 0 has 1.00 GiB free). Train less."
    )
    assert isinstance(told.value.__cause__, torch.cuda.OutOfMemoryError)


def test_the_cpus_bare_error_is_reported_alike() -> None:
    says = r"cpu is out of memory while x .*tried to allocate"
    with pytest.raises(DeviceMemoryError, match=says), memory_told(CPU, "x", "y."):
        torch.empty(MORE_THAN_THERE_IS)


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="size of tensor") as other, memory_told(CPU, "x", "y."):
        torch.ones(2) + torch.ones(3)
    assert not isinstance(other.value, DeviceMemoryError)


def test_a_scorer_says_what_it_was_scoring(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(build_model(config("din"), 1))
    monkeypatch.setattr(scorer.snapshot.model, "attend", lambda *_: torch.empty(MORE_THAN_THERE_IS))
    with pytest.raises(
        DeviceMemoryError, match=r"scoring 2 x 4 candidates, histories of up to 9 .*Score fewer"
    ):
        scorer.score(random_batch([3, 9]))


def test_the_error_leaves_a_worker_process_whole() -> None:
    error = DeviceMemoryError("cuda:0 is out of memory")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
