"""The scorecard: everything a run's reader asks first, as one JSON-safe dict.

Every arm has one entry under "arms", of one shape; two arms are also shown by role at the top.
Shares and lifts are fractions, latencies ms, unknown values None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.analysis.columns import Array, Table, labels
from simulator.analysis.entries import Sample, together
from simulator.analysis.guardrails import LIMITS, Guardrails
from simulator.analysis.question import Question
from simulator.analysis.srm import Srm, check_split
from simulator.analysis.verdict import Case, verdicts
from simulator.metrics import QUANTILES, SHARES
from simulator.results.files import plain
from simulator.results.schemas import SCORECARD_VERSION

__all__ = ["Guardrails", "Question", "Sample", "build_scorecard", "scorecard_of"]


def build_scorecard(
    question: Question,
    users: Table,
    served: Table,
    truth: Table | None,
    paths: Mapping[str, Mapping[str, Array]] | None = None,
) -> dict[str, Any]:
    """Assemble the scorecard from a run's tables.

    Args:
        question: what is compared, and how.
        users, served, truth: the run's tables; truth None if the counterfactual worlds were not run.
        paths: by arm, the truth's totals on each path of clicks, see `true_lift`.

    Returns:
        A dict that JSON can hold.

    Raises:
        AnalysisError: a table lacks a column, or its arms are not the question's.
    """
    return scorecard_of(Sample.of(question, users, served, truth, paths))


def scorecard_of(sample: Sample) -> dict[str, Any]:
    """Assemble the scorecard from what an experiment left behind; see `build_scorecard`."""
    question = sample.question
    arm_of_user = labels(sample.users, "arm", question.arms)
    counts = {name: int((arm_of_user == i).sum()) for i, name in enumerate(question.arms)}
    srm = check_split(counts, question.split)
    metrics = together({name: sample.compare(name) for name in question.treatments}, question.level)
    values = {name: sample.values(name) for name in question.arms}
    judged = verdicts(
        {name: _case(question, name, metrics[name], counts, values) for name in question.treatments},
        question.primary,
        srm,
        question.guardrails,
    )
    arms = {
        name: {
            "role": "control" if name == question.control else "treatment",
            "units": counts[name],
            "requests": sample.requests(name),
            "metrics": metrics.get(name, {}),
            "verdict": judged.get(name),
            "latency": {m.name: values[name][m.name]["value"] for m in (*QUANTILES, *SHARES)},
            "values": values[name],
            **question.arm_extra.get(name, {}),
        }
        for name in question.arms
    }
    card: dict[str, Any] = {
        "schema_version": SCORECARD_VERSION,
        "run": question.run,
        "status": question.status,
        "seed": question.seed,
        "service_times": question.service_times,
        "level": question.level,
        **question.extra,
        "srm": srm_entry(srm),
        "verdict": overall(judged),
        "arms": arms,
    }
    if len(question.treatments) > 1:
        card["pairs"] = sample.pairs()
    if len(arms) == 2:
        card |= by_role(question.control, question.treatments[0], arms)
    safe: dict[str, Any] = plain(card)
    return safe


def _case(
    question: Question,
    name: str,
    metrics: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, int],
    values: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> Case:
    """A treatment and its control, as the verdict reads them."""
    control = question.control
    return Case(
        metrics,
        min(counts[control], counts[name]),
        {
            limit: {"control": values[control][limit], "treatment": values[name][limit]}
            for limit in LIMITS.values()
        },
        {arm: share for arm in (control, name) if (share := question.own_share(arm)) is not None},
    )


def by_role(control: str, treatment: str, arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What readers of a plain A/B look up by role; all of it stands under "arms" too."""
    roles = {"control": control, "treatment": treatment}
    by_role = {key: {role: arms[name][key] for role, name in roles.items()} for key in ("units", "latency")}
    return {"names": roles, "metrics": arms[roles["treatment"]]["metrics"], **by_role}


def srm_entry(srm: Srm) -> dict[str, Any]:
    """The split's check, as the scorecard holds it."""
    return {"p_value": srm.p_value, "status": srm.status, "expected": srm.expected, "text": srm.text}


def overall(judged: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """One decision over all treatments, which were judged together."""
    if len(judged) == 1:
        return next(iter(judged.values()))
    decisions = {name: v["decision"] for name, v in judged.items()}
    found = set(decisions.values())
    if "invalid" in found or "ship" in found:
        decision = "invalid" if "invalid" in found else "ship"
    else:
        decision = "stop" if found == {"stop"} else "inconclusive"
    text = " ".join(f"{name}: {v['text']}" for name, v in judged.items())
    rules = [{"rule": f"{name}: {d}", "holds": d == "ship"} for name, d in decisions.items()]
    return {"decision": decision, "text": text, "rules": rules}
