"""Tables of one's own: published values to their digits, and what cannot be analysed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tea_tasting as tt
from typer.testing import CliRunner

from simulator.analysis.columns import AnalysisError
from simulator.analysis.metrics import parse_metrics
from simulator.cli import app
from simulator.outside.analyze import Analysis, analyze
from simulator.outside.read import TableError
from simulator.results.report import render


def normal(total: float, squares: float, n: int) -> np.ndarray:
    """n values of exactly this sum and sum of squares."""
    x = np.random.default_rng(n).normal(size=n)
    spread = np.sqrt((squares - total**2 / n) / (n - 1))
    return np.asarray((x - x.mean()) / x.std(ddof=1) * spread + total / n)


def asked(*metrics: str, pre: tuple[str, ...] = (), **changes: Any) -> Analysis:
    found = {"unit": "user", "arm": "arm", "control": "c", "metrics": parse_metrics(metrics, pre)}
    return Analysis(**{**found, **changes})


def growthbook(folder: Path, control: int) -> Path:
    values = normal(1396.87, 52377.9767, control), normal(2422.7, 134698.29, 3461)
    arm = np.repeat(["c", "t"], [control, 3461])
    table = pd.DataFrame({"user": np.arange(len(arm)), "arm": arm, "y": np.concatenate(values)})
    table.to_csv(folder / "g.csv", index=False)
    return folder / "g.csv"


def test_growthbooks_difference_and_lift(tmp_path: Path) -> None:
    card = analyze(growthbook(tmp_path, 3407), asked("y=y"))
    entry = card["metrics"]["y"]
    assert entry["difference"]["value"] == pytest.approx(0.29, abs=5e-6)
    assert entry["difference"]["ci"] == pytest.approx([0.04538, 0.53462], abs=5e-6)
    assert entry["difference"]["p_value"] == pytest.approx(0.020158, abs=5e-7)
    assert entry["lift"] == pytest.approx(0.70732, abs=5e-6)
    assert entry["ci"] == pytest.approx([0.10517, 1.63754], abs=5e-6)
    assert card["verdict"]["decision"] == "ship"
    assert "that t improves y" in card["verdict"]["text"]
    printed = render(card, "text")
    assert "treatment" not in printed
    assert "control" not in printed


def test_growthbooks_always_valid_interval(tmp_path: Path) -> None:
    entry = analyze(growthbook(tmp_path, 3000), asked("y=y", sequential=1000))["metrics"]["y"]
    assert entry["lift"] == pytest.approx(0.50336, abs=5e-6)
    assert entry["ci"] == pytest.approx([-0.55844, 1.56516], abs=5e-6)
    assert entry["p_value"] is None


def test_growthbooks_theta(tmp_path: Path) -> None:
    table = {
        "user": range(8),
        "arm": ["c"] * 4 + ["t"] * 4,
        "y": [2, 1, 5, 3] * 2,
        "x": [0.3, 0.5, 0.9, 22] * 2,
    }
    pd.DataFrame(table).to_parquet(tmp_path / "t.parquet")
    entry = analyze(tmp_path / "t.parquet", asked("y=y", pre=("x",)))["metrics"]["y"]
    assert entry["theta"] == pytest.approx(0.01864, abs=5e-6)


def test_tea_tastings_published_data_in_both_formats(tmp_path: Path) -> None:
    data = tt.make_users_data(rng=42, covariates=True).to_pandas()
    data.to_parquet(tmp_path / "t.parquet")
    data.to_csv(tmp_path / "t.csv", index=False)
    question = asked(
        "orders=orders/sessions",
        "revenue=revenue",
        pre=("revenue=revenue_covariate",),
        arm="variant",
        control="0",
    )
    cards = [analyze(tmp_path / name, question) for name in ("t.parquet", "t.csv")]
    assert cards[0]["arms"] == cards[1]["arms"]
    orders, revenue = (cards[0]["metrics"][name] for name in ("orders", "revenue"))
    assert orders["difference"]["p_value"] == pytest.approx(0.0762, abs=5e-5)
    assert [orders["lift"], *orders["ci"]] == pytest.approx([0.088, -0.0089, 0.19], abs=0.005)
    assert revenue["difference"]["p_value"] == pytest.approx(0.00674, abs=5e-6)
    assert [revenue["lift"], *revenue["ci"]] == pytest.approx([0.14, 0.038, 0.26], abs=0.005)


def events(folder: Path) -> tuple[Path, Path]:
    """The same test as a row per event, and as a row per unit."""
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({"user": np.repeat(np.arange(600), rng.integers(1, 6, 600))})
    rows["arm"] = np.where(rows["user"] % 2, "t", "c")
    rows["click"], rows["shown"] = rng.integers(0, 2, len(rows)), 1
    rows["before"] = (rows["user"] * 7 % 13).astype(float)
    units = rows.groupby("user").agg(
        arm=("arm", "first"), click=("click", "sum"), shown=("shown", "sum"), before=("before", "first")
    )
    rows.sample(frac=1, random_state=1).to_parquet(folder / "events.parquet")
    units.reset_index().to_parquet(folder / "units.parquet")
    return folder / "events.parquet", folder / "units.parquet"


def test_events_count_as_their_units_totals_and_what_describes_a_unit_once(tmp_path: Path) -> None:
    one, other = (analyze(path, asked("ctr=click/shown", pre=("before",))) for path in events(tmp_path))
    for name in ("control", "lift", "ci", "se_log", "theta"):
        assert one["metrics"]["ctr"][name] == pytest.approx(other["metrics"]["ctr"][name], rel=1e-9), name
    assert one["metrics"]["ctr"]["n"] > other["metrics"]["ctr"]["n"] == 600
    assert "taken once" in " ".join(one["notes"])


def test_several_treatments_are_corrected_and_found_under_their_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    arm = np.arange(1_500) % 3
    y = rng.poisson(3, 1_500) * np.where(arm == 2, 1.3, 1.0)
    pd.DataFrame({"user": np.arange(1_500), "arm": np.array(["c", "a", "b"])[arm], "y": y}).to_csv(
        tmp_path / "t.csv", index=False
    )
    card = analyze(tmp_path / "t.csv", asked("y=y"))
    assert list(card["arms"]) == ["c", "a", "b"]
    for name in ("a", "b"):
        entry = card["arms"][name]["metrics"]["y"]
        assert entry["ci_together"][0] < entry["ci"][0] < entry["ci"][1] < entry["ci_together"][1]
        assert entry["p_value"] < entry["p_together"] <= 1
    assert card["arms"]["b"]["verdict"]["decision"] == "ship"
    assert card["verdict"]["decision"] == "ship"
    assert "Rules for a" in render(card, "text")


def test_a_negative_baseline_has_a_difference_and_no_lift(tmp_path: Path) -> None:
    y = np.tile([-3.0, -2.0, -1.0, -4.0], 100) + np.repeat([0, 1], 200)
    pd.DataFrame({"user": np.arange(400), "arm": np.repeat(["c", "t"], 200), "y": y}).to_csv(
        tmp_path / "t.csv", index=False
    )
    entry = analyze(tmp_path / "t.csv", asked("y=y"))["metrics"]["y"]
    assert (entry["lift"], entry["ci"]) == (None, None)
    assert entry["difference"]["value"] == pytest.approx(1.0)
    assert "more than 0" in entry["reason"]


def test_the_split_that_was_planned_is_checked(tmp_path: Path) -> None:
    arm = np.repeat(["c", "t"], [821, 815])
    pd.DataFrame({"user": np.arange(len(arm)), "arm": arm, "y": 1.0}).to_csv(tmp_path / "t.csv", index=False)
    assert analyze(tmp_path / "t.csv", asked("y=y"))["srm"]["status"] == "ok"
    uneven = asked("y=y", split={"c": 0.4, "t": 0.6})
    assert analyze(tmp_path / "t.csv", uneven)["verdict"]["decision"] == "invalid"


def test_a_capped_variant_is_not_ruled_by_one_unit(tmp_path: Path) -> None:
    y = np.random.default_rng(0).poisson(5, 1_000).astype(float)
    y[1] = 1e5
    pd.DataFrame({"user": np.arange(1_000), "arm": np.tile(["c", "t"], 500), "y": y}).to_csv(
        tmp_path / "t.csv", index=False
    )
    whole, capped = (analyze(tmp_path / "t.csv", asked("y=y", winsorise=w)) for w in (None, 0.99))
    assert "Heavy tail" in render(whole, "text")
    assert "Heavy tail" not in render(capped, "text")
    assert abs(capped["metrics"]["y"]["lift"]) < 0.1 < whole["metrics"]["y"]["lift"]
    assert "winsorised at 99 %" in capped["metrics"]["y"]["method"]


def test_names_are_printed_as_they_are(tmp_path: Path) -> None:
    table = pd.DataFrame({"user": range(400), "arm": ["c", "[/b]:cat:"] * 200, "[red]": [1, 2, 3, 4] * 100})
    table.to_csv(tmp_path / "t.csv", index=False)
    card = analyze(tmp_path / "t.csv", asked("[dim]=[red]"))
    for form in ("table", "text", "csv"):
        said = render(card, form)
        assert "[/b]:cat:" in said
        assert "[dim]" in said


def test_few_users_who_outweigh_the_rest_decide_nothing(tmp_path: Path) -> None:
    """A/A tests in which one user in 200 is a million times as heavy: nearly half were stopped or shipped."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(60):
        y = np.where(rng.random(400) < 0.005, 1e6, 1.0)
        pd.DataFrame({"user": range(400), "arm": ["c", "t"] * 200, "y": y}).to_parquet(tmp_path / "t.parquet")
        card = analyze(tmp_path / "t.parquet", asked("m=y"))
        if card["metrics"]["m"]["events"]["effective"] < 3:
            found.append(card["verdict"]["decision"])
            assert "outweigh the rest" in card["verdict"]["text"]
            assert "Heavy tail" in render(card, "text")
    assert len(found) > 20
    assert set(found) == {"inconclusive"}


