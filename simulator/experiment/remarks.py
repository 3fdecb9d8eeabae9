"""What a reader must know beside the figures: the scorecard's notes. Generated worlds need none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.arms.arm import Arm
from simulator.arms.plan import Plan
from simulator.inputs.prepare import Prepared
from simulator.inputs.worlds import LogSource

#: The quantile of the histories that must reach an arm's length before the arm is put to the test.
_LONG = 0.99


def remarks(plan: Plan) -> list[str]:
    """Of a log: where it comes from, what was invented, and whether its histories are long enough."""
    log = plan.world.made_of
    if not isinstance(log, LogSource):
        return []
    manifest = log.manifest
    first, last = manifest["first_date"], manifest["last_date"]
    return [
        f"Traffic: a real log ({manifest.get('source', 'unknown source')}, {first} to {last}); "
        "users, times, histories and what rankers learn from are the log's.",
        *(f"Invented: {sentence}" for sentence in manifest["invented"]),
        history_remark(plan.prepared, plan.treatments),
    ]


def history_remark(prepared: Prepared, treatments: Sequence[Arm]) -> str:
    """How long the histories are that the experiment's requests can read, and what that means."""
    lengths = prepared.history_available[prepared.in_experiment]
    median, long, longest = np.quantile(lengths, (0.5, _LONG, 1.0))
    text = f"Histories at the experiment's requests: median {median:.0f}, P99 {long:.0f}, max {longest:.0f}"
    text += " behaviours."
    for arm in treatments:
        if long < arm.settings.history:
            text += (
                f" Arm {arm.name} reads up to {arm.settings.history}: a log so short cannot show what a "
                "longer history gains, so read its lift as the model's and the store's."
            )
    return text
