"""[guardrails]: what a treatment must not make worse, in the experiment file's words.

`p99_ms`, `late_share` and `degraded_share` are limits, absolute; every compared ratio of the registry has a
margin, relative. analysis/guardrails.py says what becomes of them.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, create_model

from simulator.config.table import Table, problem
from simulator.errors import short
from simulator.metrics import RATIOS

OFF: Literal["off"] = "off"


def _number_or(words: tuple[str, ...], most: float, zero: bool) -> Any:
    """A number up to `most`, or one of the words."""
    what = f"a number {'from' if zero else 'above'} 0 {'below' if zero else 'to'} {most:g}"
    choices = " or ".join(f'"{word}"' for word in words)

    def check(value: object) -> object:
        if isinstance(value, str) and value in words:
            return value
        if (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and (0 < value < most or value == (0 if zero else most))
        ):
            return float(value)
        raise problem(f"found {short(value)}, expected {what}, or {choices}")

    return BeforeValidator(check)


def _schema(*words: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"enum": list(words)}]})


Latency = Annotated[
    float | Literal["budget", "off"], _number_or(("budget", OFF), 1e12, False), _schema("budget", OFF)
]
Share = Annotated[float | Literal["off"], _number_or((OFF,), 1.0, False), _schema(OFF)]
Margin = Annotated[float | Literal["off"], _number_or((OFF,), 1.0, True), _schema(OFF)]


class _Limits(Table):
    """What a treatment must not make worse."""

    p99_ms: Latency = Field(
        default="budget",
        description='Most P99 latency: a number, the latency "budget", or "off". Without a budget P99 must '
        "not be shown to have doubled.",
    )
    late_share: Share = Field(default=OFF, description="Most requests completed after the deadline, a share.")
    degraded_share: Share = Field(
        default=OFF, description="Most requests answered below the ladder's first step, a share."
    )

    def limits(self, budget_ms: float | None) -> dict[str, float]:
        """The limits that are numbers.

        Args:
            budget_ms: the experiment's latency budget; None without one.
        """
        latency = budget_ms if self.p99_ms == "budget" else self.p99_ms
        found = {"p99_ms": latency, "late_share": self.late_share, "degraded_share": self.degraded_share}
        return {name: value for name, value in found.items() if isinstance(value, float)}

    def margins(self) -> dict[str, float | None]:
        """By metric, the share by which it may be worse; None: no guardrail."""
        named = {metric.name: getattr(self, metric.name) for metric in RATIOS}
        found = {name: value if isinstance(value, float) else None for name, value in named.items()}
        return found | ({"p99_ms": None} if self.p99_ms == OFF else {})


if TYPE_CHECKING:
    Guardrails = _Limits
else:  # a field for every ratio of the registry, which no type checker can read
    Guardrails = create_model(
        "Guardrails",
        __base__=_Limits,
        __doc__=_Limits.__doc__,
        **{
            metric.name: (
                Margin,
                Field(
                    default=0.0 if metric.guardrail else OFF,
                    description=f"By what share {metric.words} may be worse; 0: not shown to be worse.",
                ),
            )
            for metric in RATIOS
        },
    )
