"""Would the tests notice? Each mutation breaks one promise of the store in a copy; a test must then fail.

    python tests/seqvault/mutate.py [NAME...]       all, or those whose name contains one of the words

A mutation replaces one piece of source by another and names the tests that guard it. What no test notices is
printed, and the exit status says so. The tests are run first on the copy as it is: they must pass there.
Tests that run past their time say nothing: that counts as not noticed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
TESTS = "tests/seqvault/"
POWER = (f"{TESTS}crash/test_power_loss.py",)
LIMIT_S = 600


class Mutation(NamedTuple):
    """One sabotage.

    Args:
        file: below seqvault/. old, new: text that stands there once, and what takes its place.
        tests: what pytest is given.
        plain: run without compiled code, whose plain twin is what was changed.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    plain: bool = False


MUTATIONS = (
    Mutation(
        "acknowledge before the sync",
        "vault/log/commit.py",
        "            self.wal.sync()\n",
        "",
        (f"{TESTS}vault/test_vault_recovery.py", *POWER),
    ),
    Mutation(
        "no folder sync behind the manifest's rename",
        "vault/disk/files.py",
        '    point(f"{points}.renamed")\n    sync_folder(path.parent)\n',
        '    point(f"{points}.renamed")\n',
        POWER,
    ),
    Mutation(
        "segment not synced",
        "vault/sealed/segment_writer.py",
        "        sync(self._fd, self._draft)\n",
        "",
        POWER,
    ),
    Mutation("manifest not synced", "vault/disk/files.py", "        sync(fd, draft)\n", "", POWER),
    Mutation(
        "old logs removed before the manifest",
        "vault/engine/writer.py",
        "        self.adopt(self._rotated(manifest, new_wal))\n",
        "        for log in old:\n"
        "            remove(self.state.folder / log_name(log.number), self.state.own)\n"
        "        self.adopt(self._rotated(manifest, new_wal))\n",
        (f"{TESTS}crash/test_kill_points.py", *POWER),
    ),
    Mutation(
        "checksum of the log skipped",
        "vault/log/record.py",
        "            if hash64(data[at + 16 : at + size], int(words[0]) ^ salt) != int(words[1]):\n",
        "            if False:\n",
        (f"{TESTS}vault/test_vault_recovery.py", f"{TESTS}crash/test_reopened_logs.py"),
        plain=True,
    ),
    Mutation(
        "tombstones not sealed",
        "vault/engine/writer.py",
        "            if table.deleted:\n",
        "            if False:\n",
        (f"{TESTS}vault/test_vault_engine.py", f"{TESTS}vault/test_vault_salvage.py"),
    ),
    Mutation(
        "batch ids not carried to a new log",
        "vault/engine/writer.py",
        "            ids = [*state.batches.ids(), *batches]\n",
        "            ids = [*batches]\n",
        (f"{TESTS}vault/test_vault_engine.py", f"{TESTS}test_store_contract.py"),
    ),
    Mutation(
        "readers never refresh",
        "vault/engine/follower.py",
        "        if time.monotonic() - self._refreshed_s > self._options.staleness_s:\n            with",
        "        if False:\n            with",
        (f"{TESTS}test_beside_a_writer.py",),
    ),
    Mutation(
        "a failed sync is passed over",
        "vault/disk/files.py",
        '            raise _unsure(f"{path}: sync failed ({error})") from error\n',
        "            return\n",
        (f"{TESTS}vault/test_vault_recovery.py",),
    ),
    Mutation(
        "a torn log is written to again",
        "vault/engine/recovery.py",
        "    if replayed.torn_bytes:\n",
        "    if False:\n",
        (f"{TESTS}crash/test_reopened_logs.py",),
    ),
    Mutation(
        "a log is not synced when it is reopened",
        "vault/log/wal.py",
        "            sync(fd, path)\n        except StoreError:\n            close(fd)\n            raise\n",
        "            pass\n        except StoreError:\n            close(fd)\n            raise\n",
        (f"{TESTS}crash/test_reopened_logs.py",),
    ),
    Mutation(
        "a forked child goes on with its parent's store",
        "vault/engine/opened.py",
        "        tell_of_forks(self)\n",
        "",
        (f"{TESTS}test_ownership.py",),
    ),
    Mutation(
        "a relative path stays relative",
        "vault/engine/opened.py",
        "        self.path = Path(path).absolute()\n",
        "        self.path = Path(path)\n",
        (f"{TESTS}test_ownership.py",),
    ),
    Mutation(
        "a folder that was replaced is believed",
        "vault/engine/recovery.py",
        "        if not leads_to(self._path, self._inode):\n",
        "        if False:\n",
        (f"{TESTS}test_ownership.py",),
    ),
    Mutation(
        "a file of another identity is believed",
        "vault/disk/identity.py",
        "    if found == file_head(magic, number, file_id):\n",
        "    if found[:16] == file_head(magic, number, file_id)[:16]:\n",
        (f"{TESTS}vault/test_vault_identity.py",),
    ),
    Mutation(
        "any floor of expiry is taken",
        "vault/engine/access.py",
        "        if before_s > table.reader.floor_s:\n",
        "        if False:\n",
        (f"{TESTS}test_floor.py",),
    ),
    Mutation(
        "a dropped store stays open",
        "vault/engine/opened.py",
        "close_dropped, self._access, self.path, self._owner)\n",
        "id, 0)\n",
        (f"{TESTS}vault/test_vault_dropped.py",),
    ),
    Mutation(
        "a shared block is taken for whoever's it is",
        "vault/reading/plain.py",
        "            first = find_user(users, block.user, block.rows)\n",
        "            first = 0\n",
        (f"{TESTS}vault/test_shared_blocks.py",),
        plain=True,
    ),
    Mutation(
        "the end of a history is shared as if it were all of it",
        "vault/engine/sealing.py",
        "merge.starts, kept == 0, sizes)\n",
        "merge.starts, kept >= 0, sizes)\n",
        (f"{TESTS}vault/test_shared_blocks.py", f"{TESTS}vault/test_vault_engine.py"),
    ),
)


