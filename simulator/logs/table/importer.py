"""A mapping's files as a log folder: read, check, convert, fit, write. Start at `import_table`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
from numpy.typing import NDArray

from simulator.logs.folder import OPTIONAL_SCHEMA, check_free, write_log
from simulator.logs.manifest import NO_CONVERSIONS
from simulator.logs.real_log import LogRows
from simulator.logs.table.catalogue import ADVERTISERS
from simulator.logs.table.collect import Collected, collect
from simulator.logs.table.convert import FEATURE_DELAY_S, Converted, convert, local_date
from simulator.logs.table.fit import PRIOR_SD, fit_response
from simulator.logs.table.remarks import coarse_times, swapped_days
from simulator.logs.table.rows import DRAWN_CONVERSIONS
from simulator.logs.table.shows import Shows
from simulator.logs.table.staging.load import Loaded
from simulator.logs.table.staging.mapping import Mapping
from simulator.logs.table.staging.stage import Stage
from simulator.logs.table.strays import fragments
from simulator.results.files import FolderLock
from simulator.scratch import slices_of
from simulator.traffic.behaviours import ACTIONS
from simulator.traffic.files import ROW_GROUP
from simulator.traffic.trace import DAY_S, TraceError
from simulator.world.fitted import FEATURES, FittedResponse

OnProgress = Callable[[str, int, int], None]

#: Bytes of files read whole that an interrupted import keeps; less is read again in seconds.
WORTH_KEEPING = 1 << 28


class Interrupted(KeyboardInterrupt):
    """An import was interrupted, and goes on where it stood when it is begun again.

    Attributes:
        command: that continues it, in words.
    """

    command = "the same command, which goes on after the files that were read whole"


@dataclass(frozen=True)
class Imported:
    """An import before it is written.

    Attributes:
        log: what was read; its requests are still to be made.
        response: fitted on it.
        shows: what the requests show, once they have passed.
        said: what the manifest says already.
        names: (ids, names) of numbered ids, by kind.
    """

    log: Converted
    response: FittedResponse
    shows: Shows
    said: dict[str, Any]
    names: dict[str, tuple[Any, Any]]

    def manifest(self) -> dict[str, Any]:
        """What the folder's manifest says, but the entries of its files, once the requests have passed."""
        return {**self.said, "shows": self.shows.found(self.response)}


