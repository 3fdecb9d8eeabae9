"""Whether a chart is what Vega-Lite's schema asks for, and has the data that its marks name."""

import json
import re
from functools import cache

import altair as alt
from jsonschema import ValidationError


@cache
def check(spec: str) -> None:
    """Raise a ValidationError that names what is wrong with a chart's specification in JSON."""
    alt.TopLevelSpec.validate(json.loads(spec))
    unknown = set(re.findall(r'"data": {"name": "([^"]*)"', spec)) - {"rows"}
    if unknown:
        raise ValidationError(f"found marks of the data {unknown}, expected rows, which alone are sent")
