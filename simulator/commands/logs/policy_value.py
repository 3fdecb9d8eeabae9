"""`laser-ab policy-value`: what another log's policy would have been worth on a randomised log."""

from pathlib import Path
from typing import Annotated, Any

import typer

from simulator.commands.options import Json


def policy_value(
    log: Annotated[
        Path, typer.Argument(metavar="LOG", help="A log folder that recorded its logging propensities.")
    ],
    policy: Annotated[
        Path, typer.Option("--policy", metavar="LOG", help="A log of the policy to judge, of the same items.")
    ],
    level: Annotated[float, typer.Option("--level", help="Confidence level of the intervals.")] = 0.95,
    as_json: Json = False,
) -> None:
    """Estimate the click rate of another log's policy on this log's traffic, beside what it was."""
    from simulator.commands.output import print_json
    from simulator.logs.calibration.policy_value import METHODS
    from simulator.logs.calibration.policy_value import policy_value as found_of

    found = found_of(log, policy, level)
    if as_json:
        print_json({"log": str(log), "policy": str(policy), **found})
        return
    print(f"Click rate of the policy of {policy}, {found['level']:.0%} intervals:")
    print(f"  as it was logged: {_entry(found['other'])}")
    for name, entry in found["estimates"].items():
        verdict = "agrees" if found["agrees"][name] else "does not agree"
        print(f"  {METHODS[name]}: {_entry(entry)}, {verdict}")
    print(f"Click rate of {log} itself: {_entry(found['logged'])}")
    print(f"The weights leave {found['effective_rows']:,.0f} effective impressions.")
    if found["without_support"] > 0:
        print(f"{found['without_support']:.2%} of what the policy shows was never shown in {log}.")


def _entry(entry: dict[str, Any]) -> str:
    low, high = entry["ci"]
    return f"{entry['value']:.5f} [{low:.5f}, {high:.5f}]"
