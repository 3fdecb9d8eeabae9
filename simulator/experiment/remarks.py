"""What a reader must know beside the figures: the scorecard's notes. Made-up worlds need none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulator.arms.arm import Arm
from simulator.arms.plan import Plan
from simulator.inputs.prepare import Prepared
from simulator.inputs.worlds import LogSource, like_of
from simulator.results.scorecard import REAL_LOG

LIKE_A_LOG = "Traffic: a generated world like the log"
_DRAWN = "Users, ads, histories and clicks are drawn: no row is the log's."
#: The quantile of the histories that must reach an arm's length before the arm is put to the test.
_LONG = 0.99


def remarks(plan: Plan) -> list[str]:
    """Of a log: where it comes from, what was invented, and whether its histories are long enough.

    Of a generated world that was made to resemble a log: which, and that it is none.
    """
    log = plan.world.made_of
    if not isinstance(log, LogSource):
        like = like_of(plan.config)
        return [] if like is None else [f"{LIKE_A_LOG} {like}. {_DRAWN}"]
    manifest = log.manifest
    first, last = manifest["first_date"], manifest["last_date"]
    return [
        f"{REAL_LOG} ({manifest.get('source', 'unknown source')}, {first} to {last}); "
        "users, times, histories and what rankers learn from are the log's.",
        *(f"Invented: {sentence}" for sentence in manifest["invented"]),
        history_remark(plan.prepared, plan.treatments),
        *reading_remarks(manifest, plan.prepared, [arm.settings.history for arm in plan.arms]),
    ]


def reading_remarks(manifest: Mapping[str, Any], prepared: Prepared, lengths: Sequence[int]) -> list[str]:
    """In how many requests the arms read different histories, and how much history can matter at all."""
    found = prepared.history_available[prepared.in_experiment]
    read = np.minimum(found[:, None], np.asarray(lengths)[None, :])
    share = float(np.mean(read.min(axis=1) < read.max(axis=1)))
    texts = [f"The arms read histories of different lengths in {share:.1%} of the experiment's requests."]
    shows = manifest.get("shows")
    if shows is not None:
        texts.append(
            "In this log's truth, knowing the whole history can raise the true CTR of the best ad by at most "
            f"{shows['history_can_move_ctr']:.2%}, over the best order that knows all but that."
        )
    return texts


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
