"""How charts come onto a page: what is made once, and what is checked here in place of there."""

import json

import altair as alt
import pandas as pd
import pytest
from jsonschema import ValidationError
from vega_lite import check

from dashboard import charts, draw
from dashboard.charts import Rows
from dashboard.words import plain

ROWS = pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0]})


def test_a_mark_that_vega_lite_does_not_know_is_noticed_by_the_tests():
    check(draw._spec(points, (("shape", "diamond"),), "#000000"))
    with pytest.raises(ValidationError, match="tumbler"):
        check(json.dumps({"data": {"name": "rows"}, "mark": {"type": "tumbler"}}))


def points(rows: Rows, *, shape: str) -> alt.Chart:
    made: alt.Chart = alt.Chart(rows).mark_point(shape=shape).encode(x="x:Q", y="y:Q")
    return made


def test_a_chart_is_made_once_for_all_its_rows():
    made = []

    def counted(rows: Rows, *, shape: str) -> alt.Chart:
        made.append(shape)
        return points(rows, shape=shape)

    for shape in ("circle", "square", "circle"):
        draw.chart(counted, ROWS, "points", shape=shape)
    assert made == ["circle", "square"]


@pytest.mark.parametrize("reach", [None, 0.3])
def test_charts_without_checks_are_those_with_checks(reach):
    unchecked = json.loads(draw._spec(charts.by_day, (("label", "CTR"), ("reach", reach)), "#000000"))
    whole = draw._styled(charts.by_day(alt.NamedData("rows"), label="CTR", reach=reach), "#000000").to_dict()
    whole["config"].pop("view")
    assert "datasets" not in whole
    assert unchecked == whole


def test_the_first_days_band_does_not_set_the_scale():
    days = pd.DataFrame({"day": [1, 1, 2], "low": [-5.0, None, -0.1], "high": [5.0, None, 0.2]})
    assert charts.reach_of(days) == pytest.approx(0.4)
    assert charts.reach_of(days.assign(low=None)) is None


def test_a_line_without_rows_has_data_of_its_own():
    spec = json.loads(draw._spec(charts.mde, (("ink", "#000000"), ("true_lift", 0.02)), "#000000"))
    line, words = spec["layer"][2:]
    assert (line["mark"]["type"], words["mark"]["type"]) == ("rule", "text")
    assert line["data"] == words["data"] == {"values": [{}]}
    assert "datasets" not in spec


def test_logarithmic_axes_have_even_marks():
    marks = charts.log_axis("~r").to_dict()["values"]
    assert [mark for mark in marks if 0.5 <= mark <= 50] == [0.5, 1, 2, 5, 10, 20, 50]


def test_messages_keep_what_they_mark_as_code_and_nothing_else():
    assert plain("`arms.a_b.history`: found *many*") == "`arms.a_b.history`: found \\*many\\*"
    assert plain("a ` b [c](d)") == "a \\` b \\[c\\](d)"
