"""Wall seconds of each phase of a run, added up over the processes that brought it to its end."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NAMES = {"profile": "calibration", "train": "training"}


class Phases:
    """A `Progress` that keeps a clock.

    Args:
        path: where the seconds are kept between processes.
        arms: in the order in which they are served.
    """

    def __init__(self, path: Path, arms: tuple[str, ...]) -> None:
        self._path, self._arms = path, arms
        self._spent: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
        self._phase, self._since_s = "start", time.perf_counter()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count until the block ends, however it ends; what comes after a run's last stage is its tables."""
        self._turn("start")
        try:
            yield
        finally:
            self._turn("")

    def stage(self, name: str, done: int, total: int) -> None:
        """See `Progress`."""
        phase = _NAMES.get(name, name)
        if done == total:
            phase = "tables" if name == "market" else f"after {phase}"
        elif name == "serve":
            phase = f"serving {self._arms[done]}"
        self._turn(phase)

    def rows(self) -> list[dict[str, Any]]:
        """A row a phase, and their sum."""
        rows = [{"phase": phase, "wall_s": seconds} for phase, seconds in self._spent.items()]
        return [*rows, {"phase": "whole run", "wall_s": sum(self._spent.values())}]

    def _turn(self, phase: str) -> None:
        """Another phase begins."""
        now_s = time.perf_counter()
        if self._phase:
            self._spent[self._phase] = self._spent.get(self._phase, 0.0) + now_s - self._since_s
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self._spent))
        self._phase, self._since_s = phase, now_s
