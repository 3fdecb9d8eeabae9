"""How long reads and appends took, and which failed, as Prometheus reads it."""

import re
from pathlib import Path

import numpy as np
import pytest
from histories import behaviours

from seqvault import DamagedDataError, SchemaError, StoreError, StoreReadOnlyError
from seqvault.vault import SeqVault
from seqvault.vault.engine import latency
from seqvault.vault.engine.latency import Latency


def metric(store: SeqVault, name: str) -> float:
    (value,) = re.findall(rf"^seqvault_{name}\{{[^}}]*\}} (\S+)$", store.metrics(), re.MULTILINE)
    return float(value)


@pytest.mark.parametrize("took_ns", [0, 1, 1023, 1024, 1025, 999_999, (1 << 34) - 1, 1 << 35, 10**12])
def test_an_operation_is_in_the_buckets_that_are_no_shorter(
    took_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Latency()
    monkeypatch.setattr(latency, "perf_counter_ns", lambda: 5 + took_ns)
    seen.note(5)
    buckets = seen.buckets()
    bounds = [bound_s for bound_s, _ in buckets]
    assert bounds == sorted(bounds)
    for bound_s, within in buckets:
        # A bound itself may be in either bucket.
        if took_ns * 1e-9 != pytest.approx(bound_s):
            assert within == (took_ns * 1e-9 < bound_s)
    assert buckets[-1] == (float("inf"), 1)
    assert seen.total_ns == took_ns


@pytest.mark.parametrize("plain", ["", "1"])
def test_reads_and_appends_are_counted_and_the_callers_mistakes_are_not(
    plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQVAULT_PLAIN", plain)
    with SeqVault(tmp_path, background=False) as store:
        for seed in range(3):
            store.append(*behaviours(seed, 40))
        store.read_last([1, 2], 5)
        store.read_range([1], 0, 10)
        newest = store.prepare_last(3)
        newest([1])
        newest([2])
        with pytest.raises(StoreError, match="n=-1"):
            store.read_last([1], -1)
        with pytest.raises(SchemaError):
            store.append([1], {})
        assert [metric(store, f"{kind}_seconds_count") for kind in ("append", "read")] == [3, 4]
        assert [metric(store, f"{kind}_errors_total") for kind in ("append", "read")] == [0, 0]
        assert metric(store, "append_seconds_sum") > 0
        assert metric(store, "read_seconds_sum") > 0
        assert metric(store, "behaviours") == 120


def test_what_the_hot_tier_answers_is_counted_there_alone(tmp_path: Path) -> None:
    with SeqVault(tmp_path, hot_bytes=1 << 20) as store:
        store.append(*behaviours(1, 40))
        newest = store.prepare_last(3)
        for _ in range(9):
            newest([1])
            store.read_last([1], 3)
        hits = metric(store, "hot_hits_total")
        assert hits > 0
        assert metric(store, "read_seconds_count") + hits >= 18
        assert metric(store, "read_seconds_count") < 18


def test_failed_reads_and_appends_are_errors(tmp_path: Path) -> None:
    with SeqVault(tmp_path / "store") as store:
        store.bulk_load(*behaviours(1, 400))
        (segment,) = (tmp_path / "store").glob("*.seg")
        place = store.locate(3, 1000)[-1]
        data = bytearray(segment.read_bytes())
        data[place.offset + place.size // 2] ^= 4
        segment.write_bytes(bytes(data))
        newest = store.prepare_last(1000)
        for read in (lambda: store.read_last([3], 1000), lambda: newest(np.array([3], "u8"))):
            with pytest.raises(DamagedDataError):
                read()
        assert metric(store, "read_errors_total") == 2
        (tmp_path / "store").rename(tmp_path / "moved")
        with pytest.raises(StoreReadOnlyError):
            store.append(*behaviours(2, 4))
        (tmp_path / "moved").rename(tmp_path / "store")
        assert metric(store, "append_errors_total") == 1
