"""Works that wait for each other: what they are given, when they begin, and who hears of it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.execution.parallel import Work, run_works
from simulator.execution.progress import Silent


def number(task: int) -> int:
    return task


def added(task: int, *results: int) -> int:
    return task + 10 * sum(results)


def marked(path: Path, *results: int) -> int:
    path.touch()
    return 1


def waited(path: Path) -> int:
    """Works until somebody has put a file there; the test's own limit ends what does not come."""
    while not path.exists():
        time.sleep(0.01)
    return 1


class Heard:
    """Progress that is remembered."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int, int]] = []

    def stage(self, name: str, done: int, total: int) -> None:
        self.stages.append((name, done, total))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_signal_ends_what_workers_are_forked_from_while_it_imports() -> None:
    """In a new process, without a resource tracker yet: Python begins one, and lets signals through again."""
    ask = (
        "from multiprocessing import forkserver; from pathlib import Path\n"
        "from simulator.execution.parallel import process_context\n"
        "process_context()\n"
        "status = Path(f'/proc/{forkserver._forkserver._forkserver_pid}/status').read_text('utf-8')\n"
        "print(status.split('SigBlk:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    held = int(done.stdout, 16)
    assert all(held >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM))


def test_a_process_that_was_started_by_another_ends_without_a_word(tmp_path: Path) -> None:
    """As benchmarks start one for each arm: multiprocessing removes its folder before Python's last calls."""
    script = tmp_path / "starts_one.py"
    script.write_text(
        "from multiprocessing import get_context\n"
        "from simulator.execution.parallel import process_context\n"
        "if __name__ == '__main__':\n"
        "    one = get_context('spawn').Process(target=process_context)\n"
        "    one.start(); one.join(); print(one.exitcode)\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_a_work_is_given_the_results_it_waits_for_in_their_order(jobs: int) -> None:
    works = [
        Work(number, 1, "one"),
        Work(added, 2, "two", (0,)),
        Work(number, 3, "one"),
        Work(added, 4, "two", (1, 2)),
    ]
    assert run_works(works, jobs, Silent()) == [1, 12, 3, 154]


def test_a_work_begins_when_those_it_waits_for_are_done_whoever_is_still_at_work(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    works = [Work(waited, mark, "long"), Work(number, 1, "short"), Work(marked, mark, "last", (1,))]
    assert run_works(works, 2, Silent()) == [1, 1, 1]


@pytest.mark.parametrize("jobs", [1, 2])
def test_stages_are_heard_of_one_after_the_other_though_they_overlap(jobs: int) -> None:
    works = [
        Work(number, 1, "one"),
        Work(added, 2, "two", (0,)),
        Work(number, 3, "one"),
        Work(added, 4, "two", (2,)),
    ]
    heard = Heard()
    run_works(works, jobs, heard)
    names = [name for name, _, _ in heard.stages]
    assert names == sorted(names)
    assert heard.stages[0] == ("one", 0, 2)
    assert heard.stages[-1] == ("two", 2, 2)
    assert {("one", 2, 2)} < set(heard.stages)


def test_a_stage_is_heard_of_after_all_that_its_works_wait_for() -> None:
    # As of a kept model, which is calibrated at once, beside one that is to be trained before.
    works = [
        Work(number, 1, "kept"),
        Work(added, 2, "calibrate", (0,)),
        Work(number, 3, "train"),
        Work(added, 4, "calibrate", (2,)),
    ]
    heard = Heard()
    run_works(works, 1, heard)
    assert list(dict.fromkeys(name for name, _, _ in heard.stages)) == ["kept", "train", "calibrate"]
