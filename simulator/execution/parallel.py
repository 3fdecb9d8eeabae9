"""Independent tasks on local processes, or on a cluster, with the results in the tasks' order.

A task is a module-level function and one picklable argument. With one job everything runs in this
process; the results are the same, because no task sees another.

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
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
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


def start_importing(jobs: int) -> None:
    """Let a run's worker processes find their modules imported; this process goes on meanwhile.

    Args:
        jobs: with fewer than two there will be none.
    """
    if jobs > 1 and not cluster.chosen():
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
    # Held there for good, so that a SIGTERM to all processes of a run leaves what its workers come from.
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
        server._stop()


def _in_pool(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    jobs: int,
    progress: Progress,
    stage: str,
    setup: Callable[[], None] | None,
) -> list[Result]:
    context = process_context(function.__module__)
    stop = context.Event()
    pool = ProcessPoolExecutor(
        jobs, mp_context=context, initializer=prepare_worker, initargs=(dict(os.environ), stop, setup)
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