ROWS = "user,arm,y,x\n1,c,1,2\n2,t,2,2\n3,c,1,1\n4,t,3,2\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("user,arm,y,x\n", "no rows"),
        (ROWS.replace("y", "why"), "no column 'y'"),
        (ROWS.replace("x", "y", 1), "2 columns 'y'"),
        (ROWS.replace(",t,", ",c,"), "at least two arms"),
        (ROWS.replace(",c,", ",d,"), "the control 'c'"),
        (ROWS.replace("2,t,2", "2,t,two"), "holds string, such as 'two'"),
        (ROWS.replace("2,t,2", "2,t,"), "1 values that cannot be added up, the first is no number in row 2"),
        (ROWS.replace("2,t,2", "2,t,nan"), "no number in row 2"),
        (ROWS.replace("2,t,2", "2,t,inf"), "inf in row 2"),
        (ROWS.replace("2,t,2", "2,t,1e300"), "1e\\+300 in row 2"),
        (ROWS.replace("3,c", "2,c"), "unit"),
        (ROWS.replace("2,t", "2,"), "'arm' is missing in 1 rows"),
        (ROWS.replace("2,t", ",t"), "'user' is missing in 1 rows"),
        (ROWS + "5,t\n", "cannot be read as CSV"),
        (ROWS.replace("2,2\n", "2,-2\n"), "below 0"),
    ],
)
def test_tables_that_cannot_be_analysed_say_why(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TableError, match=message):
        analyze(tmp_path / "t.csv", asked("m=y/x"))


