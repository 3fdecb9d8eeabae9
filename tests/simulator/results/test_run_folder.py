import errno
import json
import os
import subprocess
import sys
import textwrap
import threading
import time

import made_runs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.results.errors import ResultsError
from simulator.results.files import LOCK_NAME
from simulator.results.read import list_runs, list_sweeps, read_run, read_sweep
from simulator.results.run_folder import RunWriter, SweepWriter, free_folder
from simulator.results.schemas import ROW_GROUP_ROWS, SCHEMAS, SORTED_BY


def test_finished_run_reads_back_what_was_written(tmp_path):
    run = read_run(made_runs.write_run(tmp_path / "run"))
    assert run.status == "finished"
    assert run.problem is None
    assert run.scorecard == made_runs.scorecard()
    table = run.table("served")
    assert table.schema.equals(SCHEMAS["served"])
    wanted = made_runs.served()
    np.testing.assert_array_equal(table["request_id"].to_numpy(), wanted["request_id"])
    np.testing.assert_array_equal(table["latency_ms"].to_numpy(), wanted["latency_ms"])
    assert table["arm"].to_pylist() == wanted["arm"].tolist()
    assert run.manifest["finished"] is not None


def test_nan_becomes_null_and_never_zero(tmp_path):
    run = read_run(made_runs.write_run(tmp_path / "run"))
    prior = made_runs.served()["step"] == 2
    assert run.table("served", ["score_start_ms"]).column(0).null_count == prior.sum() > 0


def test_scorecard_turns_nan_and_numpy_into_json(tmp_path):
    with RunWriter.create(tmp_path / "run", {}) as writer:
        writer.write_scorecard({"a": np.float32("nan"), "n": np.int64(3), "ci": np.array([np.inf, 1.0])})
        writer.finish()
    assert json.loads((tmp_path / "run/scorecard.json").read_text()) == {"a": None, "n": 3, "ci": [None, 1.0]}


def test_a_scorecard_of_another_schema_is_refused(tmp_path):
    run = read_run(made_runs.write_run(tmp_path / "run", card={**made_runs.scorecard(), "schema_version": 1}))
    with pytest.raises(
        ResultsError, match=r"scorecard.json: found schema version 1, expected 2\. Read it with"
    ):
        _ = run.scorecard


def test_equal_tables_are_equal_bytes(tmp_path):
    a, b = (made_runs.write_run(tmp_path / name) / "served.parquet" for name in ("a", "b"))
    assert a.read_bytes() == b.read_bytes()


def test_bytes_do_not_depend_on_chunks_or_dictionary_order(tmp_path):
    columns = made_runs.served()
    plain = pa.table({**columns, "arm": columns["arm"].tolist()}).select(SCHEMAS["served"].names)
    shuffled = pa.DictionaryArray.from_arrays(
        pa.array((columns["arm"] == "control").astype(np.int8)), pa.array(["treatment", "control"])
    )
    plain = plain.set_column(0, "arm", shuffled)
    chunked = pa.concat_tables([plain.slice(0, 1000), plain.slice(1000)])
    with RunWriter.create(tmp_path / "a", {}) as one, RunWriter.create(tmp_path / "b", {}) as two:
        one.write_table("served", columns)
        two.write_table("served", chunked)
    assert (tmp_path / "a/served.parquet").read_bytes() == (tmp_path / "b/served.parquet").read_bytes()


def test_row_groups_are_fixed(tmp_path):
    rows = ROW_GROUP_ROWS + 10
    users = {name: np.zeros(rows, dtype=int) for name in SCHEMAS["users"].names} | {"arm": ["a"] * rows}
    with RunWriter.create(tmp_path / "run", {}) as writer:
        writer.write_table("users", users)
    meta = pq.read_metadata(tmp_path / "run" / "users.parquet")
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [ROW_GROUP_ROWS, 10]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"latency_ms": None}, "latency_ms"),
        ({"surprise": [1.0]}, "surprise"),
        ({"user_id": np.array([-1.0] * 200)}, "user_id"),
        ({"latency_ms": np.full(200, np.nan)}, "nulls"),
        ({"latency_ms": np.ones(3)}, "one length"),
    ],
)
def test_wrong_columns_are_refused_by_name(tmp_path, change, words):
    columns = {**made_runs.served(200), **change}
    columns = {key: value for key, value in columns.items() if value is not None}
    # served() has two arms: cut to the length the changes have
    columns = {key: value[:200] for key, value in columns.items()}
    with RunWriter.create(tmp_path / "run", {}) as writer, pytest.raises(ResultsError, match=words):
        writer.write_table("served", columns)
    assert not (tmp_path / "run/served.parquet").exists()


