"""Children that may be killed. The nursery pays imports and kernels once; each child costs a fork.

A line of input is JSON: {"call": "module:function", "arguments": {...}, "live_s": seconds or null, "ready": a
file from whose appearance on the seconds count, or null}. The child
calls it; what it returns (JSON) comes back as {"end": "returned", "value": ...}, a failure as {"end":
"failed", "text": ...}, a death as {"end": "killed by SIGKILL"} and the like. The nursery itself never keeps a
store open, so that no thread and no lock is lost in a fork.
"""

import importlib
import json
import logging
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from counts import SCALE

HERE = Path(__file__).parent
# Children call functions of the harness, which lies here, and of the tests above it.
sys.path.append(str(HERE.parent))
# A child that takes more is fooled by a damaged length.
MOST_MEMORY = 8 << 30


class Nursery:
    """The parent's end."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Threads come and go with each store: an arena each costs a quarter of the time, in page faults.
            env={**os.environ, "MALLOC_ARENA_MAX": "1", **(environment or {})},
        )

    def run(
        self, call: str, live_s: float | None = None, *, ready: Path | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Let a child run `call`, killed after live_s if given, and say how it ended.

        Args:
            ready: the child makes this file; live_s counts from then on.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"call": call, "arguments": arguments, "live_s": live_s, "ready": ready and str(ready)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the nursery died"
        found: dict[str, Any] = json.loads(answer)
        return found

    def value(self, call: str, **arguments: Any) -> Any:
        """What `call` returns in a child that nothing kills. Raises AssertionError when it does not."""
        ended = self.run(call, None, **arguments)
        assert ended["end"] == "returned", f"{call}{arguments} {ended['end']}\n{ended.get('text', '')}"
        return ended["value"]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=600)
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Nurseries:
    """A second nursery beside the first, where there is much to do: two children at a time."""

    def __init__(self, first: Nursery) -> None:
        self._second = Nursery() if SCALE != "share" else None
        self._idle = [first] if self._second is None else [first, self._second]

    def values(self, call: str, arguments: list[dict[str, Any]]) -> list[Any]:
        """What `call` returns with each of these arguments; see Nursery.value."""

        def work(one: dict[str, Any]) -> Any:
            nursery = self._idle.pop()
            try:
                return nursery.value(call, **one)
            finally:
                self._idle.append(nursery)

        with ThreadPoolExecutor(len(self._idle)) as pool:
            return list(pool.map(work, arguments))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._second is not None:
            self._second.close()


def serve() -> None:
    # Answers go to a copy of stdout; whatever a child prints goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Thousands of damaged stores are opened on purpose.
    logging.disable()
    warm_up()
    for line in sys.stdin:
        order = json.loads(line)
        answers.write(json.dumps(_raise_child(order)) + "\n")
        answers.flush()


def warm_up() -> None:
    """Open a store once, so that kernels are compiled and libraries loaded before the first fork."""
    from streams import Stream
    from vaults import open_vault

    with tempfile.TemporaryDirectory() as folder, open_vault(Path(folder) / "store") as store:
        for number in range(40):
            Stream(1).operation(number).run(store)
        store.seal()
        store.read_last([1], 1)


def _raise_child(order: dict[str, Any]) -> dict[str, Any]:
    result, child_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(result)
        _live(order, child_end)
    os.close(child_end)
    # Readable before the time is up only if the child ended by itself.
    ended = False
    while order["ready"] and not ended and not Path(order["ready"]).exists():
        ended = bool(select.select([result], [], [], 0.005)[0])
    if not ended and not select.select([result], [], [], order["live_s"])[0]:
        os.kill(child, signal.SIGKILL)
    said = bytearray()
    while piece := os.read(result, 1 << 16):
        said += piece
    os.close(result)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return {"end": f"killed by {signal.Signals(os.WTERMSIG(status)).name}"}
    if said:
        answer: dict[str, Any] = json.loads(said)
        return answer
    return {"end": f"exited with {os.waitstatus_to_exitcode(status)}"}


def _live(order: dict[str, Any], result: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        module, _, name = order["call"].partition(":")
        value = getattr(importlib.import_module(module), name)(**order["arguments"])
        answer = {"end": "returned", "value": value}
    except BaseException:
        answer = {"end": "failed", "text": traceback.format_exc()}
    said = memoryview(json.dumps(answer).encode())
    while said:
        said = said[os.write(result, said) :]
    os._exit(0)


if __name__ == "__main__":
    serve()
