"""Independent tasks on a Ray cluster, as `parallel.py` has them on local processes. Start at `as_done`.

Every machine of the cluster must have this package and see the same folders: the run's or sweep's own, from
which workers map their world, and the cache (`LASER_AB_CACHE`), through which scores and models travel. Tasks
carry no files. What a task gives is what it gives in this process, so tables are the same bytes.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from simulator.errors import SimulatorError
from simulator.execution import interrupts

Task = TypeVar("Task")
Result = TypeVar("Result")
#: A place, a function defined at a module's top level, and its arguments, which can be pickled.
Call = tuple[int, Callable[..., Any], tuple[Any, ...]]

ENGINE_VARIABLE = "LASER_AB_ENGINE"
ADDRESS_VARIABLE = "LASER_AB_RAY_ADDRESS"
# A worker or a machine that is lost costs its task, which begins again elsewhere, so many times.
RETRIES = 3
_LOOK_S = 0.2  # how often it is looked whether an end was asked for
_OURS = "LASER_AB_"
_set_up: list[Callable[[], None]] = []  # what this worker called last


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


def start_importing(modules: Sequence[str], most: int) -> None:
    """Let workers import what tasks will need; this process goes on meanwhile.

    Args:
        modules: by name.
        most: workers, at most; a cluster may have more CPUs than there will be tasks.

    Raises:
        ClusterError: Ray is not installed or not reached.
    """
    ray = _connected()
    # Each takes a CPU, so that they run side by side: each in a worker of its own, which tasks find then.
    call = ray.remote(num_cpus=1)(_imported)
    for _ in range(min(most, int(ray.cluster_resources().get("CPU", 0)))):
        call.remote(_Settings.of_this_process(), tuple(modules))


def as_done(
    calls: Callable[[], Iterable[Call]], setup: Callable[[], None] | None = None
) -> Iterator[tuple[int, Any]]:
    """Make calls on the cluster that LASER_AB_RAY_ADDRESS names or a local one, each on one CPU.

    Args:
        calls: gives those that can begin: asked at first, and after results were taken.
        setup: called first by each worker.

    Yields:
        A call's place and what it gave, as they end.

    Raises:
        Exception: what a call raised; the others are stopped.
        ClusterError: Ray is not installed or not reached, or a call was lost for good.
        Interrupted: that was asked for; the calls under way are stopped.
    """
    ray, settings = _connected(), _Settings.of_this_process()
    remote = ray.remote(num_cpus=1, max_retries=RETRIES)(_called)
    places: dict[Any, int] = {}

    def begin() -> None:
        for place, function, arguments in calls():
            # Pickled here: what it is made of may be found by the settings alone.
            work = pickle.dumps((setup, function, arguments), protocol=5)
            places[remote.remote(settings, work)] = place

    begin()
    try:
        while places:
            ended, _ = ray.wait(list(places), timeout=_LOOK_S)
            interrupts.check()
            for reference in ended:
                yield places.pop(reference), _result(ray, reference)
            begin()
    finally:
        for reference in places:
            ray.cancel(reference, force=True)


def each_done(
    function: Callable[[Task], Result], tasks: Sequence[Task], setup: Callable[[], None] | None = None
) -> Iterator[tuple[int, Result]]:
    """`as_done` of one function with every task."""
    left = [[(place, function, (task,)) for place, task in enumerate(tasks)]]
    return as_done(lambda: left.pop() if left else [], setup)


@dataclass(frozen=True)
class _Settings:
    """What a worker takes over from the process that asks.

    Not by Ray's runtime environment: for that it starts workers anew, beside those that it has at hand.
    """

    variables: dict[str, str]

    @classmethod
    def of_this_process(cls) -> _Settings:
        """The environment's variables that work here depends on."""
        return cls({name: value for name, value in os.environ.items() if _ours(name)})

    def take(self) -> None:
        """On a worker, before anything is imported that reads them."""
        for name in [name for name in os.environ if name.startswith(_OURS)]:
            del os.environ[name]
        os.environ.update(self.variables)
        for folder in reversed(self.variables.get("PYTHONPATH", "").split(os.pathsep)):
            if folder and folder not in sys.path:
                sys.path.insert(0, folder)


def _ours(name: str) -> bool:
    return name.startswith(_OURS) or name in ("OMP_NUM_THREADS", "PYTHONPATH")


def _imported(settings: _Settings, modules: tuple[str, ...]) -> None:
    """On a worker."""
    settings.take()
    for module in modules:
        importlib.import_module(module)


def _called(settings: _Settings, work: bytes) -> Any:
    """On a worker."""
    settings.take()
    setup, function, arguments = pickle.loads(work)
    if setup is not None and setup not in _set_up:
        setup()
        _set_up[:] = [setup]
    return function(*arguments)


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
        terminated = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address=os.environ.get(ADDRESS_VARIABLE) or None,
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
