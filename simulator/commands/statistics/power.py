"""`laser-ab power`: how large a test must be, or what a test of a size can see."""

from pathlib import Path
from typing import Annotated, Any

import typer

from simulator.commands.options import Json
from simulator.errors import SimulatorError


def power(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="A run folder to take the metric's spread from.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="Of the run; the primary one by default.")
    ] = None,
    base_rate: Annotated[
        float | None, typer.Option("--base-rate", metavar="P", help="A share of users, such as 0.05.")
    ] = None,
    mean: Annotated[float | None, typer.Option("--mean", help="Of a user's value, with --sd.")] = None,
    sd: Annotated[float | None, typer.Option("--sd", help="Its standard deviation.")] = None,
    lift: Annotated[
        float | None, typer.Option("--lift", help="The lift to be found, such as 0.02; asks for the size.")
    ] = None,
    users: Annotated[
        int | None, typer.Option("--users", help="Of all arms; asks for the smallest lift found.")
    ] = None,
    share: Annotated[float, typer.Option("--share", help="Treatment's, of the users.")] = 0.5,
    users_per_day: Annotated[
        float | None, typer.Option("--users-per-day", help="New users a day, of all arms; gives days.")
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Of the test: 0.95 errs in 5 %.")] = 0.95,
    wanted: Annotated[float, typer.Option("--power", help="Chance to find the lift.")] = 0.8,
    as_json: Json = False,
) -> None:
    """Plan a test: users and days that find a lift, or the smallest lift that users find."""
    from simulator.commands.output import print_json
    from simulator.results.numbers import about, count

    if (lift is None) == (users is None):
        raise typer.BadParameter("expected one of the two", param_hint="--lift / --users")
    if sum((run is not None, base_rate is not None, mean is not None)) != 1 or (mean is None) != (sd is None):
        raise typer.BadParameter(
            "expected a RUN, or --base-rate, or --mean with --sd", param_hint="RUN / --base-rate / --mean"
        )
    if run is not None:
        found = _of_run(run, metric, lift, users, level, wanted)
    else:
        found = _of_spread(base_rate, mean, sd, lift, users, share, level, wanted)
    if users_per_day is not None:
        if not users_per_day > 0:
            raise typer.BadParameter(f"found {users_per_day}, expected above 0", param_hint="--users-per-day")
        found["days"] = found["users"] / users_per_day
    found |= {"level": level, "power": wanted}
    if as_json:
        print_json(found)
        return
    days = f" in {found['days']:,.1f} days" if found.get("days") is not None else ""
    # A run's own spread is an estimate, and so is what follows from it.
    form, head = (about, "About ") if run is not None and lift is not None else (count, "")
    requests = f" and {form(found['requests'])} requests" if found.get("requests") else ""
    reached = f"a lift of {found['lift']:+.2%} with {wanted:.0%} power"
    print(f"{head}{form(found['users'])} users{requests}{days} find {reached}.")


def _of_spread(
    base_rate: float | None,
    mean: float | None,
    sd: float | None,
    lift: float | None,
    users: int | None,
    share: float,
    level: float,
    wanted: float,
) -> dict[str, Any]:
    """From a rate or a mean: on the logarithm of the ratio, as the intervals are."""
    from simulator.analysis.power import lift_found, users_needed

    if base_rate is not None:
        if not 0 < base_rate < 1:
            raise typer.BadParameter(
                f"found {base_rate}, expected a share in (0, 1)", param_hint="--base-rate"
            )
        cv = ((1 - base_rate) / base_rate) ** 0.5
    else:
        assert mean is not None
        assert sd is not None
        if not mean > 0 or not sd > 0:
            raise typer.BadParameter(
                f"found {mean} and {sd}, expected more than 0", param_hint="--mean / --sd"
            )
        cv = sd / mean
    if users is not None:
        found = lift_found(users, cv, share=share, level=level, wanted=wanted)
        return {
            "lift": found,
            "users": users,
            "control": users - round(users * share),
            "treatment": round(users * share),
        }
    assert lift is not None
    other = None
    if base_rate is not None:
        rate = base_rate * (1 + lift)
        if not 0 < rate < 1:
            raise typer.BadParameter(
                f"found {lift} on a rate of {base_rate}, which gives {rate:g}; expected a rate in (0, 1)",
                param_hint="--lift",
            )
        other = ((1 - rate) / rate) ** 0.5
    size = users_needed(lift, cv, other, share=share, level=level, wanted=wanted)
    return {"lift": lift, "users": size.users, "control": size.control, "treatment": size.treatment}


def _of_run(
    run: Path, metric: str | None, lift: float | None, users: int | None, level: float, wanted: float
) -> dict[str, Any]:
    """From a run's scorecard: its standard error, scaled to another size of the same split."""
    from simulator.analysis.power import mde, times_the_size
    from simulator.commands.report import scorecard_of
    from simulator.results.scorecard import arms_of, control_name, effects

    card = scorecard_of(run)
    shown = [e for e in effects(card) if (e.metric == metric if metric else e.role == "primary")]
    if not shown:
        known = ", ".join(dict.fromkeys(e.metric for e in effects(card)))
        raise SimulatorError(f"{run}: found no metric {metric!r}, expected one of {known}.")
    first, arms = shown[0], arms_of(card)
    se = arms[first.arm]["metrics"][first.metric].get("se_log")
    if not se:
        raise SimulatorError(
            f"{run}: {first.metric} has no standard error ({first.reason or 'no spread'}), expected one. "
            "Choose another metric, or simulate more users."
        )
    had = arms[control_name(card)]["units"] + arms[first.arm]["units"]
    times = users / had if users is not None else times_the_size(lift or 0.0, se, level, wanted)
    if not times or times <= 0:
        raise SimulatorError(f"Found a lift of {lift} and {users} users, expected a lift above -1 and not 0.")
    reached = lift if lift is not None else mde(se / times**0.5, level, wanted)
    return {
        "metric": first.metric,
        "arm": first.arm,
        "lift": reached,
        "users": round(had * times),
        "requests": round((first.n or 0) * times),
    }