def mutated(mutation: Mutation, root: Path) -> str:
    """The changed source. Raises ValueError where the text is not there once."""
    text = (root / "seqvault" / mutation.file).read_text()
    if text.count(mutation.old) != 1:
        raise ValueError(
            f"{mutation.name}: {mutation.file} holds its text {text.count(mutation.old)} times, expected "
            "once: change the mutation as the code has changed"
        )
    return text.replace(mutation.old, mutation.new)


def run(root: Path, tests: tuple[str, ...], *, plain: bool) -> tuple[int | None, str]:
    """pytest's status, None where it ran past its time, and the first test that failed."""
    environment = {**os.environ, "PYTHONPATH": str(root), "SEQVAULT_PLAIN": "1" if plain else ""}
    options = ("-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--hypothesis-profile", "unshrunk")
    command = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return None, f"the tests ran past {LIMIT_S} s: is the machine busy?"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, failed[0][:100] if failed else done.stdout[-300:]


def main(words: list[str]) -> int:
    """Run the chosen mutations; how many no test noticed."""
    chosen = [m for m in MUTATIONS if not words or any(word in m.name for word in words)]
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        root = Path(folder)
        for name in ("seqvault", "tests", "pyproject.toml", "conftest.py"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, root / name)
        for plain in sorted({mutation.plain for mutation in chosen}):
            guards = sorted({test for m in chosen if m.plain == plain for test in m.tests})
            status, what = run(root, tuple(guards), plain=plain)
            if status != 0:
                print(f"the tests do not pass as they are: {what}")
                return 1
        for mutation in chosen:
            began_s, file = time.monotonic(), root / "seqvault" / mutation.file
            kept = file.read_text()
            file.write_text(mutated(mutation, root))
            status, what = run(root, mutation.tests, plain=mutation.plain)
            file.write_text(kept)
            unnoticed += not status
            noticed = f"noticed by {what}" if status else f"NOT NOTICED: {what.strip()}"
            print(f"{mutation.name:<46} {time.monotonic() - began_s:5.0f} s  {noticed}", flush=True)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} noticed")
    return unnoticed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
