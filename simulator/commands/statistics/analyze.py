"""`laser-ab analyze`: a table of one's own, judged as a run is."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from simulator.commands.options import FailOn, Json


def analyze(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A Parquet or CSV table, one row per unit or per event."),
    ],
    unit: Annotated[
        str, typer.Option("--unit", metavar="COLUMN", help="What was randomised, such as user_id.")
    ],
    arm: Annotated[str, typer.Option("--arm", metavar="COLUMN", help="The arm of the row's unit.")],
    control: Annotated[str, typer.Option("--control", metavar="NAME", help="The arm that is compared with.")],
    metric: Annotated[
        list[str],
        typer.Option(
            "--metric",
            metavar="NAME=TOP[/BELOW]",
            help="Column TOP over column BELOW, or per unit without it. Repeatable; the first is primary.",
        ),
    ],
    pre: Annotated[
        list[str] | None,
        typer.Option(
            "--pre",
            metavar="[NAME=]TOP[/BELOW]",
            help="The same before the experiment, for CUPED: one for every metric in order, one for all, or "
            "by the metric's name.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="ARM=SHARE,...", help="The planned split; equal shares by default."),
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Confidence level of the intervals.")] = 0.95,
    sequential: Annotated[
        float | None,
        typer.Option(
            "--sequential", metavar="N", help="Always-valid intervals, tightest at N units of both arms."
        ),
    ] = None,
    winsorise: Annotated[
        float | None,
        typer.Option(
            "--winsorise", metavar="SHARE", help="Cap units' totals of TOP at this quantile, such as 0.999."
        ),
    ] = None,
    guardrail: Annotated[
        list[str] | None,
        typer.Option(
            "--guardrail",
            metavar="NAME[=MARGIN]",
            help="It must not get worse, or not by more than the margin (0.01 is 1 %). Repeatable.",
        ),
    ] = None,
    lower: Annotated[
        list[str] | None,
        typer.Option("--lower-is-better", metavar="NAME", help="Of this metric less is better. Repeatable."),
    ] = None,
    form: Annotated[
        Literal["table", "text", "json", "csv"], typer.Option("--format", help="How to print it.")
    ] = "table",
    as_json: Json = False,
    fail_on: FailOn = None,
) -> None:
    """Judge an A/B test of your own from its table: lifts, intervals, the split's check, a verdict."""
    from simulator.analysis.metrics import parse_metrics
    from simulator.commands.report import end_on
    from simulator.commands.verdicts import parse_fail_on
    from simulator.outside.analyze import Analysis
    from simulator.outside.analyze import analyze as judge
    from simulator.results.report import render

    checks = parse_fail_on(fail_on)
    margins: dict[str, Any] = dict(_number("--guardrail", text, 0.0) for text in guardrail or [])
    shares = dict(_number("--split", text, None) for text in split.split(",")) if split else None
    asked = Analysis(
        unit=unit,
        arm=arm,
        control=control,
        metrics=parse_metrics(metric, pre or ()),
        level=level,
        split=shares,
        sequential=sequential,
        winsorise=winsorise,
        guardrails=margins,
        lower=tuple(lower or ()),
    )
    card = judge(file, asked)
    print(render(card, "json" if as_json else form), end="")
    end_on(card, checks)


def _number(flag: str, text: str, default: float | None) -> tuple[str, float]:
    """NAME=NUMBER; the number may be left out where there is a default.

    Raises:
        typer.BadParameter: it is no number of 0 or more.
    """
    name, equals, number = (part.strip() for part in text.partition("="))
    try:
        value = float(number) if equals or default is None else default
    except ValueError:
        value = -1.0
    if not name or not 0 <= value < float("inf"):
        raise typer.BadParameter(f"found {text!r}, expected NAME=NUMBER, such as ctr=0.01", param_hint=flag)
    return name, value
