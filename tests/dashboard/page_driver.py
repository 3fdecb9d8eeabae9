"""The dashboard's pages driven without a browser: opened at a folder, and what stands on them."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import made_runs
import pyarrow as pa
from streamlit.testing.v1 import AppTest

import dashboard.app_pages

APP = Path(dashboard.app_pages.__file__).parents[1] / "app.py"
NAMES = ("runs", "scorecard", "latency", "what_if", "compare")
RUNS, SCORECARD, LATENCY, WHAT_IF, COMPARE = (f"app_pages/{name}.py" for name in NAMES)
PAGES = (SCORECARD, LATENCY, WHAT_IF)  # each about one result
PATIENCE_S = 600.0  # with a page, or a process, on a machine that is busy


def unopened() -> AppTest:
    """The dashboard before its first run."""
    return AppTest.from_file(str(APP), default_timeout=PATIENCE_S)


def until(true: Callable[[], object]) -> None:
    """Wait for something that comes."""
    end_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def opened(page: str, **query: str) -> AppTest:
    app = unopened()
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    if page != RUNS:
        app.switch_page(page)
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
    assert not app.exception
    assert "could not be drawn" not in texts(app)
    return app


def texts(app: AppTest) -> str:
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "success", "code")
    found = [element.value for kind in kinds for element in getattr(app, kind)]
    found += [f"{m.label} {m.value} {m.delta}" for m in app.metric]
    frames = [*app.dataframe, *app.table]
    found += [str(cell) for frame in frames for cell in frame.value.to_numpy().ravel()]
    return "\n".join(found)


def specs(app: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("vega_lite_chart")]


def make(state: str, folder: Path) -> None:
    """The same state for runs and sweeps."""
    if state == "interrupted":
        with made_runs.running_run(folder / "run"):
            pass
        with made_runs.SweepWriter.create(folder / "sweep", made_runs.manifest()) as writer:
            writer.stage("cells", 2, 9)
        return
    run, sweep = made_runs.write_run(folder / "run", requests=1500), made_runs.write_sweep(folder / "sweep")
    for path in (run, sweep):
        if state == "damaged":
            table = next(path.glob("*.parquet"))
            table.write_bytes(table.read_bytes()[:100])
        elif state == "failed":
            manifest = json.loads((path / "manifest.json").read_text())
            changed = {**manifest, "status": "failed", "error": "CheckpointError: laser.pt is damaged"}
            (path / "manifest.json").write_text(json.dumps(changed))


def drawn_rows(app: AppTest, chart: int) -> list[dict]:
    """The data of a chart, as it is sent to the browser."""
    (data,) = app.get("vega_lite_chart")[chart].proto.datasets
    return pa.ipc.open_stream(data.data.data).read_all().to_pylist()
