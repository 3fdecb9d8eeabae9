"""Works on local processes, or on a cluster, with what they give in their order. Start at `run_works`.

A work is a module-level function, one picklable argument, and the results of works before it that it waits
for. With one job everything runs in this process, in the works' order; the results are the same, because no
work sees more of another than its result.

Where the system can, processes are forked from one that has imported what they need and done nothing else: it
imports torch once for all of them, while the run begins. They are not forked from this process: torch and
RocksDB own threads that a fork would lose.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any, TypeVar

from simulator.errors import SimulatorError
from simulator.execution import cluster, interrupts
from simulator.execution.progress import Progress

Task = TypeVar("Task")
Result = TypeVar("Result")
#: Makes what is sent to other processes.
Share = Callable[[], Callable[[], None]]

# What a run's workers need, by name: what is below knows nothing of what is above.
_OF_RUNS = ("simulator.arms.training", "simulator.arms.serve")
_LOOK_S = 0.2  # how often the parent looks whether it was asked to end


class WorkerError(SimulatorError):
    """A worker process ended without a word."""


@dataclass(frozen=True)
class Work:
    """A call, `function(task, *results)`.

    Attributes:
        function: defined at a module's top level.
        task: its first argument.
        stage: the name that progress is notified with.
        after: places of the works whose results are its other arguments; all are before its own.
    """

    function: Callable[..., Any]
    task: Any
    stage: str
    after: tuple[int, ...] = ()


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    jobs: int,
    progress: Progress,
    stage: str,
    share: Share | None = None,
) -> list[Result]:
    """Call `function` on every task: `run_works` where none waits for another."""
    return run_works([Work(function, task, stage) for task in tasks], jobs, progress, share)


def run_works(works: Sequence[Work], jobs: int, progress: Progress, share: Share | None = None) -> list[Any]:
    """Do every work, each as soon as what it waits for is done and a process is free.

    Args:
        works: those that are ready together begin in this order.
        jobs: most processes at a time, at least 1.
        progress: notified after each work, of the first stage that is not done.
        share: called here if there are other processes; what it gives, each of them calls first.

    Returns:
        What each work gave.

    Raises:
        SimulatorError: jobs is below 1.
        Exception: what a work raised; the others are stopped.
        WorkerError: a process was killed.
        Interrupted: that was asked for; every work under way has ended at a checkpoint.
    """
    if jobs < 1:
        raise SimulatorError(
            f"Found {jobs} jobs, expected at least 1. Set --jobs to the processes you can spare."
        )
    agenda = _Agenda(works, progress)
    if cluster.chosen():
        for place, result in cluster.as_done(agenda.calls, share() if share is not None else None):
            agenda.ended(place, result)
    elif jobs == 1 or len(works) == 1:
        for place in range(len(works)):
            agenda.ended(place, _called(agenda.call(place)))
    else:
        _in_pool(agenda, min(jobs, len(works)), share() if share is not None else None)
    return [agenda.results[place] for place in range(len(works))]


_Call = tuple[Callable[..., Any], tuple[Any, ...]]


def _called(call: _Call) -> Any:
    function, arguments = call
    return function(*arguments)


class _Agenda:
    """Attributes:
    results: what works gave, by place.
    stages: that are not done, in order: a stage comes before those that wait for works of it.
    """

    def __init__(self, works: Sequence[Work], progress: Progress) -> None:
        self._works, self._progress = works, progress
        self._begun: set[int] = set()
        self.results: dict[int, Any] = {}
        self.stages = list(dict.fromkeys(work.stage for work in reversed(works)))[::-1]
        self._notify()

    @property
    def modules(self) -> list[str]:
        """Where the works' functions are defined."""
        return sorted({work.function.__module__ for work in self._works})

    def begun(self) -> list[int]:
        """The works that can begin and have not, which they do with this call."""
        ready = [
            place
            for place, work in enumerate(self._works)
            if place not in self._begun and all(before in self.results for before in work.after)
        ]
        self._begun.update(ready)
        return ready

    def call(self, place: int) -> _Call:
        """What a work is."""
        work = self._works[place]
        return work.function, (work.task, *(self.results[before] for before in work.after))

    def calls(self) -> list[cluster.Call]:
        """Places, functions and arguments of the works that can begin and have not, which they do now."""
        return [(place, *self.call(place)) for place in self.begun()]

    def ended(self, place: int, result: Any) -> None:
        """A work has given its result."""
        self.results[place] = result
        self._notify()

    def _notify(self) -> None:
        # Stages may overlap; whoever listens hears of them one after the other.
        while self.stages:
            of_stage = [p for p, work in enumerate(self._works) if work.stage == self.stages[0]]
            done = sum(place in self.results for place in of_stage)
            self._progress.stage(self.stages[0], done, len(of_stage))
            if done < len(of_stage):
                return
            del self.stages[0]


