"""Independent tasks on a Ray cluster, as `parallel.py` has them on local processes. Start at `as_done`.

Every machine of the cluster must have this package and see the same folders: the run's or sweep's own, and
the cache (`LASER_AB_CACHE`), through which scores and models travel. Tasks carry no files. What a task gives
is what it gives in this process, so tables are the same bytes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from simulator.errors import SimulatorError
from simulator.execution import interrupts

Task = TypeVar("Task")
Result = TypeVar("Result")

ENGINE_VARIABLE = "LASER_AB_ENGINE"
ADDRESS_VARIABLE = "LASER_AB_RAY_ADDRESS"
# A worker or a machine that is lost costs its task, which begins again elsewhere, so many times.
RETRIES = 3
_LOOK_S = 0.2  # how often it is looked whether an end was asked for


class ClusterError(SimulatorError):
    """A cluster that cannot be used, or lost a task for good."""


def chosen() -> bool:
    """Whether tasks go to a Ray cluster: LASER_AB_ENGINE is "ray", as `--engine ray` sets it.

    Raises:
        ClusterError: it names another engine.
    """
    engine = os.environ.get(ENGINE_VARIABLE) or "processes"
    if engine not in ("processes", "ray"):
        raise ClusterError(f"{ENGINE_VARIABLE} is {engine!r}, expected processes or ray.")
    return engine == "ray"


def as_done(function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
    """Call `function` on every task, on the cluster that LASER_AB_RAY_ADDRESS names or a local one.

    Args:
        function: defined at a module's top level.
        tasks: picklable; each takes a CPU.

    Yields:
        A task's place and what it gave, as they end.

    Raises:
        Exception: what a task raised; the others are stopped.
        ClusterError: Ray is not installed or not reached, or a task was lost for good.
        Interrupted: that was asked for; the tasks under way are stopped.
    """
    ray = _connected()
    call = ray.remote(num_cpus=1, max_retries=RETRIES)(_called)
    places = {call.remote(function, task): place for place, task in enumerate(tasks)}
    try:
        while places:
            ended, _ = ray.wait(list(places), timeout=_LOOK_S)
            interrupts.check()
            for reference in ended:
                yield places.pop(reference), _result(ray, reference)
    finally:
        for reference in places:
            ray.cancel(reference, force=True)


def _called(function: Callable[[Task], Result], task: Task) -> Result:
    """On a worker."""
    return function(task)


def _result(ray: Any, reference: Any) -> Any:
    errors = ray.exceptions
    try:
        return ray.get(reference)
    except errors.RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from error
    except (errors.WorkerCrashedError, errors.NodeDiedError, errors.ObjectLostError) as error:
        raise ClusterError(
            f"A task was lost {RETRIES + 1} times ({type(error).__name__}), expected it to end. Most often a "
            "machine is out of memory then: give each task more, and continue."
        ) from error


def _connected() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            "Ray is not installed, expected it for --engine ray. Install it: pip install 'laser-ab[ray]'."
        ) from error
    if not ray.is_initialized():
        mine = {name: value for name, value in os.environ.items() if name.startswith("LASER_AB_")}
        kept = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "PYTHONPATH") if name in os.environ}
        terminated = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address=os.environ.get(ADDRESS_VARIABLE) or None,
                runtime_env={"env_vars": {**mine, **kept}},
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ClusterError(
                f"No Ray cluster at {os.environ.get(ADDRESS_VARIABLE) or 'this machine'} ({error}), expected "
                "one. Start it (ray start --head), or give its --address."
            ) from error
        if signal.getsignal(signal.SIGTERM) is not terminated:
            # Ray would leave at once; work here ends at a checkpoint.
            signal.signal(signal.SIGTERM, terminated)
    return ray
