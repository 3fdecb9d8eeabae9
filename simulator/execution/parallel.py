"""Independent tasks on local processes, or on a cluster, with the results in the tasks' order.

A task is a module-level function and one picklable argument. With one job everything runs in this
process; the results are the same, because no task sees another.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from simulator.errors import SimulatorError
from simulator.execution import cluster, interrupts
from simulator.execution.progress import Progress

Task = TypeVar("Task")
Result = TypeVar("Result")
#: Makes what is sent to other processes.
Share = Callable[[], Callable[[], None]]

_PARENT_CHECK_S = 1.0
_LOOK_S = 0.2  # how often the parent looks whether it was asked to end


class WorkerError(SimulatorError):
    """A worker process ended without a word."""


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    jobs: int,
    progress: Progress,
    stage: str,
    share: Share | None = None,
) -> list[Result]:
    """Call `function` on every task.

    Args:
        function: defined at a module's top level.
        jobs: most processes at a time, at least 1.
        progress: notified after each task.
        stage: the name it is notified with.
        share: called here if there are other processes of this machine; what it gives, each of them calls
            first. On a cluster (`cluster.py`) each worker makes its own.

    Raises:
        SimulatorError: jobs is below 1.
        Exception: what a task raised; the others are stopped.
        WorkerError: a process was killed.
        Interrupted: that was asked for; every task under way has ended at a checkpoint.
    """
    if jobs < 1:
        raise SimulatorError(
            f"Found {jobs} jobs, expected at least 1. Set --jobs to the processes you can spare."
        )
    progress.stage(stage, 0, len(tasks))
    if cluster.chosen():
        found: dict[int, Result] = {}
        for place, result in cluster.as_done(function, tasks):
            found[place] = result
            progress.stage(stage, len(found), len(tasks))
        return [found[place] for place in range(len(tasks))]
    if jobs == 1 or len(tasks) == 1:
        results = []
        for task in tasks:
            results.append(function(task))
            progress.stage(stage, len(results), len(tasks))
        return results
    setup = share() if share is not None else None
    return _in_pool(function, tasks, min(jobs, len(tasks)), progress, stage, setup)


def _in_pool(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    jobs: int,
    progress: Progress,
    stage: str,
    setup: Callable[[], None] | None,
) -> list[Result]:
    # Spawned, not forked: torch and RocksDB own threads that a fork would lose.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(
        jobs, mp_context=context, initializer=prepare_worker, initargs=(os.getpid(), stop, setup)
    )
    try:
        with interrupts.signals_held():
            futures = [pool.submit(function, task) for task in tasks]
        pending: set[Any] = set(futures)
        while pending:
            finished, pending = wait(pending, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
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
                future.result()
            if finished:
                progress.stage(stage, len(futures) - len(pending), len(futures))
        return [future.result() for future in futures]
    except BaseException as error:
        # Not terminate: workers are deaf to SIGTERM, as a batch system may send it to all processes.
        for worker in list((pool._processes or {}).values()):
            worker.kill()
        if isinstance(error, BrokenProcessPool):
            raise WorkerError(
                f"A worker process of stage {stage} was killed, expected it to end its task. Most often the "
                f"system is out of memory then: free some, or use fewer than {jobs} --jobs."
            ) from error
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def prepare_worker(parent: int, stop: interrupts.Flag, setup: Callable[[], None] | None = None) -> None:
    """In a process that was started for some work: leave signals to the parent, and end when it is gone.

    Args:
        parent: its process id.
        stop: by which it asks for an end at the next checkpoint.
        setup: called then.
    """
    # Ctrl-C reaches the whole process group; only the parent answers it, and stops the workers.
    interrupts.listen_to(stop)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    if setup is not None:
        setup()


def _leave_with(parent: int) -> None:
    """End this worker when its parent is gone (killed), so that none is left computing for nobody."""
    gone = threading.Event()
    while os.getppid() == parent:
        gone.wait(_PARENT_CHECK_S)
    os._exit(1)
