"""docs/wrong.md: "How wrong would your A/B test be?"

    python benchmarks/pages/wrong.py

Every figure is read from a saved result, and beside it stands the command that measures it.
"""

from __future__ import annotations

import json
import math
from typing import Any

from scipy import stats

from benchmarks.pages.layout import RESULTS, ROOT, table
from simulator.designs.words import points, points_error
from simulator.metrics import BY_NAME
from simulator.results.numbers import count, error, lift, percent

PAGE = ROOT / "docs" / "wrong.md"
Result = dict[str, Any]
#: By name, in the order of `page`.
RESULTS_READ = (
    "designs",
    "inference_coverage",
    "worlds",
    "worlds_one_model",
    "worlds_one_model_long_log",
    "faults",
)
SHOWN = ("advv_per_request", "revenue_per_request", "ctr")


def load(name: str) -> Result:
    """A saved result."""
    found: Result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def page(
    designs: Result, inference: Result, worlds: Result, one_model: Result, longer: Result, faults: Result
) -> str:
    """The page."""
    return f"""# How wrong would your A/B test be?

A real test never learns. Here the world is simulated and the truth is known, so every way in which a test
goes wrong has a size. All figures are read from saved results; the command above each table measures them
again.

## The intervals by themselves

`python benchmarks/inference/coverage.py`, and for any size `laser-ab validate inference`. On experiments
whose effect is known, or is none:

{_intervals(inference)}
Looking every day with the interval of one look errs in {_peeking(inference)} of tests without an effect:
the other two rules are made to be looked at.

## The layout of the test

`laser-ab designs examples/tight-budgets.toml`. Ten advertisers whose daily budgets are about a third of
what they would spend: {_worlds(designs)} A hundred re-assignments of each design, on the same market:

{_designs(designs)}
Bias is what the design shows minus the truth; "arms' doing" is the part that the arms do to each other,
measured on the same clicks and units, with standard errors after ±. In points of the lift. The truth is
that of the models at hand: given a run's folder `designs` takes the run's own, and its truth is the run's but
for the paths of clicks, which both average over. Given a file it trains; another version or processor trains
other weights of the same models, and the truth moves with them, as the next section measures.

{_sentences(designs)}

## One world, one training

`python benchmarks/simulation/worlds.py`. {_null(worlds)}

{_null_table(worlds)}
{_short(worlds)}

`python benchmarks/simulation/worlds.py --one-model`. The same with one kind of model in both arms: DIN, which
reads 10 behaviours or 60.

{_null_table(one_model)}
{_short(one_model)}

`python benchmarks/simulation/worlds.py --one-model --log-requests 20`. The same with four times the log to
learn from.

{_null_table(longer)}
{_short(longer)}

A run's own `true_se` counts the users of its world alone (the column "of it users"): another world and
another training move the "truth" more than that. The mean need not be 0 either. What says nothing is not
free: a model trained on a log of some length takes part of it for something, and loses by reading six times
as much of it, as the second table shows. Of a log four times as long, in the third, it learns less of what
is not there: ADVV, revenue and CTR lose less, and the worlds cover 0. CTR's mean is below 0 still, and its
spread alone has not halved; revenue's spread, and what covers 0 by it, hang on a single world far below 0.
Two kinds of models, each trained by settings of its own, differ in more than that: with such a log CTR's mean
was above 0. `laser-ab truth CONFIG --seeds N` says how much, for your experiment.

## The test itself

`python benchmarks/inference/faults.py`, or `laser-ab validate faults --replications 200`. Faults put into the
logs of tests with 10,000 users an arm, how often each is found and called by its name, and how often a sound
test is suspected:

{_faults(faults)}"""


def _intervals(inference: Result) -> str:
    lines = [
        [
            row["part"],
            _name(row["what"]),
            percent(row["value"]),
            f"± {error(row['se'])}",
            count(row["experiments"]),
        ]
        for row in inference["rows"]
        if "value" in row
    ]
    return table(["what", "of", "measured", "", "experiments"], lines)


def _name(what: str) -> str:
    return BY_NAME[what].label if what in BY_NAME else what.replace("p99_ms", "P99")


def _peeking(inference: Result) -> str:
    (row,) = (row for row in inference["rows"] if row["what"] == "fixed")
    return percent(row["value"])


def _worlds(designs: Result) -> str:
    parts = [
        f"with {row['what']} alone {percent(row['exhausted_share'])} of the budgets run out"
        for row in designs["rows"]
        if row["part"] == "world"
    ]
    return " and ".join(parts) + "."


