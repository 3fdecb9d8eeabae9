"""Snapshots: a second folder that opens as the store did at one moment, sharing files that never change."""

from pathlib import Path

from seqvault.errors import DamagedDataError, StoreError
from seqvault.vault.disk import files
from seqvault.vault.disk.manifest import Manifest, log_name, read_manifest, write_manifest
from seqvault.vault.disk.points import point
from seqvault.vault.log.record import Records
from seqvault.vault.log.replay import read_log
from seqvault.vault.sealed.doubt import Doubt

__all__ = ["snapshot"]

_COPIED_AT_ONCE = 1 << 22


def snapshot(folder: Path, target: Path, records: Records, own: files.Own) -> None:
    """Make `target` a store like that in `folder`, whose writer may be at work.

    Segments are linked where the file system can, and copied where it cannot; logs are copied as far as they
    are valid. The manifest comes last: without it the target is no store.

    Args:
        own: whether `folder` is still the one that was opened.

    Raises:
        StoreError: the target is not empty.
        StoreFullError: no space; what was made is left.
        DamagedDataError: the store is damaged.
        StoreError: the folder is another one now; the target has no manifest.
    """
    files.make_folder(target)
    if any(target.iterdir()):
        raise StoreError(f"{target} is not empty: name a folder that is, or does not exist yet")
    doubt = Doubt(folder)
    while True:
        own()
        manifest = read_manifest(folder)
        if manifest is None:
            raise StoreError(f"{folder}: no SeqVault to read")
        try:
            _copy(folder, target, manifest, records)
        except DamagedDataError as error:
            doubt.weigh(manifest, error)
            for file in target.iterdir():
                files.remove(file, files.anybody)
            continue
        own()
        write_manifest(target, manifest, files.anybody)
        point("snapshot.named")
        return


def _copy(folder: Path, target: Path, manifest: Manifest, records: Records) -> None:
    logs: dict[str, int] = {}
    sequence = manifest.sequence
    for log in manifest.logs:
        name = log_name(log.number)
        read = read_log(folder / name, log, records, sequence)
        logs[name], sequence = read.end, read.sequence
    for name in sorted(manifest.files() - logs.keys()):
        try:
            files.link(folder / name, target / name)
        except StoreError:
            _copy_file(folder / name, target / name, None)
    point("snapshot.linked")
    for name, end in logs.items():
        _copy_file(folder / name, target / name, end)
    files.sync_folder(target)
    point("snapshot.copied")


def _copy_file(source: Path, copy: Path, size: int | None) -> None:
    try:
        fd = files.open_file(source)
    except FileNotFoundError as error:
        raise DamagedDataError(
            f"{source} is missing: the manifest names it; restore it from backup"
        ) from error
    try:
        new = files.make_file(copy)
        try:
            at, size = 0, files.size_of(fd) if size is None else size
            while at < size:
                data = files.read_at(fd, min(_COPIED_AT_ONCE, size - at), at, source)
                files.write_at(new, data, at, copy)
                at += len(data)
            files.sync(new, copy)
        finally:
            files.close(new)
    finally:
        files.close(fd)
