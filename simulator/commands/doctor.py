"""`laser-ab doctor`: is this machine fit for a run? Each check says what it found and what to do."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from simulator.commands.options import Json

# What a demo run, its stores and its tables need, with room to spare.
DISK_GIB = 2.0
PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "simpy",
    "rocksdict",
    "zstandard",
    "numba",
    "pyarrow",
    "duckdb",
    "streamlit",
)


class Check(NamedTuple):
    """One finding; "note" is worth knowing and no failure."""

    name: str
    status: Literal["ok", "note", "failed"]
    found: str
    advice: str = ""


def doctor(
    directory: Annotated[Path, typer.Option("--dir", help="Where runs will be written.")] = Path(),
    warm: Annotated[
        bool,
        typer.Option(
            "--warm", help="Compile the kernels now, the store's for all users of this installation."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check Python, packages, torch's device, disk, the stores and the shipped profile."""
    kernels = [("kernels", _kernels)] if warm else []
    checks = [_run(name, check) for name, check in [*kernels, *_checks(directory)]]
    if as_json:
        from simulator.commands.output import print_json

        print_json({"checks": [check._asdict() for check in checks]})
    else:
        marks = {"ok": "✓", "note": "·", "failed": "✗"}
        for check in checks:
            print(f"{marks[check.status]} {check.name:<10} {check.found}")
            if check.advice:
                print(f"             {check.advice}")
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(1)


def _checks(directory: Path) -> list[tuple[str, Callable[[], Check]]]:
    return [
        ("python", _python),
        ("packages", _packages),
        ("device", _device),
        ("disk", lambda: _disk(directory)),
        ("rocksdb", _rocksdb),
        ("seqvault", _seqvault),
        ("zstd", _zstd),
        ("profile", _profile),
    ]


def _run(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:
        # Whatever breaks here, a missing library or a foreign one, is the finding.
        return Check(name, "failed", f"{type(error).__name__}: {error}", "Install again: pip install -e .")


def _python() -> Check:
    # An older one could not have installed the package.
    return Check(
        "python",
        "ok",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}",
    )


def _packages() -> Check:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check(
            "packages", "failed", f"missing: {', '.join(missing)}", "Install again: pip install -e ."
        )
    return Check("packages", "ok", ", ".join(found))


def _device() -> Check:
    from laser.scoring.runtime import resolve_device

    return Check("device", "ok", f'{resolve_device("auto")} (experiment.device = "auto")')


def _disk(directory: Path) -> Check:
    # The folder may not exist yet: its nearest parent decides.
    place = next(p for p in (directory.absolute(), *directory.absolute().parents) if p.exists())
    free_gib = shutil.disk_usage(place).free / 2**30
    found = f"{free_gib:.1f} GiB free at {place}"
    if not place.is_dir():
        return Check("disk", "failed", f"{place} is a file", "Choose another folder with --out.")
    if not os.access(place, os.W_OK):
        return Check("disk", "failed", f"{place} is not writable", "Choose another folder with --out.")
    if free_gib < DISK_GIB:
        return Check(
            "disk", "failed", found, f"Runs want {DISK_GIB:g} GiB; free some, or use --out elsewhere."
        )
    return Check("disk", "ok", found)


def _rocksdb() -> Check:
    if not _keeps_a_behaviour("lastn"):
        return Check("rocksdb", "failed", "a behaviour written was not read back", "Install rocksdict again.")
    return Check("rocksdb", "ok", "wrote a behaviour and read it back")


def _seqvault() -> Check:
    from seqvault.vault.compiled.options import Options

    if not _keeps_a_behaviour("seqvault"):
        return Check("seqvault", "failed", "a behaviour written was not read back", "Install numba again.")
    if Options().plain:
        advice = "Reads are slower and return the same; unset SEQVAULT_PLAIN for the compiled kernels."
        return Check("seqvault", "note", "wrote a behaviour and read it back, in plain numpy", advice)
    return Check("seqvault", "ok", "wrote a behaviour and read it back, by compiled kernels")


def _kernels() -> Check:
    from seqvault.vault.compiled import warm
    from simulator.config.settings import PROFILES
    from simulator.market import auction
    from simulator.serving import compiled
    from simulator.serving.profile import load

    store, timing = warm.warm(), compiled.warm(load(PROFILES / "cpu.json"))
    auction.warm()
    return Check(
        "kernels",
        "ok",
        f"compiled; the store's are kept in {store}, the timing plane's in {timing}",
    )


def _keeps_a_behaviour(kind: str) -> bool:
    import numpy as np

    from seqvault.schema import BEHAVIOURS
    from seqvault.store import open_store

    rows = {column.name: np.array([1], dtype=column.dtype) for column in BEHAVIOURS.columns}
    with tempfile.TemporaryDirectory() as folder, open_store(kind, Path(folder) / "store") as store:
        store.append(np.array([1], dtype="u8"), rows)
        return int(store.read_last(np.array([1], dtype="u8"), 1).offsets[-1]) == 1


def _zstd() -> Check:
    import numpy as np

    from seqvault.store import HistoryBatch
    from seqvault.transport import pack, unpack

    ids, offsets = np.array([1], dtype="u8"), np.array([0, 64], dtype="i8")
    frame = pack(HistoryBatch(ids, offsets, {"time_s": np.arange(64, dtype="i8")}))
    if unpack(frame).columns["time_s"].tolist() != list(range(64)):
        return Check("zstd", "failed", "a frame came back changed", "Install zstandard again.")
    return Check("zstd", "ok", f"packed 64 behaviours into {len(frame)} bytes and back")


def _profile() -> Check:
    from simulator.config.settings import PROFILES
    from simulator.execution.environment import hardware
    from simulator.serving.profile import load

    machine, here = load(PROFILES / "cpu.json").machine, hardware()
    if (machine.cpu, machine.cores) == (here["cpu"], here["cores"]):
        return Check("profile", "ok", f"measured on a machine like this one ({machine.cpu})")
    return Check(
        "profile",
        "note",
        f"measured on {machine.cpu}, {machine.cores} cores; this is {here['cpu']}, {here['cores']} cores",
        "Runs replay that machine's latency. For this one's: laser-ab profile --out mine.json",
    )
