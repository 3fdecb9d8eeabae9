"""What a reader must know beside the figures: the scorecard's notes. Generated worlds need none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simulator.inputs.prepare import Prepared
from simulator.logs.manifest import read_manifest

#: The quantile of the histories that must reach an arm's length before the arm is put to the test.
_LONG = 0.99


def remarks(prepared: Prepared) -> list[str]:
    """Of a log: where it comes from, what was invented, and whether its histories are long enough."""
    log = prepared.config.traffic.log
    if log is None:
        return []
    manifest = read_manifest(Path(log))
    first, last = manifest["first_date"], manifest["last_date"]
    return [
        f"Traffic: a real log ({manifest.get('source', 'unknown source')}, {first} to {last}); "
        "users, times, histories and what rankers learn from are the log's.",
        *(f"Invented: {sentence}" for sentence in manifest["invented"]),
        history_remark(prepared),
    ]


def history_remark(prepared: Prepared) -> str:
    """How long the histories are that the experiment's requests can read, and what that means."""
    config = prepared.config
    lengths = prepared.history_available[prepared.in_experiment]
    median, long, longest = np.quantile(lengths, (0.5, _LONG, 1.0))
    text = f"Histories at the experiment's requests: median {median:.0f}, P99 {long:.0f}, max {longest:.0f}"
    text += " behaviours."
    for name in config.arm_names:
        wanted = config.arms[name].history
        if name != config.experiment.control and long < wanted:
            text += (
                f" Arm {name} reads up to {wanted}: a log so short cannot show what a longer history gains, "
                "so read its lift as the model's and the store's."
            )
    return text
