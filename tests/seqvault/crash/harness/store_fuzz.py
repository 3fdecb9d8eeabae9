"""Whole stores with files that pass their checksums and hold nonsense: opened, read, and never a crash.

What such files say may come back as data; nothing else may happen than an answer or a StoreError, in bounded
memory and time.
"""

import json
import shutil
import struct
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from block_fuzz import EXTREMES, seal_block, seal_record
from specimen import CODECS, EVERYONE, Specimen, make_specimen
from streams import ALL
from vaults import MEMORY

from seqvault import StoreError
from seqvault.vault.disk.identity import SegmentFile
from seqvault.vault.disk.segment import Segment, segment_footer
from seqvault.vault.format.entries import ENTRY, block_sizes, is_shared
from seqvault.vault.format.hash64 import hash64
from seqvault.vault.log.record import PlainRecords, salt_of
from seqvault.vault.log.wal import HEAD_BYTES

WORDS = (0, 1, 7, 8, 31, 32, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 62, 1 << 63)
LARGEST = (1 << 64) - 1


def fuzz_store(seed: int, count: int, note: str) -> dict[str, int]:
    """Change a file of a specimen so many times, each change undone; counts of the outcomes.

    Args:
        note: a file that says what is being tried, for whoever finds this process dead.
    """
    rng = np.random.default_rng(seed)
    root = Path(tempfile.mkdtemp(prefix="fuzz-", dir=MEMORY))
    counts: Counter[str] = Counter()
    try:
        specimen = make_specimen(root / "vault", CODECS[seed % len(CODECS)], seed=seed)
        changes = [change for change in CHANGES if list(specimen.folder.glob(CHANGES[change]))]
        for turn in range(count):
            change = changes[turn % len(changes)]
            files = sorted(specimen.folder.glob(CHANGES[change]))
            path = files[int(rng.integers(len(files)))]
            manifest = specimen.folder / "MANIFEST"
            whole, named = path.read_bytes(), manifest.read_bytes()
            Path(note).write_text(f"seed {seed}, turn {turn}: {change} of {path.name}")
            path.write_bytes(_CHANGERS[change](path, whole, rng))
            counts[f"{change} {_outcome(specimen, root / 'copy', write=turn % 25 == 0)}"] += 1
            manifest.write_bytes(named)
            path.write_bytes(whole)
    finally:
        shutil.rmtree(root)
    return dict(counts)


def _outcome(specimen: Specimen, copy: Path, *, write: bool) -> str:
    """Open and read everything in every way; "refused", "reported" or "read"."""
    folder = shutil.copytree(specimen.folder, copy) if write else specimen.folder
    failed = 0
    try:
        with specimen.open(folder, read_only=not write) as store:
            for name, users in EVERYONE.items():
                for user in users.tolist():
                    try:
                        store.read_last([user], ALL, sequence=name)
                        store.read_last([user], 3, sequence=name, columns=["item_id"], distinct="item_id")
                        store.read_range([user], 0, 1 << 62, sequence=name)
                    except StoreError:
                        failed += 1
            if write:
                _write_on(store)
    except StoreError:
        return "refused"
    finally:
        if write:
            shutil.rmtree(folder)
    return "reported" if failed else "read"


def _write_on(store: Any) -> None:
    for step in (store.seal, lambda: store.compact(full=True), store.flush):
        try:
            step()
        except StoreError:
            return


def _bytes_anywhere(path: Path, whole: bytes, rng: np.random.Generator) -> bytes:
    """Splices and changed bytes, checksums left as they are."""
    data = bytearray(whole)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(len(data)))
        if rng.random() < 0.2:
            other = int(rng.integers(len(data)))
            data[at : at + 16] = data[other : other + 16]
        else:
            data[at] = int(rng.integers(256))
    return bytes(data)


def _block(path: Path, whole: bytes, rng: np.random.Generator) -> bytes:
    """A block whose columns or header are changed, signed again; sometimes its footer entry agrees."""
    data = np.frombuffer(whole, "u1").copy()
    entries = _entries(path)
    held = np.flatnonzero(entries["rows"] > 0)
    if not len(held):
        return _bytes_anywhere(path, whole, rng)
    entry = entries[held[int(rng.integers(len(held)))]]
    offset, size = int(entry["offset"]), int(block_sizes(entry))
    block = data[offset : offset + size]
    words = block.view("<u2")
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(8, len(words) if rng.random() < 0.5 else min(len(words), 60)))
        words[at] = rng.choice(EXTREMES) if rng.random() < 0.6 else rng.integers(1 << 16)
    seal_block(block)
    if rng.random() < 0.5 and not is_shared(entry):
        head = struct.unpack_from("<QQqqI", block, 16)
        for name, value in zip(("user", "start", "first_s", "last_s", "rows"), head, strict=True):
            entry[name] = value
        return _with_footer(path, data.tobytes(), entries)
    return data.tobytes()


