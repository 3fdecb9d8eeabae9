"""The study's page and its lines of the README are what the saved results say."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


def row(name: str, sauc: float, seed: int = 1, part: str = "order", **other: Any) -> dict[str, Any]:
    named = {"part": part, "world": "loud", "world_seed": seed, "train_seed": 0, "protocol": "tuned"}
    scores = dict.fromkeys(("auc", "gauc"), 0.7) | {"sauc": sauc, "logloss": 0.2, "pcoc": 1.0}
    costs = {"macs": 2e6, "macs_500": 9e6, "params": 5, "train_s": 4.0, "behaviours_trained": 8e6}
    model = {"name": name, "model": name.partition(",")[0], "history": 10, "trained_history": 10}
    how = {"options": {}, "width": 16, "batch": 64, "learning_rate": 0.01, "table_rate": 0.1}
    return {**named, **scores, **costs, **model, **how, "device": "abacus", **other}


def in_worlds(name: str, gaps: tuple[float, ...], **other: Any) -> list[dict[str, Any]]:
    """One training in each world, so many points above .7."""
    return [row(name, 0.7 + gap / 100, seed, **other) for seed, gap in enumerate(gaps, 1)]


def test_the_committed_pages_are_what_the_saved_results_say() -> None:
    from benchmarks.pages import models
    from benchmarks.pages.layout import README, RESULTS, with_block
    from benchmarks.pages.study import MARK, PAGE, page, readme_block
    from benchmarks.pages.study_rows import Study

    assert models.page(models.saved()) == models.PAGE.read_text(encoding="utf-8")
    study, readme = Study.saved(RESULTS), README.read_text(encoding="utf-8")
    assert with_block(readme, MARK, readme_block(study)) == readme
    if study.rows:
        assert page(study) == PAGE.read_text(encoding="utf-8")
        for shown in re.findall(r"\]\((model-study-.*?svg)\)", page(study)):
            assert (PAGE.parent / shown).exists()
    else:
        assert not PAGE.exists()


def test_without_results_every_section_says_so_in_a_line() -> None:
    from benchmarks.pages.study import SECTIONS, page, readme_block
    from benchmarks.pages.study_rows import Study

    empty = page(Study())
    assert len(re.findall(r"^## .*\n\nN[^\n]*\.\n", empty, re.MULTILINE)) == len(SECTIONS)
    assert "![" not in empty
    assert readme_block(Study()) == ""


def test_a_pair_is_in_the_papers_order_only_where_its_interval_leaves_0_out() -> None:
    from benchmarks.pages.study import readme_block
    from benchmarks.pages.study_order import ordered
    from benchmarks.pages.study_rows import Study

    rows = [
        *in_worlds("base", (0, 0, 0)),
        *in_worlds("twin", (0.9, 1.0, 1.1)),
        *in_worlds("din", (1, 1.2, 0.8)),
    ]
    rows += [*in_worlds("hstu", (0.1, 0.2, 0.1)), *in_worlds("hstu", (9, 9, 9), protocol="plain")]
    text = ordered(Study(rows))
    # 4.303 x .1 / sqrt(3) over three worlds, from a table of Student's distribution.
    assert "| twin - base | +0.08 | +1.000 [+0.752, +1.248] | as in the paper | – | not measured |" in text
    assert "| not distinguished |" in next(
        line for line in text.splitlines() if line.startswith("| din - twin")
    )
    assert "| the other way round |" in next(
        line for line in text.splitlines() if line.startswith("| hstu - din")
    )
    assert "1 as in the paper, 1 not distinguished, 1 the other way round, 2 not measured" in " ".join(
        text.split()
    )
    told = " ".join(readme_block(Study(rows)).split())
    assert "1 of the 5 steps" in told
    assert "DIN over TWIN is not distinguished; HSTU over DIN is the other way round" in told


def test_a_contrast_is_compared_with_the_same_one_changed_world_by_world() -> None:
    from benchmarks.pages.study_order import explained
    from benchmarks.pages.study_rows import Study

    rows = [*in_worlds("laser", (2, 3, 4)), *in_worlds("no recency", (1.9, 2.9, 3.9), part="ablation")]
    rows += [*in_worlds("laser", (5, 5, 5), part="why", world="loud-active")]
    rows += [*in_worlds("no recency", (4.3, 4.4, 4.5), part="why", world="loud-active")]
    text = explained(Study(rows))
    # Gaps of -.7, -.6, -.5 where they were -.1: changes of -.6, -.5, -.4.
    assert "| -0.100 [-0.100, -0.100] | no recency - laser on loud-active | -0.600 [" in text
    assert "| -0.500 [-0.748, -0.252] | less |" in text


def test_a_training_that_two_parts_have_is_counted_once_and_servings_are_none() -> None:
    from benchmarks.pages.study_order import compared
    from benchmarks.pages.study_rows import Study

    laser = row("laser", 0.8, train_s=1.5)
    rows = [{**laser, "part": "ablation", "name": "M = 3", "train_seed": 0}, laser]
    rows += [row("no LN", 0.8, part="ablation", train_s=2.5), row("din", 0.8, train_s=3.5)]
    rows += [row("laser, short", 0.8, part="length", train_s=4.5)]
    rows += [row("laser, short served at 5", 0.8, part="length", train_s=4.5)]
    rows += [row("din", 0.8, train_s=5.5, train_seed=1)]
    text = compared(Study(rows))
    assert [line for line in text.splitlines() if line.endswith(" 1 |") or line.endswith(" 3 |")] == [
        "| order | tuned | `loud` 1 | 0, 1 | 3 |",
        "| ablation | tuned | `loud` 1 | 0 | 1 |",
        "| length | tuned | `loud` 1 | 0 | 1 |",
    ]
    assert "fewer training seeds than the other tuned models: laser." in text


def test_the_readme_gives_the_length_that_each_world_was_served_at() -> None:
    from benchmarks.pages.study import readme_block
    from benchmarks.pages.study_rows import Study

    rows = []
    for world, length in (("loud-10k", 10_000), ("quick", 1000)):
        for kind, gaps in (("full", (2, 2.2)), ("short", (1, 1.2)), ("base", (0, 0))):
            place: dict[str, Any] = {"part": "length", "world": world, "history": length}
            rows += in_worlds(f"laser, {kind}", gaps, **place)
    told = " ".join(readme_block(Study(rows)).split())
    assert "% on `loud-10k` (histories of 10,000; training read 100 % as much)" in told
    assert "% on `quick` (histories of 1,000; training read 100 % as much)" in told


def test_kept_quality_is_a_share_of_what_length_gains_in_each_world() -> None:
    from benchmarks.pages.study_parts import extrapolated, kept_of
    from benchmarks.pages.study_rows import Study

    rows = [
        *in_worlds("laser, full", (1, 2), part="length"),
        *in_worlds("laser, base", (0, 0), part="length"),
    ]
    rows += in_worlds("laser, short", (0.5, 1.8), part="length", train_s=1.0, behaviours_trained=2e6)
    kept = kept_of(rows, "loud", "laser, short", "laser")
    assert kept is not None
    assert kept.quality is not None
    assert kept.quality["pt"] == pytest.approx((50 + 90) / 2)
    assert (kept.seconds, kept.behaviours) == (0.25, 0.25)
    nothing = [*rows[2:], *in_worlds("laser, full", (1, -0.1), part="length")]
    assert kept_of(nothing, "loud", "laser, short", "laser").quality is None  # type: ignore[union-attr]
    assert "full gains nothing" in extrapolated(Study(nothing))


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    from benchmarks.pages.study_cost import against_cost, varied
    from benchmarks.pages.study_rows import Study, front

    points = [("a", 1.0, 0.1), ("b", 1.0, 0.2), ("c", 2.0, 0.2), ("d", 3.0, 0.3), ("e", 9.0, 0.25)]
    assert front(points) == ["b", "d"]
    rows = [*in_worlds("base", (0, 0)), *in_worlds("vista", (1, 1.2)), *in_worlds("laser", (0.5, 0.5))]
    rows += in_worlds("variant: tied", (0.3, 0.3), part="ablation", macs=1e6)
    timed = {"mode": "cpu", "history": 9, "width": 16, "options": {}, "requests": 20}
    names = {"base": 1.0, "vista": 4.0, "vista, summary kept": 2.0, "laser": 3.0, "variant: tied": 1.5}
    latency = [
        {**timed, "name": name, "candidates": 100, "p50_ms": value, "p99_ms": 2 * value}
        for name, value in names.items()
    ]
    latency.append({**timed, "name": "din", "candidates": 100, "p50_ms": None, "p99_ms": None, "requests": 0})
    latency[-1]["skipped"] = "no"
    text = against_cost(Study(rows, latency=latency))
    table = [line.split(" | ") for line in text.partition("### Latency")[0].splitlines() if " | " in line]
    cells = {line[0]: line[6] for line in table}
    found = {name: cells[f"| {name}"] for name in ("base", "vista", "vista, summary kept", "laser")}
    assert found == {"base": "**1**", "vista": "4", "vista, summary kept": "**2**", "laser": "3"}
    assert "Not timed: din: no." in text
    assert "Timed otherwise than judged: base (9 behaviours, judged with 10);" in text
    assert "| tied | laser | -0.200 [" in varied(Study(rows, latency=latency))
    assert "1.5 (0.50 x)" in varied(Study(rows, latency=latency))


def test_the_chosen_trial_is_the_best_over_all_tuning_worlds() -> None:
    from benchmarks.pages.study_order import tuned
    from benchmarks.pages.study_rows import Study

    tuning = {"part": "tuning", "model": "din"}
    first = [row(f"din/{t}", s, 11, trial=t, **tuning) for t, s in enumerate((0.70, 0.71, 0.72))]
    later = [row(f"din/{t}", s, 12, trial=t, **tuning) for t, s in enumerate((0.70, 0.73))]
    text = tuned(Study(tuning=[*first, *later]))
    # Trial 2 is better on the first world and did not go on.
    assert (
        "| din | 3 | 1 | default | 16 | 64 | 0.01 | 0.1 | +1.000 | +3.000 | 1.000 | +0.000, +1.000, +2.000 |"
        in text
    )


def test_the_block_goes_between_its_marks_and_nowhere_else() -> None:
    from benchmarks.pages.layout import with_block

    begin, end = "<!-- here:begin -->", "<!-- here:end -->"
    assert with_block(f"a\n{begin}\nold\n{end}\nz", "here", "new\n") == f"a\n{begin}\nnew\n{end}\nz"
    for broken in ("a", f"{end}\n{begin}", f"{begin}{begin}{end}", f"{begin}{end}{end}"):
        with pytest.raises(ValueError, match="each once"):
            with_block(broken, "here", "new\n")


def test_plots_show_every_model_and_labels_stay_inside() -> None:
    from benchmarks.pages.study_plots import HEIGHT, WIDTH, _label, _Scales, charts
    from benchmarks.pages.study_rows import Study

    rows = [*in_worlds("base", (0, 0)), *in_worlds("din", (1, 1.1), macs=8e6), *in_worlds("laser", (2, 2.1))]
    rows += in_worlds("no LN", (1.9, 1.8), part="ablation")
    found = {name: chart.to_dict() for name, chart in charts(Study(rows)).items()}
    assert sorted(found) == ["ablation", "macs", "order"]
    assert all(f'"{name}"' in json.dumps(found["macs"]) for name in ("base", "din", "laser"))
    points = [("crowded", 1.0, 1.0), ("crowd", 1.05, 1.01), ("crow", 1.1, 1.0), ("far", 9.0, 3.0)]
    scales = _Scales(points)
    places = {name: place for place, names in scales.labels(points, ["far"]).items() for name in names}
    boxes = [places[n].box(*scales._pixel(x, y), _label(n)) for n, x, y in points]
    assert all(a >= 0 and b <= WIDTH and c >= 0 and d <= HEIGHT for a, b, c, d in boxes)
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert one[0] >= other[1] or other[0] >= one[1] or one[2] >= other[3] or other[2] >= one[3]
