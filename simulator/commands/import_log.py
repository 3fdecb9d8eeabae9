"""`laser-ab import`: real logs as folders that `[traffic] log = "FOLDER"` replays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from simulator.commands.options import Json, Quiet


def kuairand(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Holds log_*.csv and video_features_basic*.csv, maybe .gz.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="LOG", help="The log folder to write.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Import KuaiRand's published exposure log (CC BY-SA 4.0)."""
    from simulator.commands.output import print_json, progress
    from simulator.execution.interrupts import sigterm_as_ctrl_c
    from simulator.logs.kuairand.importer import import_kuairand

    with sigterm_as_ctrl_c(), progress(quiet) as shown:
        manifest = import_kuairand(directory, out, shown.stage)
    if as_json:
        print_json({"log": str(out), **manifest})
        return
    for line in summary(manifest):
        print(line)
    print(f"\nLog folder: {out}")
    print("Next:")
    print(f"  laser-ab run examples/kuairand.toml --set traffic.log={out}")


def summary(manifest: Mapping[str, Any]) -> list[str]:
    """What was read, left out, found and invented."""
    rows, sizes, lengths = manifest["rows"], manifest["sizes"], manifest["histories"]
    lines = [f"Rows: {rows['read']:,} read, {rows['kept']:,} kept"]
    for reason, entry in rows["dropped"].items():
        places = f" (first: {', '.join(entry['first'])})" if entry["first"] else ""
        lines.append(f"  left out {entry['rows']:,}: {reason}{places}")
    lines += [
        f"Dates: {manifest['first_date']} to {manifest['last_date']} ({manifest['time_zone']}), "
        f"{manifest['days']} days; {sizes['requests']:,} requests of {sizes['users']:,} users, "
        f"{sizes['ads']:,} ads",
        f"Histories: median {lengths['median']:g}, P99 {lengths['p99']:g}, max {lengths['max']:g} behaviours",
    ]
    lines.append("Response model:")
    for name, quality in manifest["response"]["quality"].items():
        for where, words in (("in_sample", "in sample"), ("last_day", "last day, from those before")):
            measures = (("AUC", "auc"), ("log loss", "log_loss"), ("PCOC", "pcoc"))
            found = [(word, quality[where][key]) for word, key in measures]
            values = ", ".join(f"{word} {'unknown' if v is None else f'{v:.3f}'}" for word, v in found)
            lines.append(f"  {name}, {words}: {values}")
    lines.append("Invented:")
    return [*lines, *(f"  {sentence}" for sentence in manifest["invented"]), manifest["licence"]]