def import_table(loaded: Loaded, out: Path, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Turn the files of a mapping into a log folder.

    An import that was cut off after some files goes on after them when it is begun again.

    Args:
        loaded: the mapping.
        out: the log folder to write; nothing may be there.
        on_progress: called with (stage, done, total).

    Returns:
        The folder's manifest, without the entries of its files.

    Raises:
        ConfigError: the mapping does not fit the files.
        TraceError: damaged or missing files, a log that cannot serve (the message says what and where), or
            something at `out`.
        ResultsError: another import to `out` is at work.
        OSError: the disk is full or the place not writable.
    """
    check_free(out)  # before the work
    on_progress = on_progress or (lambda stage, done, total: None)
    made = read_table_log(loaded, out, on_progress)
    on_progress("write", 0, 1)
    said = write_log(out, made.log.rows, made.shows.requests(), made.response, made.manifest, made.names)
    on_progress("write", 1, 1)
    return said


def read_table_log(loaded: Loaded, out: Path, on_progress: OnProgress) -> Imported:
    """All of an import but the requests' candidates and the writing.

    Args:
        loaded: the mapping.
        out: beside it rows are staged; nothing is left there, unless the reading is interrupted.
        on_progress: called with (stage, done, total).

    Raises:
        ConfigError, TraceError, ResultsError, OSError: as `import_table`.
    """
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    place = out.with_name(f".{out.name}.stage")
    place.mkdir(exist_ok=True)
    lock, keep = FolderLock(place), False  # another import would write into the rows of this one
    try:
        stage = Stage(loaded, place)
        try:
            stage.read(on_progress)
            on_progress("convert", 0, 1)
            found = collect(stage)
        except (KeyboardInterrupt, RuntimeError, duckdb.InterruptException) as problem:
            # Ctrl-C within a query comes as a RuntimeError of these words.
            if isinstance(problem, RuntimeError) and str(problem) != "Query interrupted":
                raise
            done = sum(read.bytes for reads in stage.reads.values() for read in reads)
            keep = done >= WORTH_KEEPING
            raise (Interrupted if keep else KeyboardInterrupt) from None
        except duckdb.Error as problem:
            reason = str(problem).split("\n")[0]
            full = isinstance(problem, duckdb.IOException | duckdb.OutOfMemoryException)
            remedy = "Free some space, or choose another place with --out" if full else "Correct the mapping"
            raise TraceError(f"{place}: the rows cannot be staged ({reason}). {remedy}.") from problem
        finally:
            stage.close()
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
        lock.release()
    log = convert(found, loaded.mapping, out.parent)
    on_progress("convert", 1, 1)
    response, quality = fit_response(log.rows, on_progress)
    names = {kind: (each.number, each.name) for kind, each in found.names.items()}
    said = _manifest(loaded.mapping, stage, found, log, response, quality)
    return Imported(log, response, Shows(log), said, names)


def history_lengths(lengths: Any) -> dict[str, float]:
    """Median, P99 and maximum of history lengths, in behaviours."""
    return {
        "median": float(np.median(lengths)),
        "p99": float(np.quantile(lengths, 0.99)),
        "max": int(np.max(lengths)),
    }


def _manifest(
    mapping: Mapping,
    stage: Stage,
    found: Collected,
    log: Converted,
    response: FittedResponse,
    quality: dict[str, Any],
) -> dict[str, Any]:
    rows, totals, zone = log.rows, found.totals, ZoneInfo(mapping.source.time_zone)
    by_day, clicks_by_day = _days(rows)
    dates = [local_date(rows.epoch_ms, day, zone) for day in range(rows.days)]
    return {
        "source": mapping.source.name,
        "licence": mapping.source.licence,
        "sources": [
            {"file": read.file, "bytes": read.bytes, "sha256": read.sha256, "rows": read.rows}
            for read in [*stage.item_reads, *stage.reads["shown"], *stage.reads["done"]]
        ],
        "rows": {
            "read": sum(read.rows for read in stage.reads["shown"]),
            "kept": len(rows.impressions),
            "dropped": found.dropped,
        },
        "epoch_ms": rows.epoch_ms,
        "days": rows.days,
        "first_date": dates[0],
        "last_date": dates[-1],
        "time_zone": mapping.source.time_zone,
        "impressions_by_day": by_day.tolist(),
        "empty_days": [dates[day] for day in np.flatnonzero(by_day == 0)],
        "fragments": [dates[day] for day in fragments(by_day)],
        "recorded": [f.name for f in OPTIONAL_SCHEMA if getattr(rows.impressions, f.name) is not None],
        "sizes": _sizes(log, mapping.impressions.width),
        **({"departments": rows.ads.departments} if rows.ads.departments else {}),
        "rates": {
            "click": totals.clicks / totals.rows,
            "conversion_of_clicks": totals.conversions / totals.clicks,
        },
        "histories": history_lengths(np.diff(rows.behaviours.offsets)),
        "feature_delay_s": FEATURE_DELAY_S,
        "shows": {},
        "remarks": [
            *found.remarks,
            *coarse_times(log),
            *swapped_days(by_day, dates, mapping.impressions.time),
            *_silent_days(by_day, clicks_by_day, dates),
        ],
        "invented": invented(mapping),
        "response": {
            "form": "logistic regression, normal priors, L-BFGS",
            "features": list(FEATURES),
            "prior_sd": {name: PRIOR_SD[name] for name in response.click.tables},
            "quality": quality,
        },
    }


def _sizes(log: Converted, width: int) -> dict[str, int]:
    rows = log.rows
    return {
        "impressions": len(rows.impressions),
        "requests": len(log.first),
        "users": len(rows.behaviours.users),
        "behaviours": len(rows.behaviours),
        "ads": len(rows.ads.item_id),
        "advertisers": rows.ads.advertisers,
        "categories": rows.categories,
        "scenes": rows.scenes,
        "actions": ACTIONS,
        "candidates": width,
    }


def _days(log: LogRows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(days,) impressions and clicks by day."""
    shown = log.impressions
    rows, clicks = np.zeros(log.days, np.int64), np.zeros(log.days, np.int64)
    for part in slices_of(len(shown), ROW_GROUP, shown.time_s, shown.click):
        day = (shown.time_s[part] // DAY_S).astype(np.int64)
        rows += np.bincount(day, minlength=log.days)
        clicks += np.bincount(day[shown.click[part] == 1], minlength=log.days)
    return rows, clicks


def _silent_days(rows: NDArray[np.int64], clicks: NDArray[np.int64], dates: list[str]) -> list[str]:
    """Days on which nothing was clicked, though by their rows ten clicks or more were to be expected."""
    silent = np.flatnonzero((clicks == 0) & (rows * (clicks.sum() / rows.sum()) >= 10))
    return [
        f"{dates[day]} has {int(rows[day]):,} rows and not one click; was clicking recorded?"
        for day in silent
    ]


def invented(mapping: Mapping) -> list[str]:
    """What the log does not hold and a run needs; shown with every result."""
    fields = mapping.impressions
    position = "position" if fields.position is not None else "no position"
    rules: tuple[tuple[bool, str], ...] = (
        (
            fields.advertiser is None,
            f"The log names no advertisers: every item is its own, hashed to {ADVERTISERS}.",
        ),
        (
            fields.advertiser is not None and fields.advertiser.hashed is not None,
            f"Advertisers are hashed to {fields.advertiser.hashed if fields.advertiser else 0}.",
        ),
        (
            fields.bid is None,
            "tCPA is drawn log-normally for each advertiser, and budgets follow the simulator's rule.",
        ),
        (
            fields.bid is not None,
            "tCPA follows an advertiser's mean bid in the log, where it has one, its median is invented, and "
            "budgets follow the simulator's rule.",
        ),
        (
            fields.conversion is None,
            f"{NO_CONVERSIONS}: {DRAWN_CONVERSIONS:.0%} of clicks, drawn, are conversions.",
        ),
        (fields.category is None, "The log names no categories: all items share one."),
        (
            fields.candidates is None,
            f"Candidates are what a request showed and the items exposed nearest to it in time, "
            f"{fields.width} in all; the log does not record what else could have been shown.",
        ),
        (
            fields.candidates is not None,
            f"A request's candidates are those of the log, cut at {fields.width} or filled up to it with the "
            "items exposed nearest in time.",
        ),
        (
            mapping.behaviours is None,
            "Histories are the log's own impressions, clicked or not.",
        ),
        (
            fields.action is None and mapping.behaviours is None,
            "An action is a click where the impression was clicked, and else short.",
        ),
        (
            mapping.behaviours is not None and mapping.behaviours.action is None,
            "The log names no actions of behaviours: each is a click.",
        ),
        (
            True,
            "The truth behind true lifts is a logistic regression fitted on the log (features of the user's "
            f"whole history, item, advertiser, category, scene, hour; {position}): as true as that model.",
        ),
        (True, "A user's propensity is the smoothed click rate before the request."),
    )
    return [*mapping.notes, *(sentence for holds, sentence in rules if holds)]
