"""What the latency benchmark times is what the Scorer serves, with the settings it was given."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from laser.models import ModelConfig, build_model
from laser.scoring.runtime import Scorer


@pytest.mark.parametrize(("kind", "options"), [("vista", {"short": 7}), ("vql", {})])
def test_a_step_at_fixed_addresses_scores_from_a_summary_as_the_scorer_does(
    kind: str, options: dict[str, Any]
) -> None:
    from benchmarks.serving.latency import requests_of
    from benchmarks.serving.latency_serving import Served, at_once, from_summary, kept

    cpu = torch.device("cpu")
    model = build_model(ModelConfig(kind, 200, 2000, 3, 3, options=options), seed=1).eval()
    requests = requests_of(25, 6, 3, seed=1)
    assert len({batch.category.sum().item() for batch in requests}) == 3
    expected = [Scorer(model).score(batch) for batch in requests]
    sent = [kept(model, batch) for batch in requests]
    served = Served(from_summary(model), sent[0], cpu)
    found = [served(columns).numpy().copy() for columns in sent]
    assert np.allclose(found, expected, atol=1e-5)
    # Without the copy every request would have the first one's logits.
    assert np.abs(found[0] - np.array(expected[1:])).max() > 1e-3
    assert at_once(from_summary(model), cpu)(sent[2]).numpy() == pytest.approx(expected[2], abs=1e-5)


@pytest.mark.parametrize("kind", ["vista", "vql"])
def test_a_summarys_graph_is_made_by_the_snapshot_and_timed_outside_it(kind: str) -> None:
    from benchmarks.models.study_plan import SUMMARY_KEPT
    from benchmarks.serving.latency import QUICK, Case, _graph, requests_of

    model = build_model(ModelConfig(kind, 200, 2000, 3, 3), seed=1).eval()
    row = _graph(Case(kind + SUMMARY_KEPT, kind, 25), model, requests_of(25, 6, 2, seed=1), QUICK)
    assert row["requests"] > 0
    assert row["logits_apart"] < 1e-4


def test_a_model_without_a_summary_keeps_none() -> None:
    from benchmarks.serving.latency import requests_of
    from benchmarks.serving.latency_serving import kept

    model = build_model(ModelConfig("laser", 200, 2000, 3, 3), seed=1).eval()
    with pytest.raises(TypeError, match="keeps no summary"):
        kept(model, requests_of(25, 6, 1, seed=1)[0])


def test_settings_go_by_name_then_by_model_and_a_rows_own_options_stay() -> None:
    from benchmarks.serving.latency import cases_of

    settings: dict[str, Any] = {
        "laser": {"options": {"segment": 5, "double_every": 3}, "width": 32},
        "laser 5000": {"options": {"segment": 20}},
    }
    found = {case.name: case for case in cases_of(settings)}
    assert (found["laser"].options, found["laser"].width) == ({"segment": 5, "double_every": 3}, 32)
    assert (found["laser 5000"].options, found["laser 5000"].width) == ({"segment": 20}, 16)
    assert found["variant: segments double every 8"].options == {
        "segment": 5,
        "double_every": 8,
        "wide": "mean",
    }
    assert found["din"].options == {}
    with pytest.raises(SystemExit, match="lazer"):
        cases_of({"lazer": {}})


def test_settings_that_cannot_be_read_end_in_a_sentence(tmp_path: Path) -> None:
    from benchmarks.serving.latency import cases_of, settings_from

    path = tmp_path / "settings.json"
    for text, told in (
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("[1]", "holds"),
        ('{"a": 1}', "holds"),
    ):
        if text is not None:
            path.write_text(text)
        with pytest.raises(SystemExit, match=f"{told} .*expected JSON"):
            settings_from(path)
    path.write_text('{"laser": {"width": 32}, "laser 5000": {}}')
    widths = {case.name: case.width for case in cases_of(settings_from(path))}
    # Nothing for a name is its own setting, not its model's.
    assert (widths["laser"], widths["laser 5000"]) == (32, 16)


def test_a_row_has_its_percentiles_or_says_why_not() -> None:
    from benchmarks.serving.latency import Case, rows_of

    cpu = torch.device("cpu")
    rows = list(rows_of(Case("laser", "laser", 20), cpu, quick=True))
    assert [(row["candidates"], row["mode"]) for row in rows] == [(100, "cpu"), (500, "cpu")]
    assert all(0 < row["p50_ms"] <= row["p99_ms"] and row["requests"] >= 2 for row in rows)
    unknown = replace(Case("laser", "laser", 20), options={"squint": 1})
    rows = list(rows_of(unknown, cpu, quick=True))
    assert [(row["p50_ms"], row["skipped"]) for row in rows] == [
        (None, "model 'laser' has no option ['squint']")
    ] * 2
