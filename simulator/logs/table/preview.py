"""What an import would do, without a log folder: `preview`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from simulator.logs.real_log import LogRows
from simulator.logs.table.convert import local_date
from simulator.logs.table.importer import read_table_log
from simulator.logs.table.staging.load import Loaded

ROWS_SHOWN = 5


def preview(loaded: Loaded, out: Path, on_progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """The manifest of an import that is not written, with its first rows and its days.

    Args:
        loaded: the mapping.
        out: the log folder to be; rows are staged beside it where that is possible.
        on_progress: called with (stage, done, total).

    Returns:
        The manifest, and "first_rows" and "rows_by_date".

    Raises:
        ConfigError, TraceError, OSError: as an import.
    """
    place = out.absolute().parent
    with tempfile.TemporaryDirectory(dir=place if place.is_dir() else None, prefix=".dry-run.") as folder:
        made = read_table_log(loaded, Path(folder) / "log", on_progress)
        for _ in made.shows.requests():
            pass  # are made, so that what is wrong with them is found
    manifest, log = made.manifest(), made.log.rows
    zone = ZoneInfo(loaded.mapping.source.time_zone)
    by_day = manifest["impressions_by_day"]
    dates = {local_date(log.epoch_ms, day, zone): rows for day, rows in enumerate(by_day)}
    return {**manifest, "first_rows": _first_rows(log, made.names), "rows_by_date": dates}


#: Columns of the first rows, and of which kind their numbers are.
_NUMBERED = {
    "user_id": "users",
    "scene": "scenes",
    "item": "items",
    "category": "categories",
    "advertiser": "advertisers",
}


def _first_rows(log: LogRows, names: dict[str, tuple[Any, Any]]) -> list[dict[str, Any]]:
    """The first rows, with the log's own names where ids were numbered."""
    shown, ads = log.impressions, log.ads
    columns = ("request_id", "user_id", "time_s", "scene", "click", "conversion", "action", "dwell_s", "hour")
    rows = []
    for row in range(min(ROWS_SHOWN, len(shown))):
        ad = int(shown.ad[row])
        values = {name: getattr(shown, name)[row].item() for name in columns}
        kind = {
            "item": int(ads.item_id[ad]),
            "category": int(ads.category[ad]),
            "advertiser": int(ads.advertiser[ad]),
        }
        found = {**values, **kind}
        rows.append(found | {n: _named(found[n], names.get(kinds)) for n, kinds in _NUMBERED.items()})
    return rows


def _named(number: int, named: tuple[Any, Any] | None) -> Any:
    """What a number stands for; the number itself where it has no name, or several, as hashed ones have."""
    if named is None:
        return number
    at = np.flatnonzero(named[0] == number)
    name = named[1][int(at[0])] if len(at) == 1 else number
    return "none" if name is None else name
