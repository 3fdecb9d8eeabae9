"""`laser-ab import kuairand` as a user meets it."""

import json
import resource
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kuairand_files import LOG_HEADER, LOG_NAME, VIDEO_NAME, log_lines, write_kuairand
from typer.testing import CliRunner

from simulator.cli import app
from simulator.commands.logs.import_log import _shows, next_command, preview_lines
from simulator.config.load import load_config
from simulator.logs.example import _SHIPPED, example_of
from simulator.logs.manifest import read_manifest


def call(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_an_import_says_what_was_read_left_out_and_invented_and_what_is_next(tmp_path: Path) -> None:
    write_kuairand(tmp_path / "in", ["1,2,3", *log_lines()], compress=True)
    output = call("import", "kuairand", tmp_path / "in", "--out", tmp_path / "log").output
    assert f"too few or too many fields (a cut row) (first: {LOG_NAME}.gz:2)" in output
    assert " advertisers, " in next(line for line in output.splitlines() if line.startswith("Found: "))
    for words in ("read, ", "repeats", "2022-04-25 to 2022-04-30", "P99", "AUC", "Invented", "CC BY-SA"):
        assert words in output
    assert f"laser-ab run examples/kuairand.toml --set traffic.log={tmp_path / 'log'}" in output


def test_the_next_command_of_any_table_reads_as_much_as_the_log_has(tmp_path: Path) -> None:
    write_kuairand(tmp_path / "in")
    said = call("import", "table", "kuairand", "--files", tmp_path / "in", "--out", tmp_path / "a shop")
    named = f"--set traffic.log='{tmp_path / 'a shop'}' --set experiment.name='a shop'"
    assert f"laser-ab run examples/kuairand.toml {named}" in said.output


@pytest.mark.parametrize(
    ("knowing", "example", "history"),
    [
        ({"200": 0.03, "1000": 0.0005}, "kuairand", 200),
        ({"200": 0.3, "1000": 0.01}, "complete-journey", 1000),
        ({"200": 0.0099, "1000": 0.0}, "kuairand", 100),
    ],
)
def test_the_next_example_reads_as_much_as_a_percent_of_the_requests_knows(
    knowing: dict[str, float], example: str, history: int, kuairand_log: Path
) -> None:
    manifest = {"histories": {"p99": 1500.0}, "shows": {"longer_than": knowing}}
    file, *overrides = next_command(manifest, kuairand_log).removeprefix("laser-ab run ").split(" --set ")
    assert Path(file).name == f"{example}.toml"
    config = load_config(file, overrides, environment={})
    assert config.arms["treatment"].history == history
    fits = example_of(manifest)
    assert fits.says == {"name": example, "load": config.traffic.load, "history": history}
    old = {"histories": {"p99": 1500.0}}
    assert example_of(old).name == "complete-journey"


def test_the_next_command_works_from_any_folder_and_without_a_checkout(
    kuairand_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log").symlink_to(kuairand_log)
    manifest = read_manifest(Path("log"))
    unpacked = tmp_path / "site" / "simulator" / "examples"
    shutil.copytree(_SHIPPED, unpacked)  # as a wheel is: without the repository's `examples/` beside it
    for shipped, named in (
        (_SHIPPED, _SHIPPED.parents[1] / "examples" / "kuairand.toml"),
        (unpacked, unpacked / "kuairand.toml"),
    ):
        monkeypatch.setattr("simulator.logs.example._SHIPPED", shipped)
        command = shlex.split(next_command(manifest, Path("log")))
        assert Path(command[2]).resolve() == named
        assert call("config", "check", *command[2:]).exit_code == 0


def test_a_small_share_is_not_printed_as_none() -> None:
    longer = {"10": 0.713, "200": 0.0289, "1000": 0.000479, "2000": 0.0}
    line = _shows({"longer_than": longer, "history_can_move_ctr": 0.1}, 2)[0]
    assert line.endswith("10: 71.3%, 200: 2.9%, 1000: 0.048%, 2000: 0.0%")


def test_json_is_one_document(tmp_path: Path) -> None:
    write_kuairand(tmp_path / "in")
    document = json.loads(
        call("import", "kuairand", tmp_path / "in", "--out", tmp_path / "log", "--json").stdout
    )
    assert document["log"] == str(tmp_path / "log")
    assert document["rows"]["kept"] == document["sizes"]["impressions"]


def test_a_dry_run_lists_the_ends_of_many_days_and_runs_of_empty_ones_in_a_line(tmp_path: Path) -> None:
    write_kuairand(tmp_path / "in")
    said = call("import", "table", "kuairand", "--files", tmp_path / "in", "--dry-run", "--json").stdout
    found = json.loads(said)

    def days(rows: dict[str, int]) -> list[str]:
        lines = preview_lines({**found, "rows_by_date": rows})
        return lines[lines.index("Days (rows):") + 1 : next(i for i, x in enumerate(lines) if "read, " in x)]

    assert days({"a": 1, "b": 0, "c": 0, "d": 0, "e": 2, "f": 0, "g": 1200}) == [
        *("  a 1", "  b to d: 3 days without a row", "  e 2", "  f 0", "  g 1,200")
    ]
    many = {f"day {number:02d}": 100 for number in range(60)}
    assert days(many) == [
        *(f"  day {number:02d} 100" for number in range(10)),
        "  ... 40 days with 4,000 rows ...",
        *(f"  day {number:02d} 100" for number in range(50, 60)),
    ]
    assert len(days(dict(list(many.items())[:40]))) == 40


def test_a_mapping_that_is_not_shipped_is_answered_with_those_that_are(tmp_path: Path) -> None:
    told = call("import", "table", "nosuch", "--out", tmp_path / "log", code=2).output
    assert "found neither a file nosuch nor a shipped mapping" in " ".join(told.replace("│", " ").split())
    assert "kuairand-random" in told
    assert "movielens" in told


def field(line: str, name: str, value: str) -> str:
    fields = line.split(",")
    fields[LOG_HEADER.split(",").index(name)] = value
    return ",".join(fields)


def rows(change: Callable[[str], str]) -> Callable[[Path], None]:
    """Every row of the log changed alike."""
    return lambda folder: rewrite(folder, [LOG_HEADER, *map(change, log_lines())])


def rewrite(folder: Path, lines: list[str]) -> None:
    (folder / LOG_NAME).write_text("\n".join(lines) + "\n")


def without_a_column(folder: Path) -> None:
    rewrite(folder, [",".join(line.split(",")[:-1]) for line in [LOG_HEADER, *log_lines()]])


def truncated_gzip(folder: Path) -> None:
    path = write_kuairand(folder, compress=True)
    path.write_bytes(path.read_bytes()[:20_000])
    for name in (LOG_NAME, VIDEO_NAME):
        (folder / name).unlink()


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another delimiter": (
        lambda folder: rewrite(folder, [line.replace(",", ";") for line in [LOG_HEADER, *log_lines()]]),
        f"{LOG_NAME}, line 1: fields are separated by semicolons, expected commas. "
        'State it in the mapping, delimiter = ";"',
    ),
    "a missing column": (without_a_column, f"{LOG_NAME}, line 1: no column tab"),
    "seconds": (
        rows(lambda line: field(line, "time_ms", line.split(",")[4][:-3])),
        f"{LOG_NAME}, line 2: time_ms is 1650816000, which looks like seconds, expected milliseconds",
    ),
    "a truncated gzip": (truncated_gzip, f"{LOG_NAME}.gz: gzip data ends or breaks after line "),
    "an empty file": (lambda folder: (folder / LOG_NAME).write_bytes(b""), f"{LOG_NAME} is empty"),
    "empty features": (lambda folder: (folder / VIDEO_NAME).write_bytes(b""), f"{VIDEO_NAME} is empty"),
    "a header alone": (lambda folder: rewrite(folder, [LOG_HEADER]), f"{LOG_NAME}, line 2: found no rows"),
    "no log": (
        lambda folder: (folder / LOG_NAME).unlink(),
        "has no exposure log (log_*.csv, log_*",
    ),
    "no features": (lambda folder: (folder / VIDEO_NAME).unlink(), "has no items (video_features_basic*.csv"),
    "a binary file": (
        lambda folder: (folder / LOG_NAME).write_bytes(bytes(range(256)) * 100),
        f"{LOG_NAME}, line 1: not UTF-8 text, expected text of columns",
    ),
    "a binary block": (
        lambda folder: (folder / LOG_NAME).write_bytes(
            "\n".join([LOG_HEADER, *log_lines()[:9], ""]).encode() + bytes(range(256)) * 100
        ),
        f"{LOG_NAME}, line 11: byte 0x00, which is no text, expected text in UTF-8",
    ),
    "many cut rows": (
        lambda folder: rewrite(folder, [LOG_HEADER, *(line[:20] for line in log_lines())]),
        f"{LOG_NAME}, line 2: ",
    ),
}


