"""Opening RocksDB the way an expert would for this load, and saying its errors in the store's words.

Tuning: ZSTD level 3 in 16 KB blocks, bloom filters over whole keys and over the 8-byte user prefix (a scan
never leaves its user), index and filters pinned in memory, one LRU cache for decompressed blocks. RocksDB
verifies its own block checksums on every read that misses the cache."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DataBlockIndexType,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    SliceTransform,
)

from seqvault.errors import (
    DamagedDataError,
    SchemaError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreReadOnlyError,
)
from seqvault.kinds import check_kind
from seqvault.schema import HistorySchema

__all__ = ["Database", "describe", "described", "open_database", "rocksdb_errors"]

FORMAT = 1
_LAST_USER = (1 << 64) - 1
# The process in which RocksDB's threads were started, at the first database that was opened.
_process: int | None = None


@dataclass(frozen=True)
class Database:
    """An open RocksDB and its options; the options are the handle to its statistics."""

    rocks: Rdict
    options: Options
    path: Path

    def multi_get(self, keys: list[bytes]) -> list[bytes | None]:
        """The value of each key, None where there is none; one native MultiGet."""
        return cast(list[bytes | None], self.rocks.get(cast(list[Any], keys)))

    def keys(self, start: bytes | None = None, options: ReadOptions | None = None) -> Iterator[bytes]:
        """Keys in order, from `start` on."""
        return cast(Iterator[bytes], self.rocks.keys(from_key=start, read_opt=options))

    def items(
        self, start: bytes | None = None, options: ReadOptions | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) in key order, from `start` on."""
        return cast(Iterator[tuple[bytes, bytes]], self.rocks.items(from_key=start, read_opt=options))

    def users(self) -> Iterator[int]:
        """User ids, ascending: the first eight bytes of keys, big endian. One seek each."""
        options = ReadOptions()
        # Else a seek looks at the bloom filter of the prefix it is given, where no user need be.
        options.set_total_order_seek(True)
        cursor = self.rocks.iter(options)
        cursor.seek_to_first()
        while cursor.valid():
            user = int.from_bytes(cast(bytes, cursor.key())[:8], "big")
            yield user
            if user == _LAST_USER:
                break
            cursor.seek((user + 1).to_bytes(8, "big"))
        # A cursor that meets damage is at an end, too.
        cursor.status()


def open_database(
    path: Path, *, block_cache_bytes: int, secondary: Path | None, point_lookups: bool
) -> Database:
    """Open, or make, the database in `path`.

    Args:
        block_cache_bytes: memory for decompressed blocks.
        secondary: for a reader, a folder of its own; None opens for writing.
        point_lookups: reads are Gets; adds the hash index inside data blocks.

    Raises:
        StoreLockedError: someone else has it open for writing.
        DamagedDataError: RocksDB found it corrupt.
        StoreError: RocksDB cannot write in this process, a child of one that used it.
    """
    global _process
    _process = _process or os.getpid()
    if secondary is None and _process != os.getpid():
        raise StoreError(
            f"{path}: RocksDB's threads did not survive the fork from process {_process}, and a flush would "
            "wait for them for ever. Open it with read_only=True, or start this process with "
            'multiprocessing\'s "spawn"'
        )
    table = BlockBasedOptions()
    table.set_block_size(16 * 1024)
    table.set_block_cache(Cache(block_cache_bytes))
    table.set_bloom_filter(10, False)
    table.set_format_version(5)
    if point_lookups:
        table.set_data_block_index_type(DataBlockIndexType.binary_and_hash())
        table.set_data_block_hash_ratio(0.75)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_prefix_extractor(SliceTransform.create_fixed_prefix(8))
    options.set_memtable_prefix_bloom_ratio(0.1)
    # On every level: a table that a compaction only moves down keeps what it was written with.
    options.set_compression_type(DBCompressionType.zstd())
    options.set_compression_options(-14, 3, 0, 0)
    options.set_level_compaction_dynamic_level_bytes(True)
    options.set_write_buffer_size(64 << 20)
    options.set_max_open_files(-1)
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    options.set_keep_log_file_num(2)
    options.set_stats_dump_period_sec(0)
    # The statistics are the yardstick the binding's share is measured against (charge.py).
    options.enable_statistics()
    access = AccessType.read_write() if secondary is None else AccessType.secondary(str(secondary))
    with rocksdb_errors(path):
        # Named: otherwise reopening takes the column family as the database describes it, without our cache.
        rocks = Rdict(str(path), options, column_families={"default": options}, access_type=access)
        return Database(rocks, options, path)


def describe(path: Path, schema: HistorySchema, layout: str, *, read_only: bool) -> None:
    """Write what the store holds beside the database, or check that it is what the caller expects.

    Raises SchemaError for another schema, StoreError for another layout or format.
    """
    file = path / "store.json"
    mine = {"store": "lastn", "format": FORMAT, "layout": layout, "schema": schema.to_dict()}
    if not file.exists():
        check_kind(path, "lastn")
        if read_only:
            raise StoreError(f"{path}: no LastN store to read; open it with read_only=False to make one")
        path.mkdir(parents=True, exist_ok=True)
        draft = path / "store.json.new"
        with draft.open("w", encoding="utf-8") as out:
            json.dump(mine, out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        draft.rename(file)
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return
    found = _description(file)
    same_layout = (found["store"], found["format"], found["layout"]) == ("lastn", FORMAT, layout)
    if not same_layout:
        raise StoreError(
            f"{path} holds {found['store']}, format {found['format']}, layout {found['layout']!r}: expected "
            f"lastn, format {FORMAT}, layout {layout!r}; open it with its own layout, or load another folder"
        )
    # Not the descriptions: those of an earlier version lack what columns have learnt to say since.
    if HistorySchema.from_dict(found["schema"]) != schema:
        raise SchemaError(f"{path} was made with schema {found['schema']}: expected {mine['schema']}")


def described(path: Path) -> tuple[HistorySchema, str]:
    """(schema, layout) of the store in a folder. Raises StoreError where there is none, DamagedDataError."""
    file = path / "store.json"
    if not file.exists():
        raise StoreError(f"{path}: no LastN store here (no store.json); check the path")
    found = _description(file)
    return HistorySchema.from_dict(found["schema"]), found["layout"]


def _description(file: Path) -> dict[str, Any]:
    """What `describe` wrote. Raises DamagedDataError."""
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        found["store"], found["format"], found["layout"], HistorySchema.from_dict(found["schema"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedDataError(
            f"{file} is not a store description ({error}): restore it from backup"
        ) from error
    return found


@contextmanager
def rocksdb_errors(path: Path) -> Iterator[None]:
    """Turn the binding's bare Exceptions into StoreErrors."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        text = str(error)
        # The binding raises Exception itself: anything else is a mistake of ours and must not be renamed.
        if type(error) is not Exception:
            raise
        if "No space left" in text:
            raise StoreFullError(f"{path}: {text}; free space and write again") from error
        if "/LOCK" in text:
            raise StoreLockedError(
                f"{path} is open for writing elsewhere ({text}): close it there"
            ) from error
        if "read only mode" in text:
            raise StoreReadOnlyError(f"{path} is open read-only: open it with read_only=False") from error
        if "Corruption" in text:
            raise DamagedDataError(f"{path}: {text}; restore it from backup") from error
        raise StoreError(
            f"{path}: RocksDB says {text!r}; check the device, then open the store again"
        ) from error