def test_every_table_has_a_sort_order_of_its_columns():
    assert SORTED_BY.keys() == SCHEMAS.keys()
    assert all(set(keys) <= set(SCHEMAS[name].names) for name, keys in SORTED_BY.items())


def test_finished_run_refuses_every_write(tmp_path):
    with RunWriter.create(tmp_path / "run", {}) as writer:
        writer.write_scorecard({})
        writer.finish()
        before = (tmp_path / "run/manifest.json").read_bytes()
        for write in (
            lambda: writer.write_scorecard({}),
            lambda: writer.write_table("users", made_runs.users()),
            lambda: writer.stage("x", 1, 1),
            lambda: writer.fail("no"),
            writer.finish,
        ):
            with pytest.raises(ResultsError, match="finished run"):
                write()
    assert (tmp_path / "run/manifest.json").read_bytes() == before
    with pytest.raises(ResultsError, match="never changes"):
        RunWriter.reopen(tmp_path / "run")


def test_taken_folder_is_left_alone_and_a_free_one_named(tmp_path):
    out = tmp_path / "run"
    assert free_folder(out) == out
    made_runs.write_run(out)
    (tmp_path / "run-2").mkdir()
    (tmp_path / "run-2" / "x").write_text("")
    before = (out / "manifest.json").read_bytes()
    with pytest.raises(ResultsError, match="run-3 is free"):
        RunWriter.create(out, {})
    assert free_folder(out) == tmp_path / "run-3"
    assert (out / "manifest.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-2"]


def test_create_under_a_file_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="could not be written") as caught:
        RunWriter.create(tmp_path / "file" / "run", {})
    assert "--resume" not in str(caught.value)


def test_a_disk_full_at_creation_advises_no_resuming(tmp_path, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultsError, match=r"run: found a full disk") as caught:
        RunWriter.create(tmp_path / "run", {})
    assert "--resume" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_running_interrupted_and_resumed(tmp_path):
    out = tmp_path / "run"
    with made_runs.running_run(out):
        assert read_run(out).status == "running"
        with pytest.raises(ResultsError, match="locked by a running process"):
            RunWriter.reopen(out)
    run = read_run(out)
    assert run.status == "interrupted"
    assert run.stages[-1].items() >= {"name": "train", "done": 300, "total": 1200}.items()
    assert run.scorecard is None
    with RunWriter.reopen(out) as writer:
        assert read_run(out).status == "running"
        assert "experiment.toml" in writer.manifest["files"]
        writer.write_scorecard({})
        writer.finish()
    assert read_run(out).status == "finished"


@pytest.mark.skipif(sys.platform == "win32", reason="no flock there")
def test_a_folder_that_somebody_is_about_to_let_go_of_is_waited_for(tmp_path):
    import fcntl

    with made_runs.running_run(tmp_path / "run"):
        pass
    # As a reader that asks whether the run is under way, and that the system lets wait meanwhile.
    with (tmp_path / "run" / LOCK_NAME).open() as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        threading.Timer(0.3, fcntl.flock, (reader, fcntl.LOCK_UN)).start()
        began_s = time.monotonic()
        with RunWriter.reopen(tmp_path / "run"):
            pass
        assert time.monotonic() - began_s >= 0.25


def test_killed_process_leaves_an_interrupted_run(tmp_path):
    code = textwrap.dedent(f"""
        import os
        from pathlib import Path
        from simulator.results.run_folder import RunWriter
        writer = RunWriter.create(Path({str(tmp_path / "run")!r}), {{}})
        writer.stage("train", 1, 10)
        os.kill(os.getpid(), 9)
    """)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert read_run(tmp_path / "run").status == "interrupted"


