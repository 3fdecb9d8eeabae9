"""Checkpoint files are whole or not there, and what they keep comes back with the same bits."""

import errno
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from simulator.execution import checkpoints, interrupts
from simulator.execution.checkpoints import (
    ScoreFiles,
    TrainingFile,
    Unusable,
    inputs_of,
    kept,
    read,
    write,
)
from simulator.execution.parallel import run_tasks
from simulator.execution.progress import Silent
from simulator.results.errors import ResultsError

MADE_FROM = inputs_of(model="one", history=50)


def filled(seed: int, rows: int, steps: int = 3, candidates: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """What is needed (R, K), and the logits (K, R, C) with NaN elsewhere."""
    rng = np.random.default_rng(seed)
    needed = rng.random((rows, steps)) < 0.4
    logits = rng.normal(size=(steps, rows, candidates)).astype(np.float32)
    logits[~needed.T] = np.nan
    return needed, logits


def test_meta_and_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    arrays = {"a": np.array([1.5, np.nan], np.float32), "b": np.zeros((0, 3), np.int8)}
    write(tmp_path / "new" / "x", MADE_FROM, {"n": 0.1, "missing": None}, arrays)
    found = read(tmp_path / "new" / "x", MADE_FROM)
    assert found is not None
    assert found[0] == {"n": 0.1, "missing": None}
    assert all(found[1][name].tobytes() == array.tobytes() for name, array in arrays.items())
    assert found[1]["b"].shape == (0, 3)


def test_a_file_that_was_never_written_is_no_checkpoint_and_no_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(tmp_path / "x", MADE_FROM) is None
    assert not caplog.records


def test_every_cut_and_every_flipped_bit_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x"
    write(path, MADE_FROM, {"n": 1}, {"a": np.arange(20)})
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 37)]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(0, len(whole), 11)
    ]
    for content in damaged:
        path.write_bytes(content)
        assert read(path, MADE_FROM) is None
    assert len(caplog.records) == len(damaged)
    assert f"{path}: it is damaged or cut short" in caplog.text
    path.write_bytes(whole)
    assert read(path, MADE_FROM) is not None


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x", MADE_FROM, {"n": 1}, {})

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultsError, match=r"full disk.*--resume"):
        write(tmp_path / "x", MADE_FROM, {"n": 2}, {})
    found = read(tmp_path / "x", MADE_FROM)
    assert found is not None
    assert found[0] == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_scores_are_kept_as_they_come_and_asked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    needed, logits = filled(1, 50)
    files = ScoreFiles(tmp_path, MADE_FROM, needed, 4)
    assert (files.missing == needed).all()
    for row in (10, 25):
        files.logits[:, :row] = logits[:, :row]
        files.reached(row)
    again = ScoreFiles(tmp_path, MADE_FROM, needed, 4)
    assert again.logits[:, :25].tobytes() == logits[:, :25].tobytes()
    assert np.isnan(again.logits[:, 25:]).all()
    assert not again.missing[:25].any()
    assert (again.missing[25:] == needed[25:]).all()


def test_scores_are_written_when_due_and_at_the_end(tmp_path: Path) -> None:
    needed, _ = filled(2, 50)
    files = ScoreFiles(tmp_path, MADE_FROM, needed, 4)
    files.reached(25)
    assert not list(tmp_path.iterdir())
    files.reached(50)
    assert [path.name for path in tmp_path.iterdir()] == ["scores-000000000-000000050"]
    ScoreFiles(tmp_path, MADE_FROM, needed, 4).reached(50)  # nothing was left to score: nothing is written
    assert len(list(tmp_path.iterdir())) == 1


def test_scores_of_smaller_batches_are_not_mixed_with_those_of_the_planned_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    needed, logits = filled(6, 30)
    files = ScoreFiles(tmp_path, MADE_FROM, needed, 4)
    files.logits[:] = logits
    files.reached(10)
    files.reached(30, {"laser/16": {"256 x 1000 x 32": "128 x 1000 x 32"}})
    again = ScoreFiles(tmp_path, MADE_FROM, needed, 4)
    assert not again.missing[:10].any()
    assert (again.missing[10:] == needed[10:]).all()
    assert "smaller batches for want of memory ({'laser/16'" in caplog.text


def test_damaged_scores_are_scored_again_and_the_others_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    needed, logits = filled(3, 30)
    files = ScoreFiles(tmp_path, MADE_FROM, needed, 4)
    files.logits[:] = logits
    for row in (10, 20, 30):
        files.reached(row)
    middle = tmp_path / "scores-000000010-000000020"
    middle.write_bytes(middle.read_bytes()[:-1])
    again = ScoreFiles(tmp_path, MADE_FROM, needed, 4)
    assert (again.missing[10:20] == needed[10:20]).all()
    assert not again.missing[:10].any()
    assert not again.missing[20:].any()
    assert str(middle) in caplog.text


def test_of_scores_for_other_needs_what_is_needed_is_taken(tmp_path: Path) -> None:
    needed, logits = filled(4, 30)
    files = ScoreFiles(tmp_path, MADE_FROM, needed, 4)
    files.logits[:] = logits
    files.reached(30)
    other, _ = filled(5, 30)
    again = ScoreFiles(tmp_path, MADE_FROM, other, 4)
    assert (again.missing == other & ~needed).all()
    taken = (other & needed).T
    assert again.logits[taken].tobytes() == logits[taken].tobytes()
    assert np.isnan(again.logits[~taken]).all()


