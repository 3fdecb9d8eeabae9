"""`laser-ab import kuairand` as a user meets it."""

import json
from pathlib import Path
from typing import Any

from kuairand_files import LOG_NAME, log_lines, write_kuairand
from typer.testing import CliRunner

from simulator.cli import app


def call(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_an_import_says_what_was_read_left_out_and_invented_and_what_is_next(tmp_path: Path) -> None:
    write_kuairand(tmp_path / "in", ["1,2,3", *log_lines()], compress=True)
    output = call("import", "kuairand", tmp_path / "in", "--out", tmp_path / "log").output
    assert f"too few or too many fields (a cut row) (first: {LOG_NAME}.gz:2)" in output
    for words in ("read, ", "repeats", "2022-04-25 to 2022-04-30", "P99", "AUC", "Invented", "CC BY-SA"):
        assert words in output
    assert f"laser-ab run examples/kuairand.toml --set traffic.log={tmp_path / 'log'}" in output


def test_json_is_one_document(tmp_path: Path) -> None:
    write_kuairand(tmp_path / "in")
    document = json.loads(
        call("import", "kuairand", tmp_path / "in", "--out", tmp_path / "log", "--json").stdout
    )
    assert document["log"] == str(tmp_path / "log")
    assert document["rows"]["kept"] == document["sizes"]["impressions"]


def test_damage_is_a_failure_in_one_line(tmp_path: Path) -> None:
    write_kuairand(tmp_path / "in", log_lines(), header="user;video")
    result = call("import", "kuairand", tmp_path / "in", "--out", tmp_path / "log", code=1)
    assert "line 1" in result.stderr
    assert "Traceback" not in result.output


def test_an_existing_folder_is_a_failure(tmp_path: Path) -> None:
    result = call("import", "kuairand", tmp_path, "--out", tmp_path, code=1)
    assert "Choose another --out" in result.stderr