def test_exception_marks_the_run_failed_and_ctrl_c_interrupted(tmp_path):
    with pytest.raises(ZeroDivisionError), RunWriter.create(tmp_path / "a", {}):
        _ = 1 / 0
    assert read_run(tmp_path / "a").status == "failed"
    assert "ZeroDivisionError" in read_run(tmp_path / "a").manifest["error"]
    with pytest.raises(KeyboardInterrupt), RunWriter.create(tmp_path / "b", {}):
        raise KeyboardInterrupt
    assert read_run(tmp_path / "b").status == "interrupted"


def test_what_an_error_is_raised_amid_is_not_why_it_is_raised(tmp_path):
    def stop(*, hidden):
        try:
            (tmp_path / "nowhere").read_text()
        except OSError as error:
            if hidden:
                raise ValueError("a value that will not change") from None
            raise ValueError("the file may come back") from error

    for hidden in (False, True):
        with (
            pytest.raises(ValueError, match=r"the file|a value"),
            RunWriter.create(tmp_path / str(hidden), {}),
        ):
            stop(hidden=hidden)
    assert read_run(tmp_path / "False").resumable
    assert not read_run(tmp_path / "True").resumable


def test_finish_insists_on_the_scorecard(tmp_path):
    with (
        RunWriter.create(tmp_path / "run", {}) as writer,
        pytest.raises(ResultsError, match=r"scorecard\.json"),
    ):
        writer.finish()


@pytest.mark.parametrize("last_write", ["scorecard", "finish"])
def test_full_disk_never_leaves_a_finished_run(tmp_path, monkeypatch, last_write):
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = RunWriter.create(tmp_path / "run", {})
    if last_write == "finish":
        writer.write_scorecard({"a": 1})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultsError, match=r"full disk.*--resume"):
        writer.write_scorecard({"a": 2}) if last_write == "scorecard" else writer.finish()
    assert read_run(tmp_path / "run").status == "running"
    writer.abandon()
    assert read_run(tmp_path / "run").status == "interrupted"
    assert not list((tmp_path / "run").glob(".*"))


def test_progress_is_written_at_most_once_a_second(tmp_path, monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    with RunWriter.create(tmp_path / "run", {}) as writer:
        writer.stage("train", 0, 10_000)
        written = []
        for done in range(1, 2000):
            now_s[0] = done / 1000
            writer.stage("train", done, 10_000)
            found = (tmp_path / "run/manifest.json").stat()
            written.append((found.st_ino, found.st_mtime_ns))  # each write is a new file
        assert [done for done in range(1, 1999) if written[done] != written[done - 1]] == [999]
        writer.stage("train", 10_000, 10_000)
        (stage,) = read_run(tmp_path / "run").stages
        assert (stage["name"], stage["done"], stage["total"]) == ("train", 10_000, 10_000)


def test_the_manifest_keeps_what_every_stage_took(tmp_path):
    with RunWriter.create(tmp_path / "run", {}) as writer:
        writer.stage("sleep", 0, 1)
        time.sleep(0.2)
        writer.stage("sleep", 1, 1)
        writer.stage("work", 0, 1)
        began_s = time.process_time()
        while time.process_time() - began_s < 0.05:
            pass
        writer.stage("work", 1, 1)
        idle, busy = read_run(tmp_path / "run").stages
    assert idle["seconds"] >= 0.2
    assert idle["cpu_s"] < idle["seconds"] / 2
    assert busy["cpu_s"] >= 0.03
    assert 0 < idle["peak_gib"] <= busy["peak_gib"] < 100


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: (run / "served.parquet").write_bytes(b"PAR1"), "served.parquet: found 4 bytes"),
        (lambda run: (run / "served.parquet").unlink(), "served.parquet: is missing"),
        (lambda run: (run / "manifest.json").write_text('{"schema'), "manifest.json: is damaged"),
        (
            lambda run: (run / "scorecard.json").write_text(
                (run / "scorecard.json").read_text().replace('"lift"', '"lyft"')
            ),
            "scorecard.json: found another text",
        ),
        (lambda run: (run / "manifest.json").unlink(), "manifest.json: is missing"),
        (lambda run: (run / "manifest.json").write_text("[]"), "found a list"),
        (lambda run: (run / "manifest.json").write_text('{"schema_version": 99}'), "schema version 99"),
        (lambda run: (run / "scorecard.json").unlink(), "scorecard.json: is missing"),
    ],
)
def test_damage_is_reported_with_file_reason_and_remedy(tmp_path, damage, words):
    out = made_runs.write_run(tmp_path / "run", requests=200)
    damage(out)
    run = read_run(out)
    assert run.status == "damaged"
    assert words in str(run.problem)
    assert "laser-ab run" in run.problem.do or "release" in run.problem.do
    assert [found.status for found in list_runs(tmp_path)] == ["damaged"]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"files": ["served.parquet"]}, "files of another shape"),
        ({"files": {"scorecard.json": 12}}, "files of another shape"),
        ({"files": {"scorecard.json": {}}}, "files of another shape"),
        ({"files": {}}, "lists no scorecard.json"),
        ({"stages": "train"}, "stages of another shape"),
    ],
)
def test_a_manifest_of_another_shape_is_damage(tmp_path, entries, words):
    out = made_runs.write_run(tmp_path / "run", requests=200)
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**manifest, **entries}))
    run = read_run(out)
    assert run.status == "damaged"
    assert words in str(run.problem)


