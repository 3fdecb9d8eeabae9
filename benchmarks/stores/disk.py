"""Bytes per behaviour on disk: SeqVault's tiers against RocksDB, fully compacted, with u4 and u8 item ids.

    python benchmarks/stores/disk.py [--quick] [--json] [--out FILE]

RocksDB: its tables (keys, values, indexes and filters). SeqVault: segments and manifest; the log is empty
after compaction. A: one key per behaviour; B: one blob per user; C: chunks of 256. "single": users of one
behaviour each. "packed in RocksDB" and "packed in LMDB": SeqVault's packed blocks as values of these engines.
The environment's LASER_AB_REAL_DATA names a folder of public logs to measure as well.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import Measured, bar, main
from benchmarks.stores.harness.generator import Histories, draw, statistics
from benchmarks.stores.harness.real import logs
from benchmarks.stores.harness.rocks import Rocks, missing, write_source
from benchmarks.stores.harness.vault import UnavailableError, load_vault, noting, open_vault

SEED = 7
RIVALS: dict[str, tuple[str, dict[str, object]]] = {
    "A": ("A", {}),
    "A, dictionary of 16 KB": ("A", {"dictionary_kb": 16}),
    "A, LZ4": ("A", {"compression": "lz4"}),
    "B": ("B", {}),
    "C": ("C", {}),
}
TIERS: dict[str, dict[str, object]] = {
    "packed": {"codec": "packed"},
    "zstd": {"codec": "zstd"},
}
BLOCK_ROWS = (256, 1024, 4096, 16_384)
# Data of short histories, and users of "single".
SHORT = ("single", "kuairand-pure")
SINGLE_USERS = 300_000


def data_bytes(folder: Path) -> int:
    """Bytes of all data files of a SeqVault folder."""
    sizes = {f: f.stat().st_size for f in folder.rglob("*") if f.is_file()}
    return sum(size for f, size in sizes.items() if f.suffix == ".seg" or f.name == "MANIFEST")


def rivals(rocks: Rocks | None, histories: Histories, folder: Path, data: str) -> list[dict[str, Any]]:
    """RocksDB's size in every layout."""
    if rocks is None:
        return [{"data": data, "engine": "A, B, C", "value": None, "reason": missing()}]
    item_bytes = histories.columns["item_id"].itemsize
    source = write_source(histories, folder / f"{data}-source")
    rows = []
    for name, (layout, tuning) in RIVALS.items():
        path = folder / f"{data}-{name.replace(' ', '-').replace(',', '')}"
        size = rocks.load(path, source, layout, item_bytes, **tuning)["bytes"]
        rows.append({"data": data, "engine": name, "bytes": int(size), "value": size / histories.rows})
    return rows


def elsewhere(histories: Histories, folder: Path, data: str) -> list[dict[str, Any]]:
    """Sizes of RocksDB and LMDB with the blocks of the packed store of this data."""
    from benchmarks.stores.harness.blocks import filled

    with open_vault(folder / f"{data}-packed", histories.schema, read_only=True) as store:
        sizes = filled(folder, store, histories)
    names = {"rocksdb": "packed in RocksDB", "lmdb": "packed in LMDB"}
    return [
        {"data": data, "engine": names[engine], "bytes": size, "value": size / histories.rows}
        for engine, size in sizes.items()
    ]


def vaults(histories: Histories, folder: Path, data: str, sweep: bool) -> list[dict[str, Any]]:
    """SeqVault's size in every tier, and of other block lengths."""
    tiers = dict(TIERS)
    if sweep:
        for rows in BLOCK_ROWS:
            tiers |= {f"{c}, blocks of {rows}": {"codec": c, "block_rows": rows} for c in ("packed", "zstd")}
    found: list[dict[str, Any]] = []
    for name, options in tiers.items():
        path = folder / f"{data}-{name.replace(' ', '-').replace(',', '')}"
        try:
            load_vault(path, histories, **options)
        except UnavailableError as error:
            found.append({"data": data, "engine": name, "value": None, "reason": str(error)})
            continue
        size = data_bytes(path)
        found.append({"data": data, "engine": name, "bytes": size, "value": size / histories.rows})
    return found


def singles(histories: Histories) -> Histories:
    """SINGLE_USERS users of one behaviour, drawn from all that these histories have."""
    rows = np.random.default_rng(SEED).choice(histories.rows, SINGLE_USERS, replace=False)
    columns = {name: values[rows] for name, values in histories.columns.items()}
    return Histories(np.arange(SINGLE_USERS, dtype="u8"), np.arange(SINGLE_USERS + 1), columns)


def times_least(rows: list[dict[str, Any]], data: str) -> float | None:
    """How many times what the smallest of RocksDB's layouts with ZSTD takes the packed tier takes."""
    of = {row["engine"]: row["value"] for row in rows if row["data"] == data and "engine" in row}
    least = [of[engine] for engine in "ABC" if of.get(engine) is not None]
    return of["packed"] / min(least) if least and of.get("packed") is not None else None


def times_less(rows: list[dict[str, Any]], data: str, tier: str) -> float | None:
    """How many times less a tier takes than A."""
    measured = [row for row in rows if row["data"] == data and "engine" in row]
    of = {row["engine"]: row["value"] for row in measured}
    return None if of.get("A") is None or of.get(tier) is None else of["A"] / of[tier]


def measure(quick: bool) -> Measured:
    """Sizes of the synthetic histories with both widths of ids, and of the public logs."""
    rows: list[dict[str, Any]] = []
    drawn = {f"u{size}": draw(150 if quick else 2000, SEED, item_bytes=size) for size in (4, 8)}
    sources: list[tuple[str, Histories | str]] = [*drawn.items(), ("single", singles(drawn["u4"]))]
    rocks = Rocks() if missing() is None else None
    try:
        with tempfile.TemporaryDirectory() as made:
            for name, histories in [*sources, *logs()]:
                if isinstance(histories, str):
                    rows.append({"data": name, "engine": "all", "value": None, "reason": histories})
                    continue
                if name != "single":
                    rows.append({"data": name, **statistics(histories)})
                rows += rivals(rocks, histories, Path(made), name)
                rows += vaults(histories, Path(made), name, sweep=name == "u4" and not quick)
                if name == "u4":
                    with noting(rows, data=name, engine="packed in RocksDB, LMDB"):
                        rows += elsewhere(histories, Path(made), name)
    finally:
        if rocks is not None:
            rocks.stop()
    return rows, [
        bar("disk_vs_A_packed", times_less(rows, "u4", "packed"), 1.6),
        bar("disk_vs_A_zstd", times_less(rows, "u4", "zstd"), 1.95, 2.1),
        *(
            bar(f"disk_{name}_vs_least".replace(" ", "_"), times_least(rows, name), 1.3, better="lower")
            for name in SHORT
        ),
    ]


if __name__ == "__main__":
    main("store_disk", __doc__, SEED, measure)
