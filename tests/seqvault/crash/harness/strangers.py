"""Files under the right name that are another store's, or this store's from before or after a restore."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from specimen import CODECS, EVERYONE, Specimen, answers, make_specimen, unequal
from streams import Stream
from vaults import MEMORY

from seqvault import DamagedDataError
from seqvault.vault.care.check import check_store

# Enough for several segments and a compaction.
OPERATIONS = 70


def swap_files(seed: int) -> dict[str, Any]:
    """Put each file of another store, and of another line of this one, in the place of its namesake, in turn.

    Returns:
        "tried": files that were not the same bytes; "wrong": what was believed, in words.
    """
    root = Path(tempfile.mkdtemp(prefix="swapped-", dir=MEMORY))
    wrong: list[str] = []
    tried = 0
    codec, killed = CODECS[seed % 2], seed % 4 > 1
    try:
        specimen, other = (
            make_specimen(root / name, codec, killed=killed, operations=OPERATIONS, seed=seed * 2 + i)
            for i, name in enumerate(("own", "other"))
        )
        line = shutil.copytree(specimen.folder, root / "line")
        _go_on(specimen, line, 70)
        expected = _go_on(specimen, specimen.folder, 60)
        for strangers in (other.folder, line):
            for path in sorted(specimen.folder.iterdir()):
                stranger = strangers / path.name
                if not stranger.exists() or stranger.read_bytes() == path.read_bytes():
                    continue
                tried += 1
                own = path.read_bytes()
                shutil.copy(stranger, path)
                wrong += _believed(specimen, path, f"seed {seed}, {path.name} of {strangers.name}")
                path.write_bytes(own)
        with specimen.open() as store:
            words = unequal(answers(store), expected)
            wrong += [f"seed {seed}: {words} once its own files are back"] if words else []
    finally:
        shutil.rmtree(root)
    return {"tried": tried, "wrong": wrong}


def _go_on(specimen: Specimen, folder: Path, first: int) -> Any:
    """Write more into a store or a copy of it, with a seal; its answers."""
    stream = Stream(1)
    assert set(stream.users) <= set(EVERYONE[stream.sequence])
    with specimen.open(folder) as store:
        for number in range(first, first + 6):
            stream.operation(number).run(store)
        store.seal()
        stream.operation(first + 6).run(store)
        return answers(store)


def _believed(specimen: Specimen, path: Path, what: str) -> list[str]:
    """Openings, and a check, that do not notice."""
    wrong = []
    for read_only in (True, False):
        try:
            specimen.open(read_only=read_only).close()
            wrong.append(f"{what}: wrongly believed, read_only={read_only}")
        except DamagedDataError:
            continue
    if check_store(path.parent).sound:
        wrong.append(f"{what}: wrongly found sound")
    return wrong
