from pathlib import Path

import made_runs
import pytest

from simulator.results.schemas import SCHEMAS

DOCS = Path(__file__).parents[3] / "docs" / "results.md"


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_column_is_documented(name):
    text = DOCS.read_text(encoding="utf-8")
    assert f"**{name}**" in text or f"**{name}.parquet**" in text
    assert [column for column in SCHEMAS[name].names if f"`{column}`" not in text] == []


def test_reading_example_runs(tmp_path, monkeypatch, capsys):
    card = {**made_runs.scorecard(), "metrics": made_runs.METRICS}  # by role, as in a scorecard of two arms
    made_runs.write_run(tmp_path / "runs" / "demo", requests=200, card=card)
    monkeypatch.chdir(tmp_path)
    example = DOCS.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    exec(example)
    assert capsys.readouterr().out.startswith("finished 0.031")
