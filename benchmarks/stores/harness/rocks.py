"""The rival as a child process: RocksDB in C++ (rocks.cpp), which times its own reads and writes.

`make bench-deps` installs RocksDB's library and compiles it; without it `missing()` says why there are no
rows. The protocol is one line each way, so that a benchmark can send every request to every engine in turn.
"""

import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from benchmarks.stores.harness.generator import Histories

PROGRAM = Path(__file__).parent / "build" / "rocks"
# Built with it: see blocks.py.
LIBRARY = Path(__file__).parent / "build" / "blocks.so"

# What rivals.py found best for each layout, beside the defaults of tuning.h.
TUNED: dict[str, dict[str, object]] = {
    "A": {},
    "B": {},
    "C": {"ahead_row_bytes": 12},
    "H": {"hash_index": 1},
}
# For how many behaviours RocksDB's block cache of 8 MB was chosen.
REFERENCE_ROWS = 19.7e6
# Reads that reach the device: as many bytes in one as the rows asked for will take.
COLD: dict[str, object] = {"direct": 1, "ahead_row_bytes": 12}


class RocksError(RuntimeError):
    """The program answered that it failed, or ended."""


def missing() -> str | None:
    """Why the rival cannot run; None when it can."""
    if not (PROGRAM.exists() and LIBRARY.exists()):
        return "RocksDB in C++ is not built: run `make bench-deps` (it installs librocksdb-dev, liblmdb-dev)"
    return None


def write_source(histories: Histories, folder: Path) -> Path:
    """The histories as one file per column, for the program to map."""
    folder.mkdir(parents=True)
    histories.users.astype("<u8").tofile(folder / "users")
    histories.bounds.astype("<i8").tofile(folder / "bounds")
    for name, values in histories.columns.items():
        values.tofile(folder / name)
    return folder


def write_stream(users: np.ndarray, columns: dict[str, np.ndarray], folder: Path) -> Path:
    """Behaviours in order of arrival, with the user of each."""
    write_source(Histories(np.zeros(0, "u8"), np.zeros(1, "i8"), columns), folder)
    users.astype("<u8").tofile(folder / "user")
    return folder


def read_stream(folder: Path) -> tuple[Histories, np.ndarray]:
    """What write_stream wrote: the columns in order of arrival, and the user of each row."""
    dtypes = {"time_s": "i8", "category": "u2", "action": "u1", "dwell_s": "u2"}
    rows = (folder / "user").stat().st_size // 8
    dtypes["item_id"] = f"u{(folder / 'item_id').stat().st_size // rows}"
    order = ("time_s", "item_id", "category", "action", "dwell_s")
    columns = {name: np.fromfile(folder / name, dtypes[name]) for name in order}
    return Histories(np.zeros(0, "u8"), np.zeros(1, "i8"), columns), np.fromfile(folder / "user", "u8")


def digest(columns: dict[str, np.ndarray]) -> int:
    """What the program says of a read with these columns, oldest first."""
    names = ("time_s", "item_id", "category", "action", "dwell_s")
    factors = (
        0x9E3779B97F4A7C15,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )
    row = np.zeros(len(columns["time_s"]), "u8")
    for name, factor in zip(names, factors, strict=True):
        row += columns[name].astype("u8") * np.uint64(factor)
    return int((row * (2 * np.arange(len(row), dtype="u8") + np.uint64(1))).sum(dtype="u8"))


def _spaced(users: Iterable[int]) -> str:
    return " ".join(map(str, users))


class Rocks:
    """One running program with any number of open databases."""

    def __init__(self) -> None:
        reason = missing()
        if reason is not None:
            raise RocksError(reason)
        self._child = subprocess.Popen(
            [PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=PROGRAM.parent
        )
        self.process_id = self._child.pid

    def ask(self, line: str) -> str:
        """The program's answer to one line."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(line.encode() + b"\n")
        answer = self._child.stdout.readline().decode().strip()
        if not answer or answer.startswith("error"):
            raise RocksError(f"{line!r}: {answer or 'the program ended'}")
        return answer

    def command(self, verb: str, **words: object) -> dict[str, float]:
        """A command whose answer is name=value words."""
        line = " ".join([verb, *(f"{name}={value}" for name, value in words.items())])
        return {k: float(v) for k, v in (word.split("=") for word in self.ask(line).split())}

    def load(
        self, path: Path, source: Path, layout: str, item_bytes: int, **tuning: object
    ) -> dict[str, float]:
        """Write a database of all histories, sorted as a full compaction leaves them."""
        return self.command(
            "load", path=path, data=source, layout=layout, item_bytes=item_bytes, **(TUNED[layout] | tuning)
        )

    def open(self, path: Path, layout: str, item_bytes: int, **tuning: object) -> int:
        """A handle for reading."""
        words: dict[str, object] = {"path": path, "layout": layout, "item_bytes": item_bytes}
        words |= TUNED[layout] | tuning
        return int(self.ask(" ".join(["open", *(f"{name}={value}" for name, value in words.items())])))

    def read(self, handle: int, users: Iterable[int], n: int) -> tuple[int, int, int]:
        """One read's thread CPU and wall time in ns, measured inside, and its rows; of several users at once
        by MultiGet where the layout can."""
        cpu, wall, rows = self.ask(f"read {handle} {n} {_spaced(users)}").split()
        return int(cpu), int(wall), int(rows)

    def check(self, handle: int, users: Iterable[int], n: int) -> int:
        """The digest of one read; of several users, of their rows one behind the other."""
        return int(self.ask(f"check {handle} {n} {_spaced(users)}").split()[0])

    def memory(self, handle: int) -> int:
        """Bytes of indexes and filters one open database keeps in memory."""
        return int(self.ask(f"memory {handle}"))

    def close(self, handle: int) -> None:
        """Close one database; others keep their handles."""
        self.ask(f"close {handle}")

    def stop(self) -> None:
        """End the program."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