def test_scores_from_other_inputs_are_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    needed, logits = filled(4, 30)
    files = ScoreFiles(tmp_path, MADE_FROM, needed, 4)
    files.logits[:] = logits
    files.reached(30)
    again = ScoreFiles(tmp_path, inputs_of(model="two", history=50), needed, 4)
    assert (again.missing == needed).all()
    assert np.isnan(again.logits).all()
    assert "made from other inputs" in caplog.text


def test_a_training_on_other_inputs_is_not_continued(tmp_path: Path) -> None:
    TrainingFile(tmp_path / "t", MADE_FROM).save(b"state")
    assert TrainingFile(tmp_path / "t", inputs_of(model="two", history=50)).load() is None


def test_work_is_done_once_and_again_only_for_other_inputs_damage_or_what_is_gone(tmp_path: Path) -> None:
    path, made, gone = tmp_path / "x", [], []

    def result(inputs: str = MADE_FROM) -> int:
        def make() -> int:
            made.append(inputs)
            return 7

        def unpack(meta, arrays):  # type: ignore[no-untyped-def]
            if gone:
                raise Unusable("what it speaks of is gone")
            return meta["n"]

        return kept(path, inputs, make, lambda n: ({"n": n}, {}), unpack)

    other = inputs_of(model="two", history=50)
    assert [result(), result(), result(other), result(other), result()] == [7] * 5
    assert made == [MADE_FROM, other, MADE_FROM]
    path.write_bytes(path.read_bytes()[:-1])
    assert result() == 7
    assert len(made) == 4
    gone.append(True)
    assert result() == 7
    assert len(made) == 5
    assert kept(None, MADE_FROM, lambda: 1, lambda n: ({}, {}), lambda *_: 2) == 1


def test_inputs_differ_in_every_part_and_are_the_same_in_any_order() -> None:
    assert inputs_of(history=50, model="one") == MADE_FROM
    others = [
        inputs_of(model="one", history=51),
        inputs_of(model="one"),
        inputs_of(model="one", history="50"),
    ]
    assert len({MADE_FROM, *others}) == 4


def test_the_first_signal_asks_and_the_second_ends_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        signal.signal(number, signal.default_int_handler)  # a test run in the background ignores Ctrl-C
        try:
            with interrupts.stops_at_checkpoints():
                os.kill(os.getpid(), number)
                assert interrupts.asked()
                with pytest.raises(KeyboardInterrupt):
                    os.kill(os.getpid(), number)
            assert not interrupts.asked()
            assert signal.getsignal(number) is signal.default_int_handler
        finally:
            signal.signal(number, before)
    assert capfd.readouterr().err.count("Stopping at the next checkpoint") == 2


def test_a_signal_that_comes_as_the_work_ends_leaves_nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    restore, before = signal.signal, signal.getsignal(signal.SIGTERM)

    def signalled(number: int, answer: signal.Handlers) -> object:
        os.kill(os.getpid(), signal.SIGTERM)  # still answered by the work that ends
        return restore(number, answer)

    with monkeypatch.context() as patch, interrupts.stops_at_checkpoints():
        os.kill(os.getpid(), signal.SIGTERM)
        patch.setattr(signal, "signal", signalled)
    assert not interrupts.asked()
    assert signal.getsignal(signal.SIGTERM) is before


def until(true: Callable[[], bool]) -> None:
    """Wait for something that comes, however slow the machine is; the test's own limit ends what does not."""
    while not true():
        time.sleep(0.01)


def stubborn(begun: Path) -> None:
    """Work without a checkpoint, for longer than a test may take."""
    begun.touch()
    threading.Event().wait(3600.0)


def patient(begun: Path) -> None:
    """Work with many."""
    begun.touch()
    while True:
        interrupts.check()
        threading.Event().wait(0.01)


@pytest.mark.parametrize(("work", "signals"), [(patient, 1), (stubborn, 2)])
def test_workers_are_waited_for_once_asked_and_ended_when_asked_twice(
    work: Callable[[Path], None], signals: int, tmp_path: Path
) -> None:
    tasks = [tmp_path / name for name in ("a", "b", "c")]

    def send() -> None:
        until(lambda: sum(task.exists() for task in tasks) == 2)  # both workers are at it
        os.kill(os.getpid(), signal.SIGTERM)
        if signals == 2:
            until(interrupts.asked)
            time.sleep(1.0)
            os.kill(os.getpid(), signal.SIGTERM)

    with interrupts.stops_at_checkpoints():
        sender = threading.Thread(target=send)
        sender.start()
        with pytest.raises(KeyboardInterrupt) as told:
            run_tasks(work, tasks, 2, Silent(), "work")
        sender.join()
    assert isinstance(told.value, interrupts.Interrupted) == (signals == 1)
    assert multiprocessing.active_children() == []


def test_whoever_is_deaf_to_ctrl_c_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.stops_at_checkpoints():
            os.kill(os.getpid(), signal.SIGINT)
            assert not interrupts.asked()
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_asked_training_saves_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = TrainingFile(tmp_path / "t", MADE_FROM)
    assert not keeper.due()
    flag = threading.Event()
    flag.set()
    monkeypatch.setattr(interrupts, "_flag", flag)
    assert keeper.due()
    with pytest.raises(interrupts.Interrupted):
        keeper.save(b"state")
    assert TrainingFile(tmp_path / "t", MADE_FROM).load() == b"state"
