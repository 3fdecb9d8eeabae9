import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import ValidationError
from vega_lite import check

from dashboard import draw

# The made-up runs are the result tests', tables that belong together those of the breakdown.
for folder in ("results", "analysis/breakdown"):
    sys.path.insert(0, str(Path(__file__).parents[1] / "simulator" / folder))


@pytest.fixture(autouse=True)
def valid_charts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every chart that a test draws is checked against Vega-Lite's schema, for which pages take no time."""
    own, wrong = draw._spec, []

    def checked(*options: object) -> str:
        spec: str = own(*options)
        try:
            check(spec)
        except ValidationError as error:  # on a page it would be caught
            wrong.append(error)
        return spec

    monkeypatch.setattr(draw, "_spec", checked)
    yield
    assert not wrong
