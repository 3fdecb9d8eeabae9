"""Profiles that ship can be decided by: their cells agree with one another, and with what others measured."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from typer.testing import CliRunner

from simulator.cli import app
from simulator.config.settings import PROFILES
from simulator.serving.fitness import changes, disagreements
from simulator.serving.grid import quantile
from simulator.serving.profile import Samples, ServiceProfile, load

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted(PROFILES.glob("*.json"))
# Samples of a cell, at least.
LEAST = 400
# How far a read may be from what benchmarks/stores/reads.py found, and SeqVault's above LastN's of the same
# length. The benchmark repeats its reads; in a profile other work comes between: up to 2.1 times as long, as
# found. SeqVault's take up to 3.6 times LastN's (25 behaviours, on the H100). A profile once shipped with
# .17 ms for SeqVault's read of 50, where .02 is right: 12 times the benchmark's of 200, 9 times LastN's.
FACTOR = 4.0
# The benchmark's names. Not LastN's blobs: there they are of histories many times as long.
ENGINES = {"seqvault": "packed", "lastn/chunks": "C", "lastn/behaviours": "A"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_profiles_cells_agree(path: Path) -> None:
    profile = load(path)
    if not profile.order:
        pytest.skip("sorted samples: measured before cells were held against each other")
    assert [wrong.message for wrong in disagreements(profile)] == []
    fewest = min(len(samples) for cells in profile.places.values() for samples in cells.values())
    assert fewest >= LEAST
    assert profile.order.keys() == profile.places.keys()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_profile_says_how_it_was_measured(path: Path) -> None:
    assert "laser-ab profile" in path.with_suffix(".toml").read_text()
    assert load(path).commit


def test_a_profile_is_read_once_and_anew_when_its_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    text = (PROFILES / "cpu.json").read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    first = load(path)
    assert load(path) is first
    path.write_text(json.dumps({**json.loads(text), "date": "2001-02-03"}), encoding="utf-8")
    assert load(path).date == "2001-02-03"


def p50_ms(cells: Mapping[int, Samples]) -> dict[int, float]:
    return {history: 1e3 * quantile(samples, 0.5) for history, samples in cells.items()}


def measured_ms(engine: str) -> dict[int, float]:
    """By length, what warm reads of one user took in the benchmark: P50s, the median of its rounds."""
    rows = json.loads((ROOT / "benchmarks/results/store_reads.json").read_text(encoding="utf-8"))["rows"]
    mine = [row for row in rows if row.get("engine") == engine and row["regime"] == "warm"]
    found = {
        n: [row["wall_p50_us"] / 1e3 for row in mine if row["n"] == name]
        for n, name in ((200, "200"), (1000, "1k"))
    }
    return {n: median(times) for n, times in found.items()}


def strange_reads(profile: ServiceProfile) -> list[str]:
    """Reads that take `FACTOR` times a longer one of the benchmark, or a `FACTOR`th of a shorter one."""
    found = []
    for store, engine in ENGINES.items():
        known = measured_ms(engine)
        for history, ms in p50_ms(profile.store[store]).items():
            most = min((t for n, t in known.items() if n >= history), default=float("inf"))
            least = max((t for n, t in known.items() if n <= history), default=0.0)
            if not least / FACTOR <= ms <= most * FACTOR:
                found.append(
                    f"{store} of {history}: {ms:.3g} ms, expected {least / FACTOR:.3g} to {most * FACTOR:.3g}"
                )
    return found


def slow_reads(profile: ServiceProfile) -> list[str]:
    """SeqVault's reads that take several times LastN's of the same length."""
    own, other = (p50_ms(profile.store[store]) for store in ("seqvault", "lastn/chunks"))
    return [
        f"{h}: {own[h]:.3g} ms, LastN {other[h]:.3g}"
        for h in own
        if h in other and own[h] > FACTOR * other[h]
    ]


def with_reads(profile: ServiceProfile, store: str, times: float) -> ServiceProfile:
    cells = {h: tuple(times * s for s in samples) for h, samples in profile.store[store].items()}
    return replace(profile, store={**profile.store, store: cells})


def test_the_cpus_reads_are_those_that_the_stores_benchmark_found() -> None:
    cpu = load(PROFILES / "cpu.json")
    assert strange_reads(cpu) == []
    assert any(
        wrong.startswith("seqvault of 50:") for wrong in strange_reads(with_reads(cpu, "seqvault", 8.0))
    )
    for store in ENGINES:
        assert strange_reads(with_reads(cpu, store, 0.1))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_seqvaults_reads_do_not_take_several_times_lastns(path: Path) -> None:
    profile = load(path)
    assert slow_reads(profile) == []
    assert any(wrong.startswith("50:") for wrong in slow_reads(with_reads(profile, "seqvault", 8.0)))


def test_what_changed_by_more_than_twice_since_another_profile_is_told() -> None:
    cpu = load(PROFILES / "cpu.json")
    assert changes(cpu, cpu) == []
    told = changes(cpu, with_reads(cpu, "seqvault", 8.0))
    assert len(told) == len(cpu.store["seqvault"])
    assert any("store/seqvault at (50,)" in one and "8 times" in one for one in told)
    assert changes(cpu, with_reads(cpu, "seqvault", 1.9)) == []
    assert "0.1 times" in changes(cpu, with_reads(cpu, "seqvault", 0.1))[0]


def test_a_new_profile_says_what_differs_from_the_shipped_one_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = load(PROFILES / "cpu.json")
    was_ms = p50_ms(shipped.store["seqvault"])[50]
    made = with_reads(shipped, "seqvault", 8.0)
    monkeypatch.setattr("simulator.arms.profiling.machine.make_profile", lambda *a, **k: made)
    for name, differs in (("cpu", True), ("mine", False)):
        said = CliRunner().invoke(app, ["profile", "--out", str(tmp_path / f"{name}.json")])
        assert said.exit_code == 0, said.output
        assert (f"8 times {was_ms:.4g} of the shipped cpu" in said.stderr) is differs
