"""Arrivals and bids from recorded files: bursts are kept at any rate, tCPA is spread as bids are."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import ks_2samp
from small_runs import small

from simulator.arms.arrivals import read_arrivals, repeated
from simulator.arms.clock import make_clock
from simulator.arms.plan import make_plan
from simulator.config.columns import Arrivals, FileColumn
from simulator.config.errors import ConfigError
from simulator.errors import SimulatorError
from simulator.inputs.bids import bid_source, with_bids
from simulator.logs.calibration.statistics import fano
from simulator.logs.folder import read_log
from simulator.logs.real_log import split_days
from simulator.logs.world import load_log_world
from simulator.outside.columns import ColumnError, read_column
from simulator.world.catalogue import build_catalogue
from simulator.world.config import preset

_RNG = np.random.default_rng(8)
# Some ten at a time, then a pause.
BURSTS = np.cumsum(_RNG.exponential(np.where(_RNG.random(400) < 0.1, 5.0, 0.01)))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text("at,what\n" + "".join(f"{at!r},x\n" for at in BURSTS.tolist()))
    return path


def test_a_run_is_served_by_the_traces_moments_at_the_files_rate(trace: Path) -> None:
    chosen = (f"traffic.arrivals.file={trace}", "traffic.arrivals.column=at")
    plain, bursty = make_plan(small()), make_plan(small(*chosen))
    assert bursty.profile is not None
    assert plain.profile is not None
    clocks = [make_clock(plan, plan.profile) for plan in (plain, bursty) if plan.profile is not None]
    moments = [clock.sim_arrival_s for clock in clocks]
    assert plain.world == bursty.world  # users, histories and days are what they were
    assert len(moments[1]) == len(bursty.prepared.requests) == 500
    np.testing.assert_allclose(moments[1][:400] * clocks[1].compression, BURSTS - BURSTS[0], rtol=1e-9)
    # 500 requests of 400 arrivals: the trace begins again, a mean gap after its end.
    step = (BURSTS[-1] - BURSTS[0]) / 399 / clocks[1].compression
    assert moments[1][400] - moments[1][399] == pytest.approx(step)
    load = bursty.config.traffic.load or 0.0
    rate = 499 / moments[1][-1]
    assert rate == pytest.approx(load * min(clocks[1].capacity_rps.values()))
    assert rate == pytest.approx(499 / moments[0][-1])


def test_bursts_are_kept_whatever_the_rate_and_however_often_the_trace_is_repeated(trace: Path) -> None:
    arrivals = read_arrivals(Arrivals(file=str(trace), column="at"))
    many = repeated(arrivals, 4000)
    assert (np.diff(many) >= 0).all()
    for windows in (10, 40):
        kept = fano(many / 7.0, windows)
        assert kept == pytest.approx(fano(arrivals, windows), rel=0.15)
        assert kept > 3.0
    np.testing.assert_array_equal(repeated(arrivals, 30), arrivals[:30])


def test_a_column_is_read_from_each_kind_of_file_and_in_each_unit(tmp_path: Path) -> None:
    at = [0.5, 2.0, 86_400.25]
    text = [f"1970-01-0{1 + int(t // 86_400)} 00:00:{t % 60:010.7f}" for t in (0.5, 2.0)]
    (tmp_path / "a.csv").write_text("x;at\n" + "".join(f"1;{t}\n" for t in at))
    (tmp_path / "numbered.txt").write_text("".join(f"0 {t} 7\n" for t in at))
    (tmp_path / "iso.csv").write_text("at\n" + "".join(f"{t}\n" for t in text))
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"at": 1000 * t, "ids": [1, 2]}) + "\n" for t in at)
    pq.write_table(pa.table({"at": at}), tmp_path / "a.parquet")
    assert read_column(tmp_path / "a.csv", "at").tolist() == at
    assert read_column(tmp_path / "numbered.txt", 2).tolist() == at
    assert read_column(tmp_path / "iso.csv", "at", "iso").tolist() == at[:2]
    assert read_column(tmp_path / "a.jsonl.gz", "at", "ms").tolist() == at
    assert read_column(tmp_path / "a.parquet", "at").tolist() == at


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("at\n1\nsoon\n", "at", "row 2 holds 'soon', expected a number"),
        ("at\n1\n2\n", "when", "no column 'when', expected one of 'at'"),
        ("1 2\n3 4\n", 3, "2 columns, expected a column 3"),
        ("at\n", "at", "it has no row, expected a number"),
    ],
)
def test_what_is_no_column_of_numbers_is_refused_with_its_place(
    tmp_path: Path, text: str, column: str | int, message: str
) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(text)
    with pytest.raises(ColumnError, match=message):
        read_column(path, column)


def test_arrivals_at_one_moment_and_unknown_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "same.csv"
    path.write_text("at\n3\n3\n")
    with pytest.raises(SimulatorError, match="2 arrivals at one moment"):
        read_arrivals(Arrivals(file=str(path), column="at"))
    with pytest.raises(ConfigError, match="unit"):
        small(f"traffic.arrivals.file={path}", "traffic.arrivals.unit=hours")


def test_tcpa_is_spread_as_the_bids_are_around_the_median_of_before(tmp_path: Path) -> None:
    path = tmp_path / "bids.csv"
    bids = np.random.default_rng(1).gamma(0.7, 50.0, 5000)
    path.write_text("bid\n0\n" + "".join(f"{bid!r}\n" for bid in bids.tolist()))
    catalogue, _, _ = build_catalogue(preset("demo", advertisers=1000, ads=4000), 7)
    found = with_bids(catalogue, bid_source(FileColumn(file=str(path), column="bid")), 7)
    assert np.median(found.advertiser_tcpa) == pytest.approx(np.median(catalogue.advertiser_tcpa), rel=0.1)
    level = np.median(found.advertiser_tcpa) / np.median(bids)
    assert ks_2samp(found.advertiser_tcpa, level * bids).pvalue > 0.01
    np.testing.assert_array_equal(found.tcpa, found.advertiser_tcpa[found.advertiser])
    plain, priced = make_plan(small()), make_plan(small(f"market.bids.file={path}", "market.bids.column=bid"))
    assert plain.world != priced.world
    same = [plan.prepared.world.catalogue.advertiser for plan in (plain, priced)]
    np.testing.assert_array_equal(*same)
    assert (plain.prepared.world.catalogue.tcpa != priced.prepared.world.catalogue.tcpa).all()


def test_a_logs_own_bids_become_its_advertisers_tcpa(
    kuairand_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, response = read_log(kuairand_log)
    shown, advertiser = log.impressions, log.ads.advertiser
    worth = 1.0 + np.arange(log.ads.advertisers)
    bid = worth[advertiser[shown.ad]] * np.where(np.arange(len(shown)) % 2, 0.5, 1.5)
    silent = int(advertiser[shown.ad[0]])
    bid[advertiser[shown.ad] == silent] = np.nan
    object.__setattr__(shown, "bid", bid)
    monkeypatch.setattr("simulator.logs.world.read_log", lambda folder: (log, response))
    tcpa = load_log_world(kuairand_log, 7, split_days(log.days)).catalogue.advertiser_tcpa
    object.__setattr__(shown, "bid", None)
    drawn = load_log_world(kuairand_log, 7, split_days(log.days)).catalogue.advertiser_tcpa
    assert tcpa[silent] == drawn[silent]
    count = np.bincount(advertiser[shown.ad], minlength=len(worth))
    often = np.flatnonzero((count > 20) & (np.arange(len(worth)) != silent))
    np.testing.assert_allclose(tcpa[often] / tcpa[often[0]], worth[often] / worth[often[0]], rtol=0.4)
    assert np.corrcoef(tcpa[often], worth[often])[0, 1] > 0.95
