"""Text files are UTF-8, whatever the locale of the machine: who opens one says so."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("seqvault", "laser", "simulator", "dashboard", "docs")


def openings(code: str) -> Iterator[int]:
    """Lines that read, write or open text in the locale's own encoding."""
    for call in ast.walk(ast.parse(code)):
        if not isinstance(call, ast.Call) or any(word.arg == "encoding" for word in call.keywords):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        modes = [one.value for one in call.args if isinstance(one, ast.Constant)]
        text = any(mode in ("r", "w", "a", "x", "rt", "wt", "at", "xt") for mode in modes)
        method = isinstance(call.func, ast.Attribute)
        if (
            (method and name == "read_text" and not call.args)
            or (method and name == "write_text" and len(call.args) == 1)
            or (name == "open" and text)
        ):
            yield call.lineno


def test_a_locale_changes_no_file() -> None:
    assert list(openings("p.read_text()\np.write_text(a)\nopen(p, 'w')\np.open('r')")) == [1, 2, 3, 4]
    assert not list(openings("p.read_text(encoding='utf-8')\np.open('rb')\nwriter.write_text(name, text)"))
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for package in PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
        for line in openings(file.read_text(encoding="utf-8"))
    ]
    assert found == []
