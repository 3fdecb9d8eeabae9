"""Damage in every kind of file: a read of it fails or is right, and opening says which file is damaged."""

import os
import shutil
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from specimen import EVERYONE, Specimen, answers, make_specimen, unequal
from streams import ALL
from vaults import MEMORY

from seqvault import DamagedDataError

FOREVER_S = float("inf")
# A user of a sequence.
Owner = tuple[str, int]
DAMAGES = ("flip", "sector", "swap", "cut")


@dataclass
class Findings:
    """What became of each damage, by file kind.

    "harmless", "reported", "refused" (to open), "torn" (a log's last record), "salvaged" (a footer, named).
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def damage(seed: int, count: int, codec: str, snapshot: bool, kind: str) -> dict[str, Any]:
    """Damage a specimen `count` times, each time undone; the outcomes, and what was silently wrong."""
    rng = np.random.default_rng((seed, DAMAGES.index(kind)))
    root = Path(tempfile.mkdtemp(prefix="flips-", dir=MEMORY))
    findings = Findings()
    try:
        killed = seed % 2 == 1 and not snapshot
        specimen = make_specimen(root / "vault", codec, killed=killed, seed=seed)
        if snapshot:
            with specimen.open() as store:
                store.snapshot(root / "snapshot")
            specimen.folder = root / "snapshot"
        files = _by_kind(specimen.folder)
        if kind != "flip":
            # A log that lost its end looks like one that was never written so far.
            del files["log"]
        with specimen.open(read_only=True, staleness_s=FOREVER_S) as store:
            assert unequal(answers(store), specimen.expected) is None
            for turn in range(count):
                file_kind = list(files)[turn % len(files)]
                path = files[file_kind][int(rng.integers(len(files[file_kind])))]
                with _Damaged(path, kind, file_kind, rng, files) as at:
                    if at is None:
                        continue
                    what = f"{codec}, seed {seed}: {kind} in {path.name} at byte {at}"
                    if file_kind == "blocks":
                        owners = _owners(store, path, at) if kind == "flip" else set(_everyone())
                        _check_blocks(store, specimen, owners, what, findings)
                    else:
                        _check_opening(specimen, path, file_kind, what, findings, write=turn % 20 == 0)
    finally:
        shutil.rmtree(root)
    return {"outcomes": dict(findings.outcomes), "wrong": findings.wrong}


def _by_kind(folder: Path) -> dict[str, list[Path]]:
    """Files by kind; a segment counts twice, for its blocks and for its footer."""
    segments = sorted(folder.glob("*.seg"))
    kinds = {
        "blocks": segments,
        "footer": segments,
        "log": sorted(folder.glob("*.log")),
        "manifest": [folder / "MANIFEST"],
    }
    return {kind: files for kind, files in kinds.items() if files}


class _Damaged:
    """Damages one file in place while entered, as the page cache shows it to whoever has it open."""

    def __init__(
        self, path: Path, kind: str, file_kind: str, rng: np.random.Generator, files: dict[str, list[Path]]
    ) -> None:
        self.path, self.kind, self.file_kind, self.rng = path, kind, file_kind, rng
        self.files = files
        self.whole = path.read_bytes()

    def __enter__(self) -> int | None:
        data = bytearray(self.whole)
        start, end = self._region(len(data))
        at = int(self.rng.integers(start, end))
        if self.kind == "flip":
            data[at] ^= 1 << int(self.rng.integers(8))
        elif self.kind == "cut":
            del data[at:]
        else:
            sector = at // 512 * 512
            size = min(512, len(data) - sector)
            data[sector : sector + size] = self._other(size)
        if data == self.whole:
            return None
        self._write(bytes(data))
        return at

    def __exit__(self, *_: object) -> None:
        self._write(self.whole)

    def _region(self, size: int) -> tuple[int, int]:
        """Where the kind's bytes lie; a log is mostly zeros, kept for later records."""
        (footer,) = struct.unpack_from("<Q", self.whole, size - 32) if self.path.suffix == ".seg" else (0,)
        if self.file_kind == "blocks":
            return 0, footer
        if self.file_kind == "log":
            return 0, min(size, len(self.whole.rstrip(b"\0")) + 64)
        return footer, size

    def _other(self, size: int) -> bytes:
        if self.kind == "sector":
            return bytes(size)
        source = self.files[self.file_kind][int(self.rng.integers(len(self.files[self.file_kind])))]
        data = source.read_bytes()
        at = int(self.rng.integers(0, max(1, len(data) // 512))) * 512
        return data[at : at + size].ljust(size, b"\0")

    def _write(self, data: bytes) -> None:
        fd = os.open(self.path, os.O_WRONLY)
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))
        os.close(fd)


def _everyone() -> Iterator[Owner]:
    return ((name, user) for name, users in EVERYONE.items() for user in users.tolist())


def _owners(store: Any, path: Path, at: int) -> set[Owner]:
    """Whose block a byte is in: one user's, or the users' who share it."""
    return {
        (name, user)
        for name, user in _everyone()
        for place in store.locate(user, ALL, sequence=name)
        if place.path == path and place.offset <= at < place.offset + place.size
    }


def _check_blocks(store: Any, specimen: Specimen, owners: set[Owner], what: str, findings: Findings) -> None:
    """Blocks are read from the file each time: at most the users whose bytes these are fail."""
    damaged = _unreadable(store, specimen, what, findings)
    findings.outcomes["blocks reported" if damaged else "blocks harmless"] += 1
    if damaged - owners:
        findings.wrong.append(f"{what}: unreadable, though it is not theirs: {damaged - owners}")


def _unreadable(store: Any, specimen: Specimen, what: str, findings: Findings) -> set[Owner]:
    """Users who cannot be read; what can be read must be right."""
    try:
        words = unequal(answers(store), specimen.expected)
        if words is not None:
            findings.wrong.append(f"{what}: silently wrong, {words}")
        return set()
    except DamagedDataError:
        pass
    damaged: set[Owner] = set()
    for name, users in EVERYONE.items():
        for i, user in enumerate(users.tolist()):
            try:
                found = store.read_last([user], ALL, sequence=name)
            except DamagedDataError:
                damaged.add((name, user))
                continue
            expected = specimen.expected[name].of(i)
            if any(not np.array_equal(found.columns[column], expected[column]) for column in expected):
                findings.wrong.append(f"{what}: silently wrong, user {user}")
    return damaged


def _check_opening(
    specimen: Specimen, path: Path, file_kind: str, what: str, findings: Findings, *, write: bool
) -> None:
    """The store does not open and says which file is damaged, or opens and is right."""
    folder = specimen.folder
    if write:
        folder = Path(shutil.copytree(folder, folder.with_name("copy")))
    try:
        with specimen.open(folder, read_only=not write) as store:
            torn = store.stats()["torn_bytes"]
            outcome = _opened(store, specimen, file_kind, torn, what, findings)
            if store.damage:
                if outcome == "reported" or path.name not in store.damage[0]:
                    findings.wrong.append(f"{what}: {outcome}, {store.damage}")
                outcome = "salvaged"
    except DamagedDataError as error:
        outcome = "refused"
        if file_kind == "footer" and "flip" in what and not write:
            findings.wrong.append(f"{what}: the blocks do not make up for it: {error}")
        if path.name not in str(error):
            findings.wrong.append(f"{what}: the error does not name the file: {error}")
    except Exception as error:
        outcome = "failed"
        findings.wrong.append(f"{what}: {type(error).__name__}: {error}")
    finally:
        if write:
            shutil.rmtree(folder)
    findings.outcomes[f"{file_kind} {outcome}"] += 1


def _opened(store: Any, specimen: Specimen, file_kind: str, torn: int, what: str, findings: Findings) -> str:
    if file_kind == "log" and torn and specimen.before is not None:
        words = unequal(answers(store), specimen.before)
        if words is None:
            return "torn"
    return "reported" if _unreadable(store, specimen, what, findings) else "harmless"