def start_importing(jobs: int, tasks: int) -> None:
    """Let a run's worker processes find their modules imported; this process goes on meanwhile.

    Args:
        jobs: with fewer than two there will be none, but on a cluster.
        tasks: how many there will be at a time, at most.
    """
    if cluster.chosen():
        cluster.start_importing(_OF_RUNS, tasks)
    elif jobs > 1:
        process_context(*_OF_RUNS)


def process_context(*modules: str) -> SpawnContext | ForkServerContext:
    """How processes are started here.

    Args:
        modules: imported in the process that others are forked from, if this call is the one that starts it.
    """
    # Elsewhere a fork of what has imported this much may fail: macOS forbids it to some of its own libraries.
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    resource_tracker.ensure_running()  # or the call below begins it, and that lets signals through again
    # Held there for good, so that a signal to all processes of a run leaves what its workers come from.
    with interrupts.signals_held():
        forkserver.ensure_running()
    atexit.unregister(_end_server)
    atexit.register(_end_server)
    return context


def _end_server() -> None:
    """End what processes are forked from, and wait for it: its time, and theirs, counts as this process's."""
    server: Any = forkserver._forkserver  # its end has no public name
    if server._forkserver_pid is not None:
        os.kill(server._forkserver_pid, signal.SIGKILL)  # it may be importing still
        with suppress(FileNotFoundError):  # a process that multiprocessing started has removed its socket
            server._stop()


def _in_pool(agenda: _Agenda, jobs: int, setup: Callable[[], None] | None) -> None:
    context = process_context(*agenda.modules)
    stop = context.Event()
    pool = ProcessPoolExecutor(
        jobs, mp_context=context, initializer=prepare_worker, initargs=(dict(os.environ), stop, setup)
    )
    pending: dict[Future[Any], int] = {}

    def begin() -> None:
        with interrupts.signals_held():
            for place in agenda.begun():
                function, arguments = agenda.call(place)
                pending[pool.submit(function, *arguments)] = place

    try:
        begin()
        while pending:
            finished, _ = wait(pending, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
            if interrupts.asked():
                stop.set()
                # Each ends at its own checkpoint. Not by shutdown(), which joins a thread: a second Ctrl-C in
                # join() makes Python 3.11 take that thread for ended, and close what it still waits for.
                for future in pending:
                    future.cancel()
                wait(pending)
                interrupts.check()
            # The pool itself may overlook the end of the worker it started last until another's task ends.
            if any(worker.exitcode for worker in list((pool._processes or {}).values())):
                raise BrokenProcessPool("a worker has ended")
            for future in finished:
                agenda.ended(pending.pop(future), future.result())
            begin()
    except BaseException as error:
        # Not terminate: workers are deaf to SIGTERM, as a batch system may send it to all processes.
        for worker in list((pool._processes or {}).values()):
            worker.kill()
        if isinstance(error, BrokenProcessPool):
            raise WorkerError(
                f"A worker process of stage {agenda.stages[0]} was killed, expected it to end its task. Most "
                f"often the system is out of memory then: free some, or use fewer than {jobs} --jobs."
            ) from error
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def prepare_worker(
    environment: Mapping[str, str], stop: interrupts.Flag, setup: Callable[[], None] | None = None
) -> None:
    """In a process that was started for some work: leave signals to the parent, and end when it is gone.

    Args:
        environment: the parent's; what this process was forked from has an earlier one.
        stop: by which it asks for an end at the next checkpoint.
        setup: called then.
    """
    os.environ.clear()
    os.environ.update(environment)
    # Ctrl-C reaches the whole process group; only the parent answers it, and stops the workers.
    interrupts.listen_to(stop)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if setup is not None:
        setup()


def _leave_with_parent() -> None:
    """End this worker when its parent is gone (killed), so that none is left computing for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