def test_damaged_or_missing_tables_raise_on_reading(tmp_path):
    out = made_runs.write_run(tmp_path / "run", requests=200)
    run = read_run(out)
    size = (out / "served.parquet").stat().st_size
    (out / "served.parquet").write_bytes(os.urandom(size))
    with pytest.raises(ResultsError, match=r"served.parquet: is damaged"):
        run.table("served")
    with pytest.raises(ResultsError, match=r"truth.parquet: not found"):
        run.table("truth")


def test_query_sees_the_tables_by_name(tmp_path):
    run = read_run(made_runs.write_run(tmp_path / "it's", requests=500))
    found = run.query("select arm, count(*) as n from served group by arm order by arm").to_pydict()
    assert found == {"arm": ["control", "treatment"], "n": [500, 500]}
    with pytest.raises(ResultsError, match="query failed"):
        run.query("select nothing from nowhere")


def test_lists_find_runs_and_sweeps_newest_first(tmp_path):
    made_runs.write_run(tmp_path / "a", requests=200)
    made_runs.write_run(tmp_path / "group" / "b", requests=200)
    made_runs.write_sweep(tmp_path / "s", (5, 10))
    (tmp_path / "other").mkdir()
    (tmp_path / "note.txt").write_text("")
    manifest = json.loads((tmp_path / "a/manifest.json").read_text())
    (tmp_path / "a/manifest.json").write_text(
        json.dumps({**manifest, "created": "2020-01-01T00:00:00+00:00"})
    )
    assert [run.path.name for run in list_runs(tmp_path)] == ["b", "a"]
    assert [run.path.name for run in list_runs(tmp_path / "a")] == ["a"]
    assert [sweep.path.name for sweep in list_sweeps(tmp_path)] == ["s"]
    assert list_runs(tmp_path / "nowhere") == []


def test_sweep_reads_back_and_resumes_by_cell(tmp_path):
    sweep = read_sweep(made_runs.write_sweep(tmp_path / "s", (5, 10)))
    assert sweep.cells == [0, 1]
    assert sweep.cell(1) == made_runs.scorecard()
    assert sweep.cell(2) is None
    assert set(sweep.table("sweep")["cell"].to_pylist()) == {0, 1}
    with pytest.raises(ResultsError, match="found a sweep, expected a run"):
        read_run(tmp_path / "s")
    with SweepWriter.create(tmp_path / "t", {}) as writer:
        writer.write_cell(3, {})
    with SweepWriter.reopen(tmp_path / "t") as again:
        assert again.has_cell(3)
        assert not again.has_cell(4)


@pytest.mark.parametrize("read", [read_run, read_sweep])
def test_reading_what_is_no_run_says_what_to_do(tmp_path, read):
    with pytest.raises(ResultsError, match="no such folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(ResultsError, match=r"no manifest.json"):
        read(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match="found a file, expected a run folder"):
        read(tmp_path / "file")


def test_results_import_neither_torch_nor_simpy():
    code = (
        "import sys, simulator.results.report, simulator.results.run_folder\n"
        "print([name for name in ('torch', 'simpy', 'duckdb', 'streamlit') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
