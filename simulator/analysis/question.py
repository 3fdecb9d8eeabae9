"""What a scorecard is about: whose arms, which control, which metric decides, what is guarded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator.analysis.columns import AnalysisError
from simulator.analysis.guardrails import Guardrails
from simulator.metrics import COMPARED, PRIMARY, Metric


@dataclass(frozen=True)
class Question:
    """What the scorecard is about.

    run, status, seed, service_times: copied into it. split: planned share of each arm, in the arms' order.
    control: which of them is compared with. primary: the deciding metric. level: of all intervals.
    extra: further top-level entries, such as budget_ms and profile_machine.
    arm_extra: by arm, further entries of it, such as its model and how busy its servers were;
        "own_model_share", where it is there, is the share of requests that its own model answered in time.
    guardrails: what must not get worse. days: the experiment's, None if unknown.
    winsorise: share of users whose totals of a numerator stay as they are, see `estimate`.
    sequential: users at which always-valid intervals of ratios are tightest; None for intervals of one look.
    """

    run: str
    seed: int
    service_times: str
    split: Mapping[str, float]
    control: str
    primary: str = PRIMARY
    level: float = 0.95
    status: str = "finished"
    extra: Mapping[str, Any] = field(default_factory=dict)
    arm_extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    guardrails: Guardrails = field(default_factory=Guardrails)
    days: float | None = None
    winsorise: float | None = None
    sequential: float | None = None

    def __post_init__(self) -> None:
        if self.control not in self.split or len(self.split) < 2:
            raise AnalysisError(
                f"Arms are {list(self.split)}, expected at least two, {self.control!r} among them."
            )
        known = [metric.name for metric in COMPARED]
        if self.primary not in known:
            raise AnalysisError(f"The primary metric is {self.primary!r}, expected one of {known}.")

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms, in order."""
        return tuple(self.split)

    @property
    def treatments(self) -> tuple[str, ...]:
        """All arms but control, in order."""
        return tuple(arm for arm in self.split if arm != self.control)

    def own_share(self, arm: str) -> float | None:
        """The share of an arm's requests that its own model answered in time; None if unknown."""
        share = self.arm_extra.get(arm, {}).get("own_model_share")
        return None if share is None else float(share)

    def role(self, metric: Metric) -> str:
        """A metric's part in the verdict."""
        if metric.name == self.primary:
            return "primary"
        guarded = self.guardrails.margins_of({metric.name: {}}, self.primary)
        return "guardrail" if guarded or metric.name in self.guardrails.limits else "secondary"
