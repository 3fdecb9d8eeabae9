"""A log folder's tables: written in one step, read with every file checked. See docs/logs.md.

behaviours.parquet, requests.parquet    in the data contracts
impressions.parquet                     the log itself, one row an exposure
catalogue.parquet                       the ads, with the log's own ids
response.parquet                        the fitted response, one row a coefficient
users.parquet, items.parquet, ...       the log's own ids, where they are text and became numbers
manifest.json                           last: without it the folder is not finished
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from simulator.logs import manifest as files_of
from simulator.logs.manifest import check_files, file_entry, read_manifest
from simulator.logs.real_log import Impressions, LogAds, LogRows, RealLog
from simulator.results.files import json_text
from simulator.scratch import slices_of
from simulator.traffic.behaviours import Behaviours
from simulator.traffic.files import (
    ROW_GROUP,
    read_behaviours,
    read_requests,
    read_table,
    replacing,
    write_behaviours,
    write_groups,
    write_requests,
)
from simulator.traffic.trace import Requests, TraceError
from simulator.world.fitted import FEATURES, POSITION, TABLES, FittedLogit, FittedResponse


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


IMPRESSIONS_SCHEMA = _schema(
    request_id=pa.uint64(),
    user_id=pa.uint64(),
    time_s=pa.float64(),
    ad_id=pa.uint32(),
    scene=pa.uint8(),
    click=pa.uint8(),
    conversion=pa.uint8(),
    action=pa.uint8(),
    dwell_s=pa.uint16(),
    hour=pa.float32(),
    propensity_logit=pa.float32(),
)
#: Columns of impressions.parquet that only some logs record.
OPTIONAL_SCHEMA = _schema(
    position=pa.uint8(), logging_propensity=pa.float64(), bid=pa.float64(), price=pa.float64()
)
NAMES_SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("name", pa.string())])
CATALOGUE_SCHEMA = _schema(
    ad_id=pa.uint32(), item_id=pa.uint64(), author=pa.int64(), category=pa.uint16(), advertiser=pa.uint16()
)
#: part is "bias", "feature" or a table of effects; id counts within it; effect is a logit.
RESPONSE_SCHEMA = _schema(outcome=pa.string(), part=pa.string(), id=pa.uint32(), effect=pa.float64())
_OUTCOMES = ("click", "convert")


def write_log(
    out: Path,
    log: LogRows,
    requests: Iterable[Requests],
    response: FittedResponse,
    manifest: Callable[[], Mapping[str, Any]],
    names: Mapping[str, tuple[Any, Any]] | None = None,
) -> dict[str, Any]:
    """Write a log folder; it appears whole, or not at all. Tables are written a row group at a time.

    Args:
        out: where; nothing may be there.
        log, requests, response: what it holds, the requests part by part.
        manifest: what is said of it, asked for when the tables are written; sizes and checksums of the files
            are added.
        names: (ids, names) of what the log calls otherwise, by the file's stem, such as "users".

    Returns:
        What the manifest says, without the entries of its files.

    Raises:
        TraceError: something is there already; or what a part of the requests raises.
        OSError: the disk is full or the place not writable.
    """
    out = out.absolute()
    check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        beside.mkdir()
        write_behaviours(beside / files_of.BEHAVIOURS, log.behaviours)
        write_requests(beside / files_of.REQUESTS, requests)
        recorded = [f for f in OPTIONAL_SCHEMA if getattr(log.impressions, f.name) is not None]
        columns = [getattr(log.impressions, f.name) for f in recorded]
        schema = pa.schema([*IMPRESSIONS_SCHEMA, *recorded])
        _write(beside / files_of.IMPRESSIONS, schema, [*_impression_columns(log.impressions), *columns])
        for stem, (ids, called) in (names or {}).items():
            _write(beside / f"{stem}.parquet", NAMES_SCHEMA, [ids, called])
        _write(beside / files_of.CATALOGUE, CATALOGUE_SCHEMA, _ad_columns(log.ads))
        _write(beside / files_of.RESPONSE, RESPONSE_SCHEMA, _response_columns(response))
        files = {path.name: file_entry(path) for path in sorted(beside.glob("*.parquet"))}
        said = dict(manifest())
        whole = {"schema_version": files_of.SCHEMA_VERSION, "kind": "log", **said, "files": files}
        (beside / files_of.MANIFEST).write_text(json_text(whole), encoding="utf-8")
        for path in beside.iterdir():
            _sync(path)
        try:
            beside.rename(out)
        except OSError:
            check_free(out)  # another import may have been faster
            raise
        _sync(out.parent)
        return said
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def check_free(out: Path) -> None:
    """Refuse a place that is taken.

    Raises:
        TraceError: something is there.
    """
    if out.exists():
        raise TraceError(f"{out}: found something there, expected nothing. Choose another --out.")


def read_log(folder: Path) -> tuple[RealLog, FittedResponse]:
    """Read a log folder: the log and its fitted response.

    Raises:
        TraceError: no finished log folder, or a file is missing, changed or damaged.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    recorded = [f for f in OPTIONAL_SCHEMA if f.name in manifest.get("recorded", ())]
    schema = pa.schema([*IMPRESSIONS_SCHEMA, *recorded])
    shown = read_table(folder / files_of.IMPRESSIONS, schema)
    columns = {name: shown[name].to_numpy() for name in schema.names}
    ads = read_table(folder / files_of.CATALOGUE, CATALOGUE_SCHEMA)
    log = RealLog(
        epoch_ms=manifest["epoch_ms"],
        days=manifest["days"],
        impressions=Impressions(
            columns["request_id"],
            columns["user_id"],
            columns["time_s"],
            columns["ad_id"].astype(np.int32),
            *(columns[name] for name in IMPRESSIONS_SCHEMA.names[4:]),
            **{field.name: columns[field.name] for field in recorded},
        ),
        ads=LogAds(
            ads["item_id"].to_numpy(),
            ads["author"].to_numpy(),
            ads["category"].to_numpy(),
            ads["advertiser"].to_numpy(),
            int(manifest["sizes"]["advertisers"]),
            tuple(manifest.get("departments", ())),
        ),
        behaviours=_of_users(read_behaviours(folder / files_of.BEHAVIOURS), columns["user_id"]),
        requests=read_requests(folder / files_of.REQUESTS),
    )
    return log, _read_response(folder / files_of.RESPONSE)


