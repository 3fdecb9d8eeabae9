"""Compiled kernels are kept in the first folder that has them or can be written, and loaded from there."""

import logging
import os
from pathlib import Path

import pytest

from seqvault.vault.kernels import keep
from seqvault.vault.kernels.compiled import kernel


def double(x):  # type: ignore[no-untyped-def]
    """What the tests compile."""
    return x + x


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Where this process would keep kernels, all of it in an empty folder."""
    found = {name: tmp_path / name for name in ("own", "caches", "temporary")}
    monkeypatch.delenv("SEQVAULT_KERNELS", raising=False)
    monkeypatch.setattr(keep, "own_folder", lambda: found["own"] / "kernels")
    monkeypatch.setenv("XDG_CACHE_HOME", str(found["caches"]))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(found["temporary"]))
    return found


def kept() -> Path | None:
    return keep.kept_in.__wrapped__()


def unwritable(place: Path) -> None:
    """No folder can be made in it, whoever asks: it is a file."""
    place.touch()


def test_kernels_are_kept_in_the_users_cache(places: dict[str, Path]) -> None:
    assert kept() == places["caches"] / "seqvault" / keep._name()
    assert not places["own"].exists()


def test_folder_that_the_environment_names_is_the_only_one(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQVAULT_KERNELS", str(tmp_path / "given"))
    assert kept() == tmp_path / "given" / keep._name()
    unwritable(tmp_path / "file")
    monkeypatch.setenv("SEQVAULT_KERNELS", str(tmp_path / "file"))
    assert kept() is None


def test_kernels_of_the_installation_are_found_first(places: dict[str, Path]) -> None:
    assert kept() != places["own"] / "kernels"
    (places["own"] / "kernels").mkdir(parents=True)
    assert kept() == places["own"] / "kernels"


def test_without_a_home_kernels_are_kept_in_a_temporary_folder_of_the_users_own(
    places: dict[str, Path],
) -> None:
    unwritable(places["caches"])
    found = kept()
    assert found == places["temporary"] / f"seqvault-{os.getuid()}" / keep._name()
    assert found.stat().st_mode & 0o77 == 0


@pytest.mark.skipif(os.getuid() != 0, reason="gives a folder to another user")
def test_folder_of_another_user_is_never_loaded_from(places: dict[str, Path]) -> None:
    unwritable(places["caches"])
    planted = places["temporary"] / f"seqvault-{os.getuid()}" / keep._name()
    planted.mkdir(parents=True)
    os.chown(planted.parent, 12345, 12345)
    assert kept() is None


def test_a_kernel_is_compiled_once_and_then_loaded(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = kept()
    monkeypatch.setattr(keep, "kept_in", lambda: folder)
    keep.say_compiling.cache_clear()
    with caplog.at_level(logging.WARNING):
        first, second = kernel("i8(i8)")(double), kernel("i8(i8)")(double)
    assert (first(3), second(4)) == (6, 8)
    assert [sum(made.stats.cache_hits.values()) for made in (first, second)] == [0, 1]
    said = [record.message for record in caplog.records]
    assert len(said) == 1
    assert str(folder) in said[0]


def test_without_any_folder_kernels_are_compiled_and_it_is_said(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keep, "kept_in", lambda: None)
    keep.say_compiling.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert kernel("i8(i8)")(double)(5) == 10
    assert "kept nowhere" in caplog.text


def test_old_versions_are_forgotten_and_new_ones_are_not(places: dict[str, Path]) -> None:
    cache = places["caches"] / "seqvault"
    for age in range(12):
        old = cache / f"kernels-{age}"
        old.mkdir(parents=True)
        os.utime(old, (1000 - age, 1000 - age))
    assert kept() == cache / keep._name()
    left = {folder.name for folder in cache.iterdir()}
    assert left == {keep._name(), *(f"kernels-{age}" for age in range(7))}
