"""Whether a chart is what Vega-Lite's schema asks for."""

import json
from functools import cache

import altair as alt


@cache
def check(spec: str) -> None:
    """Raise a ValidationError that names what is wrong with a chart's specification in JSON."""
    alt.TopLevelSpec.validate(json.loads(spec))
