import io
from dataclasses import replace

import made_runs
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from dashboard.summaries import COLUMNS, SLOWEST, STAGES, lost_shares, stages_of
from dashboard.summaries import summarise as summarise_file
from simulator.results.read import read_run


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    run = made_runs.write_run(tmp_path_factory.mktemp("runs") / "run", requests=6000)
    return read_run(run).table("served", COLUMNS)


def summarise(table, *, assigned, rows=1000):
    """Of a file of the table, in row groups of so many rows."""
    pq.write_table(table, file := io.BytesIO(), row_group_size=rows)
    return summarise_file(pq.ParquetFile(file), assigned=assigned)


@pytest.mark.parametrize("assigned", [True, False])
def test_parts_of_a_table_add_up_to_what_the_whole_one_says(table, assigned):
    # Arms mixed in every row group, equal latencies in several, and some of 0 ms.
    mixed = table.take(np.random.default_rng(3).permutation(len(table)))
    rounded = mixed.to_pandas().assign(latency_ms=lambda frame: frame["latency_ms"].round(0))
    mixed = mixed.set_column(mixed.column_names.index("latency_ms"), "latency_ms", [rounded["latency_ms"]])
    summary = summarise(mixed, assigned=assigned, rows=777)
    frame = rounded[(rounded["period"] == "experiment") & (rounded["assigned"] | (not assigned))]
    edges = np.geomspace(
        0.999 * frame["latency_ms"][frame["latency_ms"] > 0].min(), 1.001 * frame["latency_ms"].max(), 61
    )
    for arm, own in frame.groupby("arm", observed=True):
        names = ("bins", "stages", "ladder", "slowest")
        found = {name: (rows := getattr(summary, name))[rows["arm"] == arm] for name in names}
        counts, _ = np.histogram(own["latency_ms"].clip(lower=edges[0]), edges)
        np.testing.assert_allclose(found["bins"]["share"], counts / len(own))
        assert found["ladder"]["requests"].to_list() == own.groupby("step").size().to_list()
        np.testing.assert_allclose(found["ladder"]["missed_share"], own.groupby("step")["missed"].mean())
        spent = [own[until] - (own[since] if since else 0) for _, since, until, _ in STAGES]
        np.testing.assert_allclose(found["stages"]["mean_ms"], [each.mean() for each in spent])
        np.testing.assert_allclose(found["stages"]["p99_ms"], [each.quantile(0.99) for each in spent])
        wanted = own.nlargest(SLOWEST, "latency_ms")
        assert found["slowest"]["request_id"].to_list() == wanted["request_id"].to_list()


def test_percentiles_are_those_of_the_experiments_requests(table):
    columns = made_runs.served(6000)
    for assigned in (True, False):
        summary = summarise(table, assigned=assigned)
        for arm in ("control", "treatment"):
            keep = (columns["arm"] == arm) & (columns["period"] == "experiment")
            keep &= columns["assigned"] | (not assigned)
            rows = summary.percentiles[summary.percentiles["arm"] == arm].set_index("percentile")
            assert summary.requests[arm] == keep.sum()
            for percentile in (50.0, 99.0):
                wanted = np.percentile(columns["latency_ms"][keep], percentile)
                assert rows.loc[percentile, "ms"] == pytest.approx(wanted)


def test_every_percentile_is_numpys(table):
    summary = summarise(table, assigned=True)
    columns = made_runs.served(6000)
    keep = (columns["arm"] == "treatment") & (columns["period"] == "experiment") & columns["assigned"]
    for percentile in (0.0, 12.34, 99.99, 100.0):
        wanted = np.percentile(columns["latency_ms"][keep], percentile)
        assert summary.percentile("treatment", percentile) == pytest.approx(wanted)