@pytest.mark.parametrize("damage", REFUSED)
def test_a_damaged_file_is_refused_by_name_and_line_and_leaves_nothing(
    damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, says = REFUSED[damage]
    write_kuairand(tmp_path / "in")
    make(tmp_path / "in")
    result = call("import", "kuairand", tmp_path / "in", "--out", tmp_path / "log", code=1)
    assert says in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert "Traceback" not in capfd.readouterr().err  # what pyarrow's own threads may say


def test_a_cut_row_is_reported_by_name_and_line(tmp_path: Path) -> None:
    lines = log_lines()
    write_kuairand(tmp_path / "in", [*lines[:40], lines[40][:20], *lines[41:]])
    output = call("import", "kuairand", tmp_path / "in", "--out", tmp_path / "log").output
    assert f"left out 1: too few or too many fields (a cut row) (first: {LOG_NAME}:42)" in output


def test_a_disk_that_is_full_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    write_kuairand(tmp_path / "in")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # the kernel's limit on a file's size
    try:
        result = call("import", "kuairand", tmp_path / "in", "--out", tmp_path / "log", code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_existing_folder_is_a_failure(tmp_path: Path) -> None:
    result = call("import", "kuairand", tmp_path, "--out", tmp_path, code=1)
    assert "Choose another --out" in result.stderr
