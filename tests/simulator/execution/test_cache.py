"""What runs keep for each other: found again by name alone, joined, bounded, and never a reason to fail."""

import errno
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from simulator.arms.kept import received, sent
from simulator.errors import SimulatorError
from simulator.execution import cache as module
from simulator.execution.cache import (
    Cache,
    CacheError,
    open_cache,
    read_scores,
    rows_of,
    scored,
    write_scores,
)
from simulator.results import files

NAN = np.float32(np.nan)


def scores(*rows: int, total: int = 40, wide: int = 4) -> np.ndarray:
    """Logits of some rows, NaN elsewhere."""
    made = np.full((total, wide), NAN, np.float32)
    chosen = np.array(rows, np.int64)
    made[chosen] = chosen[:, None] + np.arange(wide) / 8
    return made


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 10**6)


def test_scores_come_back_memory_mapped_to_the_bit(cache: Cache) -> None:
    assert cache.scores("a", 40, 4) is None
    cache.keep_scores("a", scores(1, 2, 3), {"model": "din"})
    found = cache.scores("a", 40, 4)
    assert isinstance(found, np.memmap)
    assert found.tobytes() == scores(1, 2, 3).tobytes()
    (entry,) = cache.entries()
    assert (entry.kind, entry.name, entry.about["requests"]) == ("scores", "a", 3)


def test_what_two_runs_score_is_joined(cache: Cache) -> None:
    cache.keep_scores("a", scores(*range(20)), {})
    cache.keep_scores("a", scores(*range(15, 40)), {})
    found = cache.scores("a", 40, 4)
    assert found is not None
    assert found.tobytes() == scores(*range(40)).tobytes()


def _keep(folder: Path, first: int) -> None:
    for row in range(first, 40, 2):
        Cache(folder, 10**6).keep_scores("a", scores(row), {})


def test_two_processes_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_keep, args=(tmp_path, first)) for first in (0, 1)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    found = Cache(tmp_path, 10**6).scores("a", 40, 4)
    assert found is not None
    assert found.tobytes() == scores(*range(40)).tobytes()


def test_the_least_recently_used_goes_where_the_bound_is_reached(tmp_path: Path) -> None:
    size = 64 + 40 * 4 * 4
    cache = Cache(tmp_path, 2 * size)
    for age, name in ((300, "a"), (200, "b")):
        cache.keep_scores(name, scores(1), {})
        path = tmp_path / "scores" / name
        module.os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime - age))
    assert cache.scores("a", 40, 4) is not None  # used again: now "b" is the older
    cache.keep_scores("c", scores(1), {})
    assert {entry.name for entry in cache.entries()} == {"a", "c"}
    assert not (tmp_path / "scores" / "b.json").exists()


def test_what_exceeds_the_bound_by_itself_is_not_kept_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path, 100)
    cache.keep_scores("a", scores(1), {})
    assert cache.entries() == []
    assert "LASER_AB_CACHE_GB" in caplog.text


@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_a_damaged_file_is_let_go(cache: Cache, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    cache.keep_scores("a", scores(1), {})
    path = cache.folder / "scores" / "a"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes({"flip": bytes(content), "cut": content[:-1], "empty": b""}[harm])
    assert cache.scores("a", 40, 4) is None
    assert not path.exists()
    assert "let go" in caplog.text


def test_a_full_disk_costs_a_note_and_leaves_the_old_file(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache.keep_scores("a", scores(1), {})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    cache.keep_scores("a", scores(2), {})
    monkeypatch.undo()
    assert "full disk" in caplog.text
    found = cache.scores("a", 40, 4)
    assert found is not None
    assert found.tobytes() == scores(1).tobytes()
    assert [path.name for path in (cache.folder / "scores").glob(".*")] == []


def test_scores_outlive_a_cache_that_is_cleared_meanwhile(cache: Cache, tmp_path: Path) -> None:
    cache.keep_scores("a", scores(5), {})
    found = cache.scores("a", 40, 4)
    assert found is not None
    nothing = np.broadcast_to(NAN, (40, 4))
    on_the_way = pickle.dumps(sent([found, nothing], tmp_path))
    assert cache.clear() > 0
    assert cache.scores("a", 40, 4) is None
    home = received(pickle.loads(on_the_way))
    assert home[0].tobytes() == found.tobytes() == scores(5).tobytes()
    assert np.isnan(home[1]).all()
    assert len(on_the_way) < 1000


def test_the_environment_says_where_and_how_much(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LASER_AB_CACHE", str(tmp_path))
    monkeypatch.setenv("LASER_AB_CACHE_GB", "1.5")
    assert open_cache() == Cache(tmp_path, 1_500_000_000)
    monkeypatch.setenv("LASER_AB_CACHE_GB", "0")
    assert open_cache() is None
    monkeypatch.setenv("LASER_AB_CACHE_GB", "much")
    with pytest.raises(CacheError, match="LASER_AB_CACHE_GB is 'much'"):
        open_cache()


def _mapped_mb() -> float:
    """Of this process's memory, what is pages of mapped files."""
    status = Path("/proc/self/status").read_text().split("RssFile:")[1]
    return int(status.split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="nobody counts mapped pages here")
def test_mapped_scores_are_read_whole_and_never_held_whole(tmp_path: Path) -> None:
    logits = np.arange(200_000 * 32, dtype=np.float32).reshape(200_000, 32)  # 25 MB
    logits[::3] = np.nan
    write_scores(tmp_path / "scores", logits)
    kept, before_mb = read_scores(tmp_path / "scores", *logits.shape), _mapped_mb()
    assert np.array_equal(scored(kept), ~np.isnan(logits[:, 0]))
    for first in range(0, len(logits), 10_000):
        rows = first + np.random.default_rng(first).permutation(10_000)
        assert np.array_equal(rows_of(kept, rows), logits[rows], equal_nan=True)
    assert _mapped_mb() - before_mb < 5
    assert np.array_equal(rows_of(logits, rows), logits[rows], equal_nan=True)


def test_a_user_without_a_home_keeps_among_the_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LASER_AB_CACHE", "LASER_AB_CACHE_GB", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = open_cache()
    assert found is not None
    assert found.folder.parent == tmp_path / f"laser-ab-{os.getuid()}"
    assert found.folder.parent.stat().st_mode & 0o077 == 0
    found.folder.parent.rmdir()
    found.folder.parent.symlink_to(tmp_path)
    with pytest.raises(SimulatorError, match="another user's"):
        open_cache()
