"""The tables of docs/what-if.md: `python -m docs.generate.what_if` runs the page's commands, three minutes.

The prose around them is written by hand: read it again when they have changed.
"""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.pages.layout import ROOT, table, with_block
from simulator.results.read import Sweep, read_sweep

PAGE = ROOT / "docs" / "what-if.md"
HISTORY, LOAD = "arms.treatment.history", "traffic.load"
#: What the channels are of, as the page says.
RUN = ["run", "examples/demo.toml", "--set", "experiment.budget_ms=20"]
LASER_AB = Path(sys.executable).with_name("laser-ab")


def sweeps(text: str) -> list[list[str]]:
    """The arguments of the page's sweeps, in its order."""
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    return [
        shlex.split(line)[1:] for line in blocks.splitlines() if line.startswith("laser-ab sweep examples/")
    ]


def answers_table(sweep: Sweep) -> str:
    """Each cell's true lifts, and how it serves."""
    lines = []
    for place, arm in _treatments(sweep):
        latency = arm["latency"]
        lifts = (_lift(arm["metrics"][f"{name}_per_request"]) for name in ("advv", "revenue"))
        shares = (f"{100 * latency[name]:.3g} %" for name in ("missed_share", "full_history_share"))
        lines.append(
            [f"{place[HISTORY]:,}", f"{place[LOAD]:g}", *lifts, f"{latency['p99_ms']:.1f} ms", *shares]
        )
    return table(["history", "load", "true lift of ADVV", "of revenue", "P99", "late", "full history"], lines)


def limits_table(traffic: Sweep, answers: Mapping[str, Any], budgets: Mapping[str, Any]) -> str:
    """How much traffic each history takes, what it is worth on the way, and below which budget it loses.

    Args:
        traffic: the sweep of loads, of which `answers` is the report's JSON form.
        budgets: the report's JSON form of the sweep of latency budgets.
    """
    lifts: dict[int, list[str]] = {}
    for place, arm in _treatments(traffic):
        lifts.setdefault(place[HISTORY], []).append(_lift(arm["metrics"]["advv_per_request"]))
    most = _by_history(answers["answers"]["max_requests_per_s"])
    lines = []
    for history, budget in _by_history(budgets["answers"]["break_even_ms"]).items():
        line = [f"{history:,}", *["not swept"] * (2 + len(traffic.axes[-1].values))]
        if history in most:
            found = most[history]
            low, high = (f"{edge:.0f}" for edge in found["ci"])
            line[1:] = [
                f"{found['true_value']:.0f} requests/s",
                f"{found['value']:.0f} ({low} to {high})",
                *lifts[history],
            ]
        lines.append([*line, f"{budget['true_value']:.1f} ms ± {budget['true_se']:.1f}"])
    first, *others = (f"{load:g}" for load in traffic.axes[-1].values)
    loads = [f"lift at load {first}", *others]
    return table(["history", "most traffic", "by the A/B (95 %)", *loads, "wins down to"], lines)


def channels_table(document: Mapping[str, Any]) -> str:
    """What each channel moves, in percent of the logarithm, from the JSON form of `laser-ab channels`."""
    (treatment,) = document["treatments"]
    found = [treatment["metrics"][f"{name}_per_request"] for name in ("advv", "revenue")]
    found.append(treatment["metrics"]["ctr"])
    lines = [[part, *(_log(metric["parts"][part]) for metric in found)] for part in found[0]["parts"]]
    heads = ["channel", "ADVV per request", "revenue per request", "CTR"]
    return table(heads, [*lines, ["together", *map(_log, found)]])


def _log(part: Mapping[str, float]) -> str:
    return f"{100 * part['log_lift']:+.2f} ± {100 * part['se']:.2f}"


def _treatments(sweep: Sweep) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    cards = [(place, sweep.cell(cell)) for cell, place in enumerate(sweep.places)]
    return [(place, card["arms"]["treatment"]) for place, card in cards if card is not None]


def _by_history(answer: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    return {one["at"][HISTORY]: one for one in answer["all"] if one["arm"] == "treatment"}


def _lift(metric: Mapping[str, Any]) -> str:
    return f"{100 * metric['true_lift']:+.1f} % ± {100 * metric['true_se']:.1f}"


def _told(command: str, folder: Path) -> Any:
    return json.loads(subprocess.check_output([LASER_AB, command, folder, "--json"]))


def main() -> None:
    """Run the commands and write the page."""
    text = PAGE.read_text(encoding="utf-8")
    with TemporaryDirectory() as scratch:
        folders = [Path(scratch) / name for name in ("question", "traffic", "budgets", "run")]
        for arguments, folder in zip([*sweeps(text), RUN], folders, strict=True):
            subprocess.run([LASER_AB, *arguments, "--out", folder], check=True, cwd=ROOT)
        question, traffic, budgets, run = folders
        for mark, block in (
            ("answers", answers_table(read_sweep(question))),
            ("limits", limits_table(read_sweep(traffic), _told("report", traffic), _told("report", budgets))),
            ("channels", channels_table(_told("channels", run))),
        ):
            text = with_block(text, mark, block)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
