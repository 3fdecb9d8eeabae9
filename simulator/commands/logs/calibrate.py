"""`laser-ab calibrate`: a log's fit tested on other days, and a generated world beside it."""

import os
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from simulator.commands.options import Json, Quiet, named

_DAYS = "Days of the log, counted from 1, such as 1-4."


def calibrate(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="A folder made by laser-ab import.")],
    fit: Annotated[
        str | None,
        typer.Option("--fit", metavar="DAYS", help=f"{_DAYS} By default all before the experiment's."),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option("--test", metavar="DAYS", help=f"{_DAYS} By default the experiment's, the last sixth."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Write the world as an experiment file (TOML).", callback=named
        ),
    ] = None,
    preset: Annotated[
        Path | None,
        typer.Option("--preset", metavar="FILE", help="Write the world as a preset (TOML).", callback=named),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a log on some days and test it on others, and make a world that resembles it."""
    from simulator.commands.output import print_json, progress
    from simulator.execution.interrupts import sigterm_as_ctrl_c
    from simulator.logs.calibration.calibrate import calibrate as found_of
    from simulator.logs.calibration.calibrate import experiment_file, preset_file

    asked = {"--out": (out, experiment_file), "--preset": (preset, preset_file)}
    for option, (path, _) in asked.items():
        if path is not None:
            _check_free(path, option)
    with sigterm_as_ctrl_c(), progress(quiet) as shown:
        found = found_of(log, fit, test, shown.stage)
    for path, text_of in asked.values():
        if path is not None:
            _write(path, text_of(found))
    if as_json:
        print_json({"log": str(log), "out": None if out is None else str(out), **found})
        return
    print("\n".join(lines(found)))
    if preset is not None:
        print(f"\nThe preset: {preset}")
    if out is not None:
        print(f"\nThe world: {out}\nNext:\n  laser-ab run {quote(str(out))}")


def _check_free(path: Path, option: str) -> None:
    """Refuse a place where nothing can be written before the search, which takes minutes."""
    from simulator.errors import SimulatorError

    if path.exists():
        raise SimulatorError(f"{path}: found something there, expected nothing. Choose another {option}.")
    folder = path.parent
    if not folder.is_dir():
        what, advice = ("a file", "Choose") if folder.exists() else ("no folder", "Make it, or choose")
        raise SimulatorError(
            f"{path}: found {what} at {folder}, expected a folder to write into. {advice} another {option}."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SimulatorError(
            f"{path}: found {folder} not writable, expected a folder to write into. "
            f"Change its permissions, or choose another {option}."
        )


def _write(path: Path, text: str) -> None:
    from simulator.results.files import write_new

    write_new(path, lambda stream: stream.write(text.encode()))


def lines(found: dict[str, Any]) -> list[str]:
    """The test of the fit, then the log and the world, statistic by statistic."""
    said = [f"{found['source']}: fitted on days {found['fit_days']}, tested on days {found['test_days']}"]
    if found["fitted"]["sampled"] < 1:
        said.append(f"  from a sample of {found['fitted']['sampled']:.1%} of the impressions")
    for name in ("click", "conversion"):
        own = found["fitted"][name]
        said += [f"{name}: drawn, not logged: not judged"] if own is None else _outcome(name, own)
    said += ["", f"The log beside a world of {found['world_users']:,} users (P10, median, P90, P99):"]
    for name, entry in found["distributions"].items():
        distance, bar = entry["distance"], entry["bar"]
        told = "unknown" if distance is None else f"{distance:.3f}"
        verdict = (
            "" if bar is None or distance is None else f", {'within' if distance <= bar else 'above'} {bar}"
        )
        said += [
            f"  {name}: {entry['meaning']}",
            f"    log {_numbers(entry['log'])}; world {_numbers(entry['world'])}; "
            f"Kolmogorov distance {told}{verdict}",
        ]
    width = max(len(entry["meaning"]) for entry in found["figures"].values())
    said.append(f"  {'':{width}}  {'log':>10}  {'world':>10}")
    said += [
        f"  {entry['meaning']:{width}}  {_number(entry['log']):>10}  {_number(entry['world']):>10}"
        for entry in found["figures"].values()
    ]
    return [*said, f"Licence of the log: {found['licence']}"]


def _outcome(name: str, found: dict[str, Any]) -> list[str]:
    told = [f"{name}:"]
    for where in ("fit", "test"):
        quality = found[where]
        values = ", ".join(
            f"{word} {_number(quality[key])}"
            for word, key in (("AUC", "auc"), ("log loss", "log_loss"), ("PCOC", "pcoc"))
        )
        told.append(f"  {where} ({quality['rows']:,} rows): {values}")
    told += [
        f"  day {day['day']}: {day['rows']:,} rows, AUC {_number(day['auc'])}, {_calibration(day)}"
        for day in found["days"]
    ]
    told += [f"  decile {n}: {_calibration(each)}" for n, each in enumerate(found["deciles"], 1)]
    return told


def _calibration(entry: dict[str, Any]) -> str:
    return (
        f"predicted {entry['predicted']:.4f}, observed {entry['observed']:.4f} "
        f"(+- {1.96 * entry['standard_error']:.4f}), PCOC {_number(entry['pcoc'])}"
    )


def _numbers(quantiles: dict[str, float] | None) -> str:
    return "none" if quantiles is None else " ".join(f"{value:.3g}" for value in quantiles.values())


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