def test_files_that_are_none_say_so(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="found nothing"):
        analyze(tmp_path / "t.csv", asked("m=y"))
    with pytest.raises(TableError, match="found a folder"):
        analyze(tmp_path, asked("m=y"))
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        analyze(tmp_path / "t.parquet", asked("m=y"))


@pytest.mark.parametrize(
    ("metrics", "pre", "message"),
    [
        (("y",), (), "NAME=TOP"),
        (("m=y/",), (), "TOP/BELOW"),
        (("m=y", "m=x"), (), "two metrics 'm'"),
        (("m=y", "n=y", "o=y"), ("a", "b"), "one for each"),
        (("m=y",), ("k=a",), "one for each"),
        ((), (), "no metric"),
    ],
)
def test_metrics_that_are_none_are_refused(
    metrics: tuple[str, ...], pre: tuple[str, ...], message: str
) -> None:
    with pytest.raises(AnalysisError, match=message):
        parse_metrics(metrics, pre)


def test_units_are_text_in_csv_and_separators_are_found(tmp_path: Path) -> None:
    rows = [f"{i:03d};{'ct'[i % 2]};{i % 5}" for i in range(40)] + [
        f"{i};{'ct'[i % 2]};{i % 7}" for i in range(40)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["\ufeffuser;arm;y", *rows]) + "\n", encoding="utf-8")
    assert analyze(tmp_path / "t.csv", asked("m=y"))["units"] == {"control": 40, "treatment": 40}


