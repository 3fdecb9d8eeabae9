"""Compiled code that is kept on disk is that of the sources as they are."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.kept_code import jit_kept

CALLER = """
import numba
from simulator.kept_code import jit_kept
from callee_of_kept import value

@{how}
def asked():
    return value()
"""
CALLEE = "import numba\n\n@numba.njit\ndef value():\n    return {value}\n"


def ask(folder: Path, value: int) -> int:
    (folder / "callee_of_kept.py").write_text(CALLEE.format(value=value))
    for name in ("callee_of_kept", "caller_of_kept"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    found: int = importlib.import_module("caller_of_kept").asked()
    return found


@pytest.mark.parametrize(("how", "then"), [("jit_kept", 22), ("numba.njit(cache=True)", 1)])
def test_a_change_in_a_called_file_is_compiled_anew_which_numba_by_itself_overlooks(
    how: str, then: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "caller_of_kept.py").write_text(CALLER.format(how=how))
    assert [ask(tmp_path, 1), ask(tmp_path, 1), ask(tmp_path, 22)] == [1, 1, then]
    kept = sys.modules["caller_of_kept"].asked.stats
    assert Path(kept.cache_path).is_relative_to(tmp_path)
    assert callable(jit_kept)


def test_code_is_kept_among_temporary_files_where_no_other_place_can_be_written(tmp_path: Path) -> None:
    """Neither beside the sources nor in a home: numba alone refuses to be imported with."""
    (tmp_path / "no home").touch()
    ask = (
        "import numba.core.caching as c\n"
        "for name in dir(c):\n"
        "    if 'InTree' in name: getattr(c, name).from_function = lambda *_: None\n"
        "from simulator.market import checks, kernel\n"
        "print(checks._inside._cache.cache_path)"
    )
    surroundings = {**os.environ, "HOME": str(tmp_path / "no home"), "TMPDIR": str(tmp_path)}
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR"):
        surroundings.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", ask], env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / f"laser-ab-{os.getuid()}" / "kernels")
