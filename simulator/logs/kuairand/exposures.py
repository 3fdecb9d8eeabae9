"""KuaiRand's exposure log and video features as checked columns. Start at `read_exposures`, `read_videos`.

`time_ms` alone says when something happened: `date` and `hourmin` run ahead of it, because the log's late
minutes were rounded up to the next hour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from simulator.logs.kuairand.csv_file import CsvColumns, numbers, read_csv, sha256
from simulator.traffic.trace import TraceError

I8 = NDArray[np.int64]

FLAGS = ("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view")
_TYPES = {
    "user_id": pa.int64(),
    "video_id": pa.int64(),
    "time_ms": pa.int64(),
    **dict.fromkeys(FLAGS, pa.int8()),
    "play_time_ms": pa.int64(),
    "tab": pa.int64(),
}
_VIDEO_TYPES = {"video_id": pa.int64(), "author_id": pa.int64(), "tag": pa.string()}
#: 2000 to 2100: seconds instead of milliseconds fall far below, microseconds far above.
EARLIEST_MS, LATEST_MS = 946_684_800_000, 4_102_444_800_000
#: Above this share of unusable rows the file is not what it seems to be.
MAX_DAMAGED_SHARE = 0.01
_ALWAYS_BORNE = 3  # rows, however small the file
NO_TAG = -1
_LINES_SHOWN = 5


@dataclass(frozen=True)
class Videos:
    """Video features, ascending by video id: author, and the first of its tags (NO_TAG without one)."""

    video_id: I8
    author_id: I8
    tag: I8


@dataclass(frozen=True)
class Exposures:
    """Rows of the log, one video shown to one user, sorted by (time_ms, user_id, video_id). All i8 (N,)."""

    user_id: I8
    video_id: I8
    time_ms: I8
    flags: dict[str, I8]  #: 0 or 1, by the names in FLAGS
    play_time_ms: I8
    tab: I8

    def __len__(self) -> int:
        return len(self.time_ms)

    def take(self, rows: NDArray[Any]) -> Exposures:
        """Some rows only, in the order given."""
        return Exposures(
            self.user_id[rows],
            self.video_id[rows],
            self.time_ms[rows],
            {name: column[rows] for name, column in self.flags.items()},
            self.play_time_ms[rows],
            self.tab[rows],
        )


@dataclass
class Reading:
    """What was read and what was left out: counts by reason, and the first places of each."""

    sources: list[dict[str, Any]] = field(default_factory=list)
    read: int = 0
    kept: int = 0
    dropped: dict[str, dict[str, Any]] = field(default_factory=dict)

    def drop(self, reason: str, places: list[str], count: int) -> None:
        """Note `count` rows left out for a reason; `places` are the first of them, such as file:line."""
        if count == 0:
            return
        entry = self.dropped.setdefault(reason, {"rows": 0, "first": []})
        entry["rows"] += count
        entry["first"] = [*entry["first"], *places][:_LINES_SHOWN]


def find_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The log files and the video feature files of a published folder, by name, also one level below.

    Raises:
        TraceError: no folder, or one of them is missing.
    """
    if not folder.is_dir():
        raise TraceError(f"{folder} is not a folder, expected KuaiRand's unpacked one. Check the path.")
    found = []
    for pattern, what in (("log_*.csv", "exposure log"), ("video_features_basic*.csv", "video features")):
        paths = sorted(
            path
            for where in (folder, folder / "data")
            for suffix in ("", ".gz")
            for path in where.glob(pattern + suffix)
        )
        if not paths:
            raise TraceError(
                f"{folder} has no {what} ({pattern} or {pattern}.gz), expected at least one. "
                "Give the folder that holds KuaiRand's CSV files."
            )
        stems = [path.name.removesuffix(".gz") for path in paths]
        twice = next((stem for stem in stems if stems.count(stem) > 1), None)
        if twice is not None:
            raise TraceError(f"{folder} has {twice} more than once, expected it once. Keep one of them.")
        found.append(paths)
    return found[0], found[1]


def read_videos(paths: list[Path], reading: Reading) -> Videos:
    """Read the feature files; a video that comes twice keeps its first row.

    Raises:
        TraceError: a file cannot be used, or has no rows.
    """
    parts: list[tuple[I8, I8, I8]] = []
    for path in paths:
        found = read_csv(path, _VIDEO_TYPES, quoted=True)
        video, author = numbers(found.table["video_id"], -1), numbers(found.table["author_id"], -1)
        ok = (video >= 0) & (author >= 0)
        _note_damage(reading, found, {"video features: no video_id or author_id": ~ok}, len(ok))
        reading.sources.append(_source(path, len(ok) + len(found.cut_lines)))
        parts.append((video[ok], author[ok], _first_tags(found)[ok]))
    video, author, tag = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    if len(video) == 0:
        raise TraceError(f"{paths[0]} has no videos, expected some. Use the published file.")
    ids, first = np.unique(video, return_index=True)
    return Videos(ids, author[first], tag[first])


def read_exposures(
    paths: list[Path], reading: Reading, on_progress: Callable[[str, int, int], None] | None = None
) -> Exposures:
    """Read and check the log files; what cannot be used is left out and noted in `reading`.

    Args:
        on_progress: called with (stage, bytes read, bytes in all).

    Raises:
        TraceError: a file cannot be used, times are not milliseconds, more than 1 % of a file's rows are
            damaged, or nothing is left.
    """
    total = sum(path.stat().st_size for path in paths)
    done, parts = 0, []
    for path in paths:

        def moved(position: int, before: int = done) -> None:
            if on_progress is not None:
                on_progress("read", before + position, total)

        found = read_csv(path, _TYPES, quoted=False, on_progress=moved)
        if len(found.table) == 0 and not found.cut_lines:
            raise TraceError(
                f"{path}, line 2: found no rows after the header, expected some. Download the file again."
            )
        parts.append(_checked(found, reading))
        done += path.stat().st_size
    if on_progress is not None:
        on_progress("read", total, total)
    return _distinct(_joined(parts), reading)