def _designs(designs: Result) -> str:
    true = {row["what"]: row["lift"] for row in designs["rows"] if row["part"] == "truth"}
    lines = [
        [
            f"{_name(row['what'])}, truth {lift(true[row['what']])}",
            row["design"],
            lift(row["estimate"]),
            _both(row, "bias"),
            _both(row, "interference"),
            _points(row["sd"]),
            percent(row["coverage"], digits=0),
            percent(row["power"], digits=0),
        ]
        for metric in SHOWN
        for row in designs["rows"]
        if row["part"] == "design" and row["what"] == metric
    ]
    return table(
        ["metric", "design", "shows", "bias", "arms' doing", "own error", "coverage", "power"], lines
    )


def _both(row: dict[str, Any], key: str) -> str:
    return f"{points(row[key])} ± {points_error(row[f'{key}_se'])}".replace(" points", "")


def _points(value: float) -> str:
    return points(value, signed=False).replace(" points", "")


def _sentences(designs: Result) -> str:
    said = [f"- {row['text']}" for row in designs["rows"] if row["part"] == "sentence"]
    said += [f"\n{row['text']}" for row in designs["rows"] if row["part"] == "choice"]
    return "\n".join(said)


def _null(worlds: Result) -> str:
    known = next(row for row in worlds["rows"] if row["part"] == "pooled")
    return (
        f"{known['worlds']} worlds in which histories do not matter, each with models trained in it: no "
        "model can gain by them. What comes out as true is what users, worlds and trainings make."
    )


def _short(worlds: Result) -> str:
    wanted = {entry["name"].removesuffix("_near_0"): entry for entry in worlds["bars"]}
    missed = [
        f"{BY_NAME[name].label} has {percent(entry['value'])}"
        for name, entry in wanted.items()
        if entry["value"] < entry["bar"]
    ]
    least = percent(max(entry["bar"] for entry in wanted.values()))
    apart = [
        f"{_name(row['what'])} ({_mean_interval(row)})"
        for row in worlds["rows"]
        if row["part"] == "pooled" and row["ci"][0] * row["ci"][1] > 0
    ]
    reason = (
        f" The interval of the mean leaves 0 out for {' and '.join(apart)}: there 0 is not what is true."
        if apart
        else ""
    )
    return (
        f"Of the worlds {least} are wanted to cover 0"
        + (f"; {' and '.join(missed)}, short of it." if missed else ", which is met.")
        + reason
    )


def _null_table(worlds: Result) -> str:
    lines = [
        [
            _name(row["what"]),
            percent(row["lift"], signed=True, digits=2),
            _mean_interval(row),
            percent(row["sd"], digits=2),
            percent(row["sd_users"], digits=2),
            _with_chance(row["covers_zero"], row["worlds"]),
            _with_chance(_near_mean(row, worlds["rows"]), row["worlds"]),
        ]
        for row in worlds["rows"]
        if row["part"] == "pooled"
    ]
    return table(
        [
            "metric",
            "mean true lift",
            "its 95 % interval",
            "between worlds",
            "of it users",
            "worlds that cover 0",
            "that cover the mean",
        ],
        lines,
    )


def _mean_interval(row: dict[str, Any]) -> str:
    return " to ".join(percent(end, signed=True, digits=2) for end in row["ci"])


def _near_mean(row: dict[str, Any], rows: list[dict[str, Any]]) -> float:
    """The share of worlds as near to their mean as `covers_zero` asks them to be to 0: within t·sd."""
    mean = math.log1p(row["lift"])
    reach = (math.log1p(row["ci"][1]) - mean) * math.sqrt(row["worlds"])
    own = [math.log1p(r["lift"]) for r in rows if r["part"] == "seed" and r["what"] == row["what"]]
    return sum(abs(lift - mean) <= reach for lift in own) / len(own)


def _with_chance(share: float, worlds: int) -> str:
    """A share of worlds with its exact binomial interval."""
    chance = stats.binomtest(round(share * worlds), worlds).proportion_ci()
    return f"{percent(share)} ({percent(chance.low)} to {percent(chance.high)})"


def _faults(faults: Result) -> str:
    lines = [[row["name"], percent(row["simulated"])] for row in faults["rows"]]
    return table(["fault", "share of tests"], lines)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(*map(load, RESULTS_READ)), encoding="utf-8")


if __name__ == "__main__":
    main()