def _footer(path: Path, whole: bytes, rng: np.random.Generator) -> bytes:
    """Entries changed, and signed again; or the words that they are packed into."""
    if rng.random() < 0.3:
        return _packed(whole, rng)
    entries = _entries(path)
    for _ in range(int(rng.integers(1, 4))):
        i = int(rng.integers(len(entries)))
        name = str(rng.choice(ENTRY.names))
        value = _word(rng, int(entries[name][i]) & LARGEST)
        entries[name][i] = np.array([value], "u8").astype(ENTRY[name])[0]
    if rng.random() < 0.2:
        entries = entries[rng.permutation(len(entries))]
    return _with_footer(path, whole, entries)


def _packed(whole: bytes, rng: np.random.Generator) -> bytes:
    """A packed footer's first block with words changed, signed again."""
    data = np.frombuffer(whole, "u1").copy()
    (place,) = struct.unpack_from("<Q", whole, len(whole) - 32)
    (size,) = struct.unpack_from("<I", whole, place + 4)
    block = data[place : place + size]
    for _ in range(int(rng.integers(1, 4))):
        block.view("<u2")[int(rng.integers(8, size // 2))] = rng.choice(EXTREMES)
    seal_block(block)
    return data.tobytes()


def _record(path: Path, whole: bytes, rng: np.random.Generator) -> bytes:
    """A log record changed, and signed again."""
    data = np.frombuffer(whole, "u1").copy()
    salt = salt_of(*_number_and_id(whole))
    found = PlainRecords().scan(data, HEAD_BYTES, len(data), salt)
    if not len(found):
        return _bytes_anywhere(path, whole, rng)
    chosen = found[int(rng.integers(len(found)))]
    place, size = int(chosen["place"]), int(chosen["size"])
    record = data[place : place + size]
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.5:
            at = 8 * int(rng.integers(2, 7))
            record[at : at + 8].view("<u8")[0] = _word(rng, int(record[at : at + 8].view("<u8")[0]))
        else:
            record[int(rng.integers(40, size))] = rng.integers(256)
    seal_record(record, salt)
    return data.tobytes()


def _manifest(path: Path, whole: bytes, rng: np.random.Generator) -> bytes:
    """JSON with a value changed, removed or of another type, or changed text, signed again."""
    fields = json.loads(whole.partition(b"\n")[0])
    places = list(_places(fields))
    holder, key = places[int(rng.integers(len(places)))]
    chance = rng.random()
    if chance < 0.2:
        del holder[key]
    elif chance < 0.9:
        values = (0, -1, 1, 1 << 31, 1 << 63, 1 << 70, 1.5, None, True, "", "../x", "a" * 300, [], {}, [[1]])
        holder[key] = values[int(rng.integers(len(values)))]
    body = json.dumps(fields).encode()
    if chance >= 0.9:
        body = _bytes_anywhere(path, body, rng).replace(b"\n", b" ")
    return _signed(body)


def _signed(body: bytes) -> bytes:
    return body + b"\n%016x\n" % hash64(body)


def _places(fields: Any) -> Any:
    """Every (container, key) in the JSON."""
    items = fields.items() if isinstance(fields, dict) else enumerate(fields)
    for key, value in list(items):
        yield fields, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _word(rng: np.random.Generator, value: int) -> int:
    """Another value for a field of up to eight bytes."""
    chance = rng.random()
    if chance < 0.4:
        return int(rng.choice(np.array(WORDS, "u8")))
    if chance < 0.7:
        return (value + int(rng.integers(-9, 10))) & LARGEST
    if chance < 0.85:
        return value ^ (1 << int(rng.integers(64)))
    return int(rng.integers(0, LARGEST, dtype="u8"))


def _entries(path: Path) -> np.ndarray:
    segment = Segment(path, SegmentFile(*_number_and_id(path.read_bytes())))
    try:
        return segment.entries()
    finally:
        segment.close()


def _number_and_id(whole: bytes) -> tuple[int, int]:
    """Of a segment or log, from its head."""
    number, file_id = struct.unpack_from("<QQ", whole, 8)
    return number, file_id


def _with_footer(path: Path, whole: bytes, entries: np.ndarray) -> bytes:
    """The segment with another footer, in place of its own, and the manifest made to name it."""
    (place,) = struct.unpack_from("<Q", whole, len(whole) - 32)
    footer, checksum = segment_footer(place, entries)
    changed = whole[:place] + footer
    manifest = path.with_name("MANIFEST")
    fields = json.loads(manifest.read_bytes().partition(b"\n")[0])
    for sequence in fields["sequences"]:
        for file in sequence["segments"]:
            if file["number"] == _number_and_id(whole)[0]:
                file["size"], file["footer"] = len(changed), f"{checksum:016x}"
    manifest.write_bytes(_signed(json.dumps(fields).encode()))
    return changed


CHANGES = {
    "block": "*.seg",
    "footer": "*.seg",
    "record": "*.log",
    "manifest": "MANIFEST",
    "any byte": "[!L]*",
}
_CHANGERS = {
    "block": _block,
    "footer": _footer,
    "record": _record,
    "manifest": _manifest,
    "any byte": _bytes_anywhere,
}