def _checked(found: CsvColumns, reading: Reading) -> Exposures:
    # -1 stands for an empty field: no published column is negative.
    column = {name: numbers(found.table[name], -1) for name in _TYPES}
    time_ms, rows = column["time_ms"], len(found.table)
    _check_unit(found, time_ms)
    flags = np.stack([column[name] for name in FLAGS])
    damage = {
        "time_ms outside 2000 to 2100": (time_ms < EARLIEST_MS) | (time_ms >= LATEST_MS),
        "user_id or video_id missing or negative": (column["user_id"] < 0) | (column["video_id"] < 0),
        "a flag that is neither 0 nor 1": np.logical_or.reduce((flags < 0) | (flags > 1), axis=0),
        "play_time_ms missing or negative": column["play_time_ms"] < 0,
        "tab outside 0 to 255": (column["tab"] < 0) | (column["tab"] > 255),
    }
    ok = _note_damage(reading, found, damage, rows)
    reading.read += rows + len(found.cut_lines)
    reading.sources.append(_source(found.path, rows + len(found.cut_lines)))
    return Exposures(
        column["user_id"],
        column["video_id"],
        time_ms,
        {name: column[name] for name in FLAGS},
        column["play_time_ms"],
        column["tab"],
    ).take(ok)


def _check_unit(found: CsvColumns, time_ms: I8) -> None:
    """Refuse a file in seconds or microseconds: every row of it would be dropped one by one otherwise."""
    for scale, unit in ((1000, "seconds"), (1 / 1000, "microseconds")):
        inside = (time_ms * scale >= EARLIEST_MS) & (time_ms * scale < LATEST_MS)
        if inside.sum() * 2 > len(inside):
            row = int(np.argmax(inside))
            raise TraceError(
                f"{found.path}, line {found.line(row)}: time_ms is {time_ms[row]}, which looks like {unit}, "
                "expected Unix time in milliseconds. Use the published file, or convert the column."
            )


def _note_damage(
    reading: Reading, found: CsvColumns, damage: dict[str, NDArray[np.bool_]], rows: int
) -> NDArray[np.bool_]:
    """Note each row once, under its first reason; returns the rows to keep."""
    ok = np.ones(rows, np.bool_)
    name, cut = found.path.name, found.cut_lines
    for reason, bad in damage.items():
        mine = np.flatnonzero(bad & ok)
        reading.drop(reason, [f"{name}:{found.line(int(i))}" for i in mine[:_LINES_SHOWN]], len(mine))
        ok &= ~bad
    reading.drop(
        "too few or too many fields (a cut row)", [f"{name}:{line}" for line in cut[:_LINES_SHOWN]], len(cut)
    )
    lost, all_rows = int((~ok).sum()) + len(cut), rows + len(cut)
    if lost > max(_ALWAYS_BORNE, MAX_DAMAGED_SHARE * all_rows):
        first = min([*cut[:1], *(found.line(int(i)) for i in np.flatnonzero(~ok)[:1])])
        reasons = [r for r, bad in damage.items() if bad.any()]
        reasons += ["too few or too many fields"] if cut else []
        raise TraceError(
            f"{found.path}, line {first}: {lost} of {all_rows} rows are damaged ({'; '.join(reasons)}), "
            f"expected at most {MAX_DAMAGED_SHARE:.0%}. Download the file again."
        )
    return ok


def _source(path: Path, rows: int) -> dict[str, Any]:
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path), "rows": rows}


def _joined(parts: list[Exposures]) -> Exposures:
    return Exposures(
        np.concatenate([p.user_id for p in parts]),
        np.concatenate([p.video_id for p in parts]),
        np.concatenate([p.time_ms for p in parts]),
        {name: np.concatenate([p.flags[name] for p in parts]) for name in FLAGS},
        np.concatenate([p.play_time_ms for p in parts]),
        np.concatenate([p.tab for p in parts]),
    )


def _distinct(rows: Exposures, reading: Reading) -> Exposures:
    """Sorted, and of rows that share (user, video, time_ms) the first in the files' order."""
    rows = rows.take(np.lexsort((rows.video_id, rows.user_id, rows.time_ms)))
    keys = (rows.user_id, rows.video_id, rows.time_ms)
    again = np.zeros(len(rows), np.bool_)
    again[1:] = np.logical_and.reduce([key[1:] == key[:-1] for key in keys])
    reading.drop("repeats (user, video, time_ms)", [], int(again.sum()))
    return rows.take(~again)


def _first_tags(found: CsvColumns) -> I8:
    """The first number of each tag list such as "12,65"."""
    column = found.table["tag"].combine_chunks()
    first = pc.utf8_trim_whitespace(pc.list_element(pc.split_pattern(pc.fill_null(column, "-1"), ","), 0))
    first = pc.if_else(pc.equal(first, ""), "-1", first)
    whole = pc.match_substring_regex(first, r"^-?\d{1,9}$").to_numpy(zero_copy_only=False)
    if not whole.all():
        row = int(np.argmin(whole))
        raise TraceError(
            f"{found.path}, line {found.line(row)}: tag is {column[row].as_py()!r}, expected numbers such as "
            '"12,65". Use the published file.'
        )
    return numbers(pa.chunked_array([first.cast(pa.int64())]), NO_TAG)
