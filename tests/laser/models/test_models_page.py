"""What docs/models.md says of the models is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from ranking_batches import KINDS, config, random_batch
from test_ranking_models import scores, single

from laser.attention.segments import Segments
from laser.models import ModelConfig, RankingModel
from laser.models.model import SHARED_OPTIONS
from laser.models.registry import BUILT_IN, _model_class, build_model
from laser.operations import multiply_accumulates, operations
from laser.training.config import TrainConfig
from laser.training.presets import _BATCH_AND_RATE

TESTS = Path(__file__).parents[2]
PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_pages_example_of_a_new_model_scores_and_heeds_no_padding() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(code.splitlines()) <= 30
    names: dict[str, Any] = {"__name__": "my_ranker"}
    exec(code, names)
    assert issubclass(names["TorchAttention"], RankingModel)
    model = names["TorchAttention"](config("mine", heads=4)).eval()
    batch = random_batch([5, 0, 9])
    together = scores(model, batch)
    assert torch.isfinite(together).all()
    for row in range(3):
        torch.testing.assert_close(scores(model, single(batch, row))[0], together[row], rtol=1e-5, atol=1e-6)


def test_every_built_in_kind_is_on_the_page() -> None:
    for kind in BUILT_IN:
        build_model(config(kind), seed=0)
        assert re.search(rf"^## {kind}\b", PAGE, re.IGNORECASE | re.MULTILINE) or kind == "counts"
    assert "## The count reference" in PAGE


def test_the_training_settings_on_the_page_are_the_presets() -> None:
    head, _, batch, rate = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in re.findall(r"^\| \| base \| DIN \|.*\n\|.*\n\|.*\n\|.*$", PAGE, re.MULTILINE)[
            0
        ].splitlines()
    )
    told = {
        kind.lower(): (int(size), float(peak))
        for kind, size, peak in zip(head[1:], batch[1:], rate[1:], strict=True)
    }
    assert told == _BATCH_AND_RATE


def test_the_operations_on_the_page_are_the_counted_ones() -> None:
    told = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    assert [kind for kind, *_ in told] == list(KINDS)
    for kind, of_request, of_candidate in told:
        counted = operations(build_model(ModelConfig(kind, 200, 2000, 3, 3), seed=0), 1000, (100, 200))
        assert f"{counted.per_request:,.0f}" == of_request, kind
        assert f"{counted.per_candidate:,.0f}" == of_candidate, kind


def test_the_costs_of_wider_segments_on_the_page_are_the_counted_ones() -> None:
    row = re.compile(r"^\| ([\d,]+) \| " + r" \| ".join([r"(\d+): ([\d,]+)"] * 4) + r" \|$", re.MULTILINE)
    assert [told[0] for told in row.findall(PAGE)] == ["1,000", "5,000"]
    for length, *cells in row.findall(PAGE):
        history = int(length.replace(",", ""))
        for every, told in zip((None, 4, 8, 16), zip(cells[::2], cells[1::2], strict=True), strict=True):
            segments = Segments(10, every)
            runs = segments.runs(segments.padded(history))
            model = build_model(ModelConfig("laser", 200, 2000, 3, 3, 16, {"double_every": every}), seed=0)
            counted = multiply_accumulates(model, history, 100)
            assert told == (str(sum(n // width for width, n in runs)), f"{counted:,}")


def test_the_options_on_the_page_are_those_of_the_models() -> None:
    told = dict(re.findall(r"^\| `?(\w+)`? \| (`\w+ = .*`) \|$", PAGE, re.MULTILINE))
    for kind in BUILT_IN:
        model_class: Any = _model_class(kind)
        assert told.get(kind, "") == listed(model_class.OPTIONS), kind
    assert told["all"] == listed(SHARED_OPTIONS)


def listed(options: dict[str, Any]) -> str:
    return ", ".join(f"`{name} = {json.dumps(value)}`" for name, value in options.items())


def test_the_gaps_of_scenes_on_the_page_are_the_measured_ones() -> None:
    path = TESTS.parent / "benchmarks" / "results" / "model_scenes.json"
    gaps = [row for row in json.loads(path.read_text(encoding="utf-8"))["rows"] if "gap" in row]
    assert len(gaps) == 4
    for row in gaps:
        low, high = row["over_seeds"]
        assert f"| {row['pt']:+.3f} [{low:+.3f}, {high:+.3f}] |" in PAGE


def test_every_promise_on_the_page_names_tests_that_exist() -> None:
    section = PAGE.split("## What is promised")[1].split("\n## ")[0]
    named = set(re.findall(r"`(test_\w+)`", section))
    written = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    assert len(named) > 15
    for name in named:
        assert re.search(rf"^def {name}\(|^{name}$", written, re.MULTILINE), name


def test_every_switch_of_training_and_head_is_on_the_page() -> None:
    settings = set(TrainConfig.__dataclass_fields__) - {"history", "batch", "epochs", "threads", "device"}
    for name in {*settings, *SHARED_OPTIONS} - {"learning_rate", "short_hidden"}:
        assert f"`{name}" in PAGE, name


def test_every_option_of_a_model_is_in_its_docstring() -> None:
    for kind in BUILT_IN:
        model_class: Any = _model_class(kind)
        for option in model_class.OPTIONS:
            assert re.search(rf"\b{option}\b", model_class.__doc__ or ""), f"{kind}: {option}"