def _of_users(behaviours: Behaviours, user_id: Any) -> Behaviours:
    """With an empty history for each user who was shown ads and has none."""
    users = np.union1d(behaviours.users, user_id)
    if len(users) == len(behaviours.users):
        return behaviours
    lengths = np.zeros(len(users), np.int64)
    lengths[np.searchsorted(users, behaviours.users)] = np.diff(behaviours.offsets)
    return replace(behaviours, users=users, offsets=np.concatenate([[0], np.cumsum(lengths)]))


def _write(path: Path, schema: pa.Schema, columns: list[Any]) -> None:
    files = [column for column in columns if isinstance(column, np.ndarray)]
    groups = slices_of(len(columns[0]), ROW_GROUP, *files)
    typed = list(zip(columns, schema.types, strict=True))
    tables = (
        pa.Table.from_arrays([pa.array(c[part], kind) for c, kind in typed], schema=schema) for part in groups
    )
    with replacing(path, schema) as writer:
        write_groups(writer, tables)


def _impression_columns(shown: Impressions) -> list[Any]:
    rest = (shown.scene, shown.click, shown.conversion, shown.action, shown.dwell_s)
    ad = shown.ad.view(np.uint32)
    return [shown.request_id, shown.user_id, shown.time_s, ad, *rest, shown.hour, shown.propensity]


def _ad_columns(ads: LogAds) -> list[Any]:
    ad = np.arange(len(ads.item_id), dtype=np.uint32)
    return [ad, ads.item_id, ads.author, ads.category, ads.advertiser]


def _response_columns(response: FittedResponse) -> list[Any]:
    outcome: list[str] = []
    part: list[str] = []
    ids, effects = [], []
    for name in _OUTCOMES:
        fitted: FittedLogit = getattr(response, name)
        parts = {"bias": np.array([fitted.bias]), "feature": fitted.weights, **fitted.tables}
        for what, values in parts.items():
            outcome += [name] * len(values)
            part += [what] * len(values)
            ids.append(np.arange(len(values), dtype=np.uint32))
            effects.append(values)
    return [outcome, part, np.concatenate(ids), np.concatenate(effects)]


def _read_response(path: Path) -> FittedResponse:
    table = read_table(path, RESPONSE_SCHEMA)
    outcome, part = table["outcome"].to_numpy(), table["part"].to_numpy()
    effect = table["effect"].to_numpy()

    def values(name: str, what: str, size: int | None = None) -> Any:
        found = effect[(outcome == name) & (part == what)]
        if len(found) == 0 or (size is not None and len(found) != size):
            raise TraceError(
                f"{path}: {len(found)} coefficients of {what} for {name}, expected {size or 'some'}. "
                "Import the log anew."
            )
        return found

    click, convert = (
        FittedLogit(
            float(values(name, "bias", 1)[0]),
            values(name, "feature", len(FEATURES)),
            {table: values(name, table) for table in (*TABLES, POSITION) if table in set(part)},
        )
        for name in _OUTCOMES
    )
    return FittedResponse(click, convert)


def _sync(path: Path) -> None:
    if os.name != "posix":
        return  # folders cannot be synced elsewhere
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