def test_the_heat_map_holds_every_request_once(table):
    summary = summarise(table, assigned=True)
    columns = made_runs.served(6000)
    for arm in ("control", "treatment"):
        rows = summary.heat[summary.heat["arm"] == arm]
        assert rows.groupby("hour")["share"].sum().to_list() == pytest.approx([1] * rows["hour"].nunique())
        keep = (columns["arm"] == arm) & (columns["period"] == "experiment") & columns["assigned"]
        hours = np.bincount((columns["arrival_s"][keep] // 3600).astype(int), minlength=24)
        assert rows.drop_duplicates("hour").set_index("hour")["requests"].to_dict() == {
            hour: count for hour, count in enumerate(hours) if count
        }


def test_the_slowest_requests_stages_lie_end_to_end(table):
    slowest = summarise(table, assigned=True).slowest
    for arm in ("control", "treatment"):
        rows = slowest[slowest["arm"] == arm].to_dict("records")
        assert len(rows) == 10
        assert rows == sorted(rows, key=lambda row: -row["latency_ms"])
        stages = stages_of(rows[0])
        assert stages["end_ms"].iloc[-1] == pytest.approx(rows[0]["latency_ms"])
        np.testing.assert_allclose(stages["start_ms"].to_numpy()[1:], stages["end_ms"].to_numpy()[:-1])


def test_shares_add_up_to_one(table):
    summary = summarise(table, assigned=True)
    for arm in ("control", "treatment"):
        assert summary.bins.loc[summary.bins["arm"] == arm, "share"].sum() == pytest.approx(1)
        assert summary.bins.loc[summary.bins["arm"] == arm, "cumulative"].iloc[-1] == pytest.approx(1)
        assert summary.ladder.loc[summary.ladder["arm"] == arm, "share"].sum() == pytest.approx(1)


def test_stages_lie_end_to_end_and_add_up_to_the_mean_latency(table):
    stages = summarise(table, assigned=True).stages
    columns = made_runs.served(6000)
    for arm in ("control", "treatment"):
        rows = stages[stages["arm"] == arm]
        np.testing.assert_allclose(rows["start_ms"].to_numpy()[1:], rows["end_ms"].to_numpy()[:-1])
        keep = (columns["arm"] == arm) & (columns["period"] == "experiment") & columns["assigned"]
        keep &= columns["step"] != 2  # prior order has no stages
        assert rows["end_ms"].iloc[-1] == pytest.approx(columns["latency_ms"][keep].mean())


def test_lost_shares_count_every_step_below_the_first():
    steps = pd.DataFrame(
        {"arm": ["a", "a", "a"], "step": [0, 1, 4], "share": [0.7, 0.2, 0.1], "missed_share": [0.0, 0.5, 1.0]}
    )
    degraded, missed = lost_shares(steps, ["a"])["a"]
    assert degraded == pytest.approx(0.3)
    assert missed == pytest.approx(0.2)


def test_steps_are_in_order_though_their_numbers_differ_by_arm(table):
    ladder = pd.DataFrame({"step": [0, 3, 0, 3, 4], "step_name": ["full", "prior", "full", "light", "prior"]})
    assert replace(summarise(table, assigned=True), ladder=ladder).step_names == ("full", "light", "prior")


def test_requests_above_a_percentile_are_counted(table):
    summary = summarise(table, assigned=True)
    columns = made_runs.served(6000)
    keep = (columns["arm"] == "control") & (columns["period"] == "experiment") & columns["assigned"]
    latency_ms = columns["latency_ms"][keep]
    for percentile in (0.0, 50.0, 99.9, 99.99, 100.0):
        above = (latency_ms > np.percentile(latency_ms, percentile)).sum()
        assert summary.above("control", percentile) == above


def test_arm_without_requests_is_empty_not_zero(table):
    empty = summarise(table.slice(0, 0), assigned=True)
    assert empty.requests == {}
    only_pre = table.filter([period == "pre" for period in table["period"].to_pylist()])
    summary = summarise(only_pre, assigned=True)
    assert set(summary.requests.values()) == {0}
    assert len(summary.percentiles) == len(summary.bins) == len(summary.stages) == 0