@pytest.mark.parametrize("scale", [1e-60, 1e-9, 1e9, 1e60])
def test_the_unit_of_a_column_changes_no_lift(tmp_path: Path, scale: float) -> None:
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"user": range(80), "arm": ["c", "t"] * 40, "y": rng.gamma(2, 1, 80)})
    table["x"] = rng.integers(1, 9, 80)
    found = []
    for times in (1, scale):
        table.assign(y=table.y * times).to_parquet(tmp_path / "t.parquet")
        entry = analyze(tmp_path / "t.parquet", asked("m=y/x"))["arms"]["t"]["metrics"]["m"]
        words = ("lift", "p_value", "se_log", "df", "mde")
        found.append([*(entry[word] for word in words), *entry["ci"], entry["difference"]["p_value"]])
    assert found[1] == pytest.approx(found[0], rel=1e-9)


def test_totals_that_cancel_have_a_card_in_three_arms_too(tmp_path: Path) -> None:
    """Refunds nearly undo sales: the ratio's error is beyond all numbers; the difference stays."""
    sales = np.resize([1e9, -1e9, 1e-3], 300)
    for arms in (["c", "t"], ["c", "t", "u"]):
        names = np.repeat(arms, 300)
        table = pd.DataFrame({"user": range(len(names)), "arm": names, "y": np.tile(sales, len(arms))})
        table.to_parquet(tmp_path / "t.parquet")
        own = analyze(tmp_path / "t.parquet", asked("m=y"))["arms"]["t"]
        assert own["metrics"]["m"]["ci"] == [-1.0, None]
        assert own["metrics"]["m"]["mde"] is None
        assert own["metrics"]["m"]["difference"]["p_value"] == pytest.approx(1.0)
        assert own["verdict"]["decision"] == "inconclusive"


def test_the_command_prints_the_card_and_fails_on_a_guardrail(tmp_path: Path) -> None:
    y = np.tile([1.0, 2.0, 3.0, 4.0], 200)
    table = pd.DataFrame({"user": np.arange(800), "arm": np.repeat(["c", "t"], 400), "y": y, "z": y})
    table.loc[table["arm"] == "t", "z"] *= 0.8
    table.to_csv(tmp_path / "t.csv", index=False)
    words = ["analyze", str(tmp_path / "t.csv"), "--unit", "user", "--arm", "arm", "--control", "c"]
    words += ["--metric", "y=y", "--metric", "z=z", "--guardrail", "z=0.05", "--json"]
    done = CliRunner().invoke(app, [*words, "--fail-on", "guardrail"])
    assert done.exit_code == 3
    card = json.loads(done.stdout)
    assert card["verdict"]["decision"] == "stop"
    assert card["metrics"]["z"]["role"] == "guardrail"
    done = CliRunner().invoke(app, [*words[:-3], "--guardrail", "q"])
    assert done.exit_code == 1
    assert "no metric 'q'" in done.stderr
