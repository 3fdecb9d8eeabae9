"""What the project itself measured, in the small form that the package ships: designs, models, stores.

The files are written by `python -m docs.generate` from benchmarks/results; benchmarks/pages/shipped.py says
what each holds.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).with_name("measured")


@cache
def measured(name: Literal["designs", "models", "stores"]) -> dict[str, Any]:
    """One of the files."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found
