"""The page of a run's latency."""

import re

import made_runs
import numpy as np
import pytest
from page_driver import LATENCY, make, opened, specs, texts

from dashboard.palette import BUDGET
from simulator.results import numbers


@pytest.mark.parametrize("view", ["Histogram", "CDF"])
def test_latency_distribution_has_the_budget_line(folder, view):
    make("finished", folder)
    chart = specs(opened(LATENCY, view=view))[0]
    (line,) = [layer for layer in chart["layer"] if layer["mark"].get("color") == BUDGET]
    assert line["encoding"]["x"]["datum"] == made_runs.BUDGET_MS
    (words,) = [layer["encoding"] for layer in chart["layer"] if layer["mark"]["type"] == "text"]
    assert words["text"]["value"] == "budget 25.0 ms"
    assert chart["layer"][0]["encoding"]["x"]["scale"]["type"] == "log"


def test_latency_page_shows_percentiles_stages_and_ladder(folder):
    make("finished", folder)
    app = opened(LATENCY)
    words = texts(app)
    assert "P99" in list(app.table[0].value["Percentile"])
    assert " ms (" in words
    assert "P99 latency" not in words
    assert "missed their deadline" in words
    charts = specs(app)
    assert len(charts) == 9
    assert [layer["mark"]["type"] for layer in charts[5]["layer"]] == ["rect", "rule", "rule"]
    assert charts[6]["encoding"]["y"]["field"] == "requests"
    assert [chart["layer"][0]["encoding"]["y"]["field"] for chart in charts[1:5]] == ["stage"] * 4


def test_any_percentile_and_the_slowest_requests_are_shown(folder):
    make("finished", folder)
    app = opened(LATENCY, percentile="37.25")
    table = app.table[0].value.set_index("Percentile")
    columns = made_runs.served(1500)
    keep = (columns["arm"] == "treatment") & (columns["period"] == "experiment") & columns["assigned"]
    latency_ms = columns["latency_ms"][keep]
    assert numbers.ms(np.percentile(latency_ms, 37.25)) in set(table.loc["P37.25"])
    first = app.selectbox(key="slow_request").options[0]
    slowest = columns["request_id"][keep][np.argmax(latency_ms)]
    assert first == f"{slowest}: {numbers.ms(latency_ms.max())}"
    assert f"Stages of request {slowest} of treatment" in [c.proto.alt for c in app.get("vega_lite_chart")]


def test_where_the_prior_order_answered_is_said(folder, monkeypatch):
    make("finished", folder)
    assert "A spike at the far left is the prior order" in texts(opened(LATENCY))
    own = made_runs.served

    def late(requests):
        found = own(requests)
        return found | {"latency_ms": np.where(found["step"] == 2, 4.0, found["latency_ms"])}

    monkeypatch.setattr(made_runs, "served", late)
    made_runs.write_run(folder / "late", requests=1500)
    words = texts(opened(LATENCY, run="late"))
    assert "spike" not in words
    assert "after 4.00 ms to 4.00 ms" in words


def test_a_percentile_that_few_requests_lie_above_says_so(folder):
    make("finished", folder)
    words = texts(opened(LATENCY, percentile="99.99"))
    assert re.search(r"Few requests lie above .*P99.99 \(control [01], treatment [01]\)", words)
    assert "P95 (" not in words


def test_latency_without_budget_has_no_line(folder):
    made_runs.write_run(folder / "run", requests=200, budget_ms=None)
    app = opened(LATENCY)
    assert "no latency budget" in texts(app)
    assert len(specs(app)[0]["layer"]) == 1


def test_all_requests_are_more_than_the_assigned(folder):
    make("finished", folder)

    def counted(app):
        headings = " ".join(app.table[0].value.columns)
        return [int(n.replace(",", "")) for n in re.findall(r"n = ([0-9,]+)", headings)]

    assert sum(counted(opened(LATENCY, requests="All requests (truth)"))) == 2 * sum(counted(opened(LATENCY)))
