"""The model table resumes where it was left, its gaps are paired, and its page is what the results say."""

import json
from pathlib import Path
from typing import Any

import pytest


def row(model: str, sauc: float, world_seed: int = 1, train_seed: int = 0) -> dict[str, Any]:
    named = {"world": "quick", "world_seed": world_seed, "train_seed": train_seed, "protocol": "tuned"}
    scores = {"sauc": sauc, "auc": sauc, "gauc": sauc, "logloss": 0.2, "pcoc": 1.0}
    costs = {"train_s": 1.0, "params": 9, "macs": 5e6, "macs_500": 2e7, "device": "cpu"}
    return {**named, "model": model, "history": 5, **scores, **costs}


def test_gaps_are_of_the_same_world_and_training_and_spread_over_worlds() -> None:
    from benchmarks.models.gaps import bars_of, paired

    rows = [
        row("din", 0.80), row("base", 0.79), row("din", 0.82, train_seed=1), row("base", 0.80, train_seed=1),
        row("din", 0.70, world_seed=2), row("base", 0.67, world_seed=2),
        row("din", 0.75, world_seed=3), row("base", 0.73, world_seed=3), row("base", 0.1, world_seed=4),
    ]  # fmt: skip
    gap = paired(rows, "quick", "tuned", "din", "base")
    assert gap is not None
    # Worlds: (1 + 2) / 2 = 1.5, 3 and 2 points; sd .7638, t = 2.1667 / (.7638 / sqrt 3).
    assert (gap["worlds"], gap["trainings"]) == (3, 4)
    assert gap["pt"] == pytest.approx(13 / 6)
    assert gap["least_pt"] == pytest.approx(1.5)
    assert gap["t"] == pytest.approx(4.914, abs=1e-3)
    assert paired(rows, "null", "tuned", "din", "base") is None
    worlds = [{**r, "world": w} for w in ("null", "paper") for r in (row("din", 0.7), row("laser", 0.71))]
    short = [row("din", 0.7), row("laser-50", 0.6998), row("laser-200", 0.69)]
    assert [(b["name"], b["better"], round(b["value"], 3)) for b in bars_of(worlds + short)] == [
        ("laser - din on null, pt", "lower", 1.0),
        ("least laser - din on paper, pt", "higher", 1.0),
        ("laser-50 - din on quick, either way, pt", "lower", 0.02),
        ("laser-200 - laser-50 on quick, pt", "higher", -0.98),
    ]
    assert [bar["name"] for bar in bars_of(rows)] == [
        "least din - base on quick, pt",
        "t of din - base on quick",
    ]


def test_the_page_says_what_the_results_say() -> None:
    from benchmarks.models.gaps import bars_of, gap_rows
    from benchmarks.pages.models import page

    rows = [row("base", 0.78), row("din", 0.785)]
    machine = {"cpu": "Abacus", "gpu": None}
    result: dict[str, Any] = {"preset": "cpu", "machine": machine, "commit": "abc", "bars": bars_of(rows)}
    result["rows"] = [*rows, *gap_rows(rows)]
    text = page({"model_table_cpu": result})
    assert "| din 5 | 0.7850 | 0.7850 | 0.7850 | 0.2000 | 1.000 | 1.0 | 9 | 5 M | 20 M |" in text
    assert text.index("| din 5 |") < text.index("| base 5 |")
    assert "| din - base | +0.500 | – | +0.500 | – | – |" in text
    assert "Trained on" not in text
    assert "Preset `cpu`, Abacus, commit abc" in text
    assert "| least din - base on quick, pt | 0.5 | at least 0 | met |" in text


def test_the_page_gives_students_interval_and_says_what_ran_elsewhere() -> None:
    from benchmarks.models.gaps import bars_of, gap_rows
    from benchmarks.pages.models import page

    rows = [
        {**row(model, sauc), "world_seed": seed, "device": "gpu" if model == "base" else "cpu"}
        for seed, gap in enumerate((0.004, 0.005, 0.006))
        for model, sauc in (("base", 0.78), ("din", 0.78 + gap))
    ]
    machine = {"cpu": "Abacus", "gpu": "gpu"}
    result: dict[str, Any] = {"preset": "full", "machine": machine, "commit": "abc", "bars": bars_of(rows)}
    text = page({"model_table_gpu": {**result, "rows": [*rows, *gap_rows(rows)]}})
    # 4.303 x 0.1 / sqrt(3), from a table of Student's distribution.
    assert "| din - base | +0.500 | +0.252 to +0.748 | +0.400 | 0.100 | 8.7 |" in text
    assert "Trained on a CPU, each step plain: din on quick." in text


def test_a_table_goes_on_where_it_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.models import table

    out, trained = tmp_path / "table.json", []

    def trained_row(cell: Any, world: object, sizes: object, device: str, also: object) -> dict[str, Any]:
        assert also is None  # relations were not asked for
        trained.append(cell.model)
        return {**row(cell.model, 0.8 + 0.01 * len(trained)), **vars(cell)}

    def called(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["table.py", "--quick", "--out", str(out), *arguments])
        return table.command()

    monkeypatch.setattr(table, "open_world", lambda *_: None)
    monkeypatch.setattr(table, "trained_row", trained_row)
    assert called("--seconds", "-1") == 130  # no time: nothing is done, and more is to do
    assert json.loads(out.read_text())["rows"] == []
    assert called("--models", "base,din") == 0
    assert called("--models", "din,base,laser", "--worlds", "quick:1,2") == 0
    assert trained == ["base", "din", "laser", "din", "base", "laser"]
    saved = json.loads(out.read_text())
    assert len([r for r in saved["rows"] if "model" in r]) == 6
    trained.clear()
    assert called("--models", "counts,laser-100", "--protocols", "full-rate,tuned") == 0
    assert trained == ["counts", "laser-100"] * 2
    with pytest.raises(SystemExit):
        called("--models", "laser,lasso-100")
    assert "--models: found lasso, expected some of base, din," in capsys.readouterr().err
    assert {r["gap"] for r in saved["rows"] if "gap" in r} == {"din - base", "laser - din"}
    assert saved["preset"] == "quick"
    monkeypatch.setattr("sys.argv", ["table.py", "--preset", "full", "--out", str(out)])
    with pytest.raises(SystemExit, match="holds the preset quick, expected full"):
        table.command()
