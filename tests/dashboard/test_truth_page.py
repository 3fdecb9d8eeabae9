"""What a closer look shows: the truth page, and the effect by day, by segment and by channel."""

import json
import sys
from pathlib import Path

import apart_tables
import made_runs
import pyarrow as pa
import pytest
import streamlit
from page_driver import SCORECARD, drawn_rows, opened, specs, texts, until
from streamlit.testing.v1 import AppTest

from dashboard.work import commands, jobs, places
from simulator.analysis.breakdown.whole import breakdown
from simulator.results import numbers, small
from simulator.results.beside import asked
from simulator.results.beside.measured import measured
from simulator.results.read import read_run
from simulator.results.run_folder import RunWriter

TRUTH = "app_pages/truth.py"
ARMS, FOR_WHOM, ELSEWHERE, INTERVALS, EARLY = (
    "Do the arms disturb each other?",
    "For whom is it true?",
    "Is it true elsewhere?",
    "How often are intervals wrong?",
    "What if one looks early?",
)
PART = {"log_lift": 0.01, "se": 0.002}
CHANNELS = {
    "treatments": [
        {
            "treatment": "treatment",
            "order": None,
            "metrics": {
                "advv_per_request": {
                    "true_lift": 0.0513,
                    **{"log_lift": 0.05, "se": 0.004},
                    "parts": dict.fromkeys(("model", "history", "serving", "prices", "budgets"), PART),
                }
            },
        }
    ]
}
WORLDS = {
    "name": "demo",
    "treatment": "treatment",
    "seeds": [7, 8],
    "level": 0.95,
    "metrics": {
        "advv_per_request": {
            "lift": 0.03, "worlds": 2, "sd_users": 0.004, "ci": [-0.02, 0.08], "sd": 0.01, "covers_zero": 0.5,
            "by_seed": [{"seed": k, "lift": lift, "se_log": 0.004} for k, lift in ((7, 0.02), (8, 0.04))],
        }
    },
    "thirds": {},
    "pairing": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def apart() -> dict:
    return breakdown(**apart_tables.tables(), arms=apart_tables.ARMS)


@pytest.fixture
def drawn(monkeypatch) -> list[list[dict]]:
    """The rows of every chart, as they were drawn."""
    charts, own = [], streamlit.vega_lite_chart

    def draw(spec, **options):
        (rows,) = spec["datasets"].values()
        charts.append(pa.Table.from_pandas(rows, preserve_index=False).to_pylist())
        return own(spec=spec, **options)

    monkeypatch.setattr(streamlit, "vega_lite_chart", draw)
    return charts


def with_key(charts: list[list[dict]], key: str) -> list[dict]:
    """The rows of the last chart that have a column."""
    return next(rows for rows in reversed(charts) if rows and key in rows[-1])


def made(folder: Path, **answers: dict) -> Path:
    """A finished run, and answers about it."""
    path = made_runs.write_run(folder / "run", requests=200)
    for command, answer in answers.items():
        asked.keep(read_run(path), command, answer)
    return path


def truth(question: str, **query: str) -> AppTest:
    return opened(TRUTH, question=question, **query)


@pytest.mark.parametrize("question", [ARMS, FOR_WHOM, ELSEWHERE])
def test_what_was_not_worked_out_shows_the_command_that_does(folder, question):
    path = made(folder)
    app = truth(question)
    command = {ARMS: "designs", FOR_WHOM: "breakdown", ELSEWHERE: "truth"}[question]
    assert any(code.value.startswith(f"laser-ab {command} {path}") for code in app.code)
    assert "Work it out" in [button.label for button in app.button]


def test_what_other_worlds_take_is_told_by_the_run_where_it_trained_its_models(folder):
    path = made(folder)
    assert "about 8 times what the run took." in texts(truth(ELSEWHERE))
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["stages"] = [{"name": "train", "seconds": 48.0}, {"name": "serve", "seconds": 27.0}]
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert "about 8 times what the run took, 10 min." in texts(truth(ELSEWHERE))


def test_a_read_only_dashboard_shows_the_command_and_no_button(folder, monkeypatch):
    made(folder)
    monkeypatch.setenv(places.READ_ONLY_VARIABLE, "1")
    app = truth(FOR_WHOM)
    assert any("laser-ab breakdown" in code.value for code in app.code)
    assert not app.button
    assert "read-only" in texts(truth(EARLY))


def test_without_runs_the_truth_page_shows_the_command_that_makes_one(folder):
    assert any("laser-ab demo" in code.value for code in opened(TRUTH).code)


def test_a_running_run_has_no_truth_yet(folder):
    with made_runs.running_run(folder / "run"):
        app = opened(TRUTH)
        assert "under way" in texts(app)
        assert "nothing yet in this running run" in texts(app)


def test_a_damaged_run_names_the_file(folder):
    path = made(folder)
    (path / "served.parquet").write_bytes(b"short")
    assert "served.parquet: found 5 bytes" in texts(opened(TRUTH))


def test_a_run_that_is_gone_is_named(folder):
    made(folder)
    app = opened(TRUTH, run="gone")
    assert "There is no run “gone”" in texts(app)
    assert not specs(app)


@pytest.mark.parametrize(
    ("true_lift", "why"), [(0.03, "holds it: the chance of one split"), (0.5, "leaves it out")]
)
def test_the_truth_page_begins_with_how_far_this_runs_estimate_is_off(folder, true_lift, why):
    card = made_runs.scorecard()
    card["arms"]["treatment"]["metrics"]["advv_per_request"]["true_lift"] = true_lift
    made_runs.write_run(folder / "run", card=card, requests=200)
    words = texts(truth(INTERVALS))
    assert f"the truth is {numbers.lift(true_lift)}; its 95% CI" in words
    assert why in words


def test_designs_of_the_run_are_drawn_as_they_were_found(folder, drawn):
    found = measured("designs")
    made(folder, designs=found)
    app = truth(ARMS)
    words = texts(app)
    for own in found["designs"].values():
        assert own["sentence"].replace("*", "") in words
    over_draws = numbers.lift(found["truth"]["advv_per_request"]["lift"])
    assert f"the true lift is {over_draws} (the run's own: +3.8%)" in words
    table = app.table[0].value
    assert list(table["Design"]) == list(found["designs"])
    first = found["designs"]["user split"]["metrics"]["advv_per_request"]
    assert table["Lift shown"][0] == numbers.lift(first["estimate"])
    assert {row["value"] for row in with_key(drawn, "design") if row["design"] == "user split"} == {
        first["bias"],
        first["interference"],
    }


def test_an_answer_about_the_run_that_was_here_before_is_not_shown(folder):
    path = made(folder, designs=measured("designs"))
    manifest = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(manifest.replace(read_run(path).created, "2020-01-01T00:00:00+00:00"))
    assert asked.kept(read_run(path), "designs") is None
    assert "Work it out" in [button.label for button in truth(ARMS).button]


def test_segments_show_estimate_truth_and_adjusted_p(folder, apart):
    made(folder, breakdown=apart)
    app = truth(FOR_WHOM, thirds="latency", segment_metric="CTR")
    records = [r for r in apart["treatments"]["treatment"]["segments"] if r["by"] == "latency"]
    table = app.table[0].value
    assert list(table["p, adjusted"]) == [numbers.p_value(r["metrics"]["ctr"]["p_holm"]) for r in records]
    for printed, record in zip(table["True lift"], records, strict=True):
        assert printed.startswith(numbers.lift(record["metrics"]["ctr"]["true_lift"]))
    assert len(specs(app)) == 1


def test_segments_of_too_few_users_show_no_estimate(folder):
    few = breakdown(**apart_tables.tables(120, 1_200), arms=apart_tables.ARMS)
    made(folder, breakdown=few)
    table = truth(FOR_WHOM).table[0].value
    assert set(table["Lift (95% CI)"]) == {numbers.NOT_ENOUGH}
    assert numbers.MISSING not in set(table["True lift"])


def test_with_many_arms_one_chooses_whose_segments_and_days(folder, apart):
    arms = {"control": made_runs.control(), "a": made_runs.treatment(), "b": made_runs.treatment()}
    path = made_runs.write_run(folder / "run", card=made_runs.scorecard(arms), requests=200)
    own = apart["treatments"]["treatment"]
    asked.keep(read_run(path), "breakdown", {"level": 0.95, "treatments": {"a": own, "b": own}})
    assert len(specs(truth(FOR_WHOM, arm="b"))) == 1
    assert "Of all days so far" in texts(opened(SCORECARD, closer="Effect by day", arm="b"))


def test_other_worlds_are_drawn_beside_their_mean(folder, drawn):
    made(folder, truth=WORLDS)
    app = truth(ELSEWHERE)
    labels = dict.fromkeys(row["label"] for row in with_key(drawn, "label"))
    assert list(labels) == ["seed 7", "seed 8", "all worlds"]
    assert "+3.0% (−2.0% to +8.0%)" in texts(app)


def test_the_certificate_is_what_was_measured(folder):
    made(folder)
    app = truth(INTERVALS)
    assert "8,000 to 10,000 simulated experiments" in texts(app)
    assert "Measured: 95% intervals of ratios cover" in texts(app)
    assert len(specs(app)) == 1
    assert "P99 latency, bursty traces" in {row["what"] for row in drawn_rows(app, 0)}


def test_the_peeking_lab_says_what_the_command_says(folder):
    made(folder)
    command = ["validate", "peek", "--looks", "3", "--users", "400", "--lift", "0.4", "--json"]
    assert "laser-ab validate peek --looks 14 --users 1400 --lift 0" in [c.value for c in truth(EARLY).code]
    app = truth(EARLY, looks="3", lab_users="400", lab_lift="40", lab="true")
    found = commands.laser_ab(*command)
    assert found.code == 0
    for rule in ("fixed", "group-sequential", "always-valid"):
        assert rule in list(app.table[0].value["Rule"])
    shares = {rule: one["called"] for rule, one in json.loads(found.out)["rules"].items()}
    printed = dict(zip(app.table[0].value["Rule"], app.table[0].value.iloc[:, 2], strict=True))
    assert {rule: text.partition(" ±")[0] for rule, text in printed.items()} == {
        rule: numbers.percent(share) for rule, share in shares.items()
    }


def test_nothing_closer_is_drawn_until_it_is_asked_for(folder, apart):
    made(folder, breakdown=apart, channels=CHANNELS)
    charts = len(specs(opened(SCORECARD)))
    for closer in ("Effect by day", "Segments", "Channels", "Certificate"):
        assert len(specs(opened(SCORECARD, closer=closer))) == charts + 1


def test_the_effect_by_day_has_its_always_valid_band(folder, apart, drawn):
    made(folder, breakdown=apart)
    days = apart["treatments"]["treatment"]["days"]["advv_per_request"]
    opened(SCORECARD, closer="Effect by day")
    rows = [row for row in with_key(drawn, "which") if row["low"] is not None]
    assert {row["day"]: (row["low"], row["high"]) for row in rows} == {
        day["day"]: day["always_valid"] for day in days
    }


def test_a_small_runs_days_have_no_band_and_say_so(folder, drawn):
    days = {"arm": ["control", "control", "treatment", "treatment"], "day": [1, 2, 1, 2]}
    zeros, ones = [0] * 4, [1.0] * 4
    days |= {"period": ["experiment"] * 4, "requests": [10] * 4, "missed": zeros, "degraded": zeros}
    days |= dict.fromkeys(("p50_ms", "p95_ms", "p99_ms", "p999_ms"), ones)
    days |= {"impressions": zeros, "clicks": zeros, "conversions": zeros, "revenue": ones}
    days |= {"advv": [10.0, 10.0, 20.0, 10.0], "true_requests": [20] * 4}
    days |= {f"expected_{name}": ones for name in ("impressions", "clicks", "conversions", "revenue")}
    days |= {"expected_advv": [10.0, 10.0, 10.0, 12.0]}
    with RunWriter.create(folder / "run", made_runs.manifest(small={"served_one_in": 2})) as writer:
        writer.write_table("days", days)
        writer.write_scorecard(made_runs.scorecard())
        writer.finish()
    app = opened(SCORECARD, closer="Effect by day")
    found = {(row["which"], row["day"]): row["lift"] for row in with_key(drawn, "which")}
    assert found == {
        ("Estimate of this A/B", 1): pytest.approx(1.0),
        ("Estimate of this A/B", 2): pytest.approx(0.5),
        ("True effect", 1): pytest.approx(0.0),
        ("True effect", 2): pytest.approx(0.1),
    }
    assert "there is no interval" in texts(app)
    assert "ask a whole run" in texts(opened(SCORECARD, closer="Segments"))


def test_channels_add_up_to_the_whole_on_the_chart(folder, drawn):
    made(folder, channels=CHANNELS)
    app = opened(SCORECARD, closer="Channels")
    rows = {row["channel"]: row["value"] for row in with_key(drawn, "channel")}
    assert rows.pop("together") == pytest.approx(sum(rows.values()))
    assert "The true lift is +5.1%" in texts(app)


PRETEND = """
import sys
from pathlib import Path
from simulator.results.beside import asked
from simulator.results.read import read_run
print("stage 1 of 2", flush=True)
if Path(sys.argv[2]).with_name("fail").exists():
    sys.exit("no world to be had")
asked.keep(read_run(sys.argv[2]), sys.argv[1], {"treatments": []})
"""


def test_what_is_asked_from_the_page_is_kept_and_shown(folder, monkeypatch):
    path = made(folder)
    monkeypatch.setattr(jobs, "command", lambda arguments: [sys.executable, "-c", PRETEND, *arguments])
    app = opened(SCORECARD, closer="Channels")
    (path.parent / "fail").touch()
    press(app)
    assert "no world to be had" in texts(waited(app, folder))
    (path.parent / "fail").unlink()
    press(app)
    assert "There is no effect to take apart" in texts(waited(app, folder))
    assert asked.kept(read_run(path), "channels") == {"treatments": []}
    # It is no experiment: nothing to be stopped or resumed on the run's pages.
    assert jobs.job_of(folder, "run") is None


def press(app: AppTest) -> None:
    next(button for button in app.button if button.label == "Work it out").click().run()


def waited(app: AppTest, folder: Path) -> AppTest:
    until(lambda: not any(jobs.alive(job) for job in jobs.jobs(folder)))
    return app.run()


def test_the_shipped_run_answers_what_needs_no_run_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv(places.RESULTS_VARIABLE, str(tmp_path))
    assert small.shipped_runs()
    app = truth(ARMS)
    assert "Example, not this run: a market" in str([expander.label for expander in app.expander])
    assert len(specs(app)) == 1
