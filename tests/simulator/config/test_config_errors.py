"""Every mistake is shown where it was written, all of them at once."""

import contextlib
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.config.load import ConfigError, Problem, load_config, parse_config
from simulator.config.locate import Place, locate_keys

GOOD = """seed = 7
[experiment]
budget_ms = "auto"

[traffic]
preset = "demo"   # a comment = "not a key"

[arms.control]
store = "lastn"
model = "din"
history = 50

[arms.treatment]
store = "seqvault"
model = "laser"
history = 1000
training = {batch = 64}
"""


def problems(text: str, **options: object) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source="bad.toml", **options)  # type: ignore[arg-type]
    return caught.value.problems


def only(text: str, **options: object) -> Problem:
    found = problems(text, **options)
    assert len(found) == 1, found
    return found[0]


def test_a_misspelt_key_is_pointed_at_with_a_suggestion() -> None:
    assert only(GOOD.replace("budget_ms", "budgetms")).render() == (
        "error: unknown key `budgetms` in [experiment]\n"
        "  --> bad.toml:3:1\n"
        '3 | budgetms = "auto"\n'
        "  | ^^^^^^^^\n"
        "  help: did you mean `budget_ms`?"
    )


def test_all_mistakes_are_reported_at_once_in_reading_order() -> None:
    text = GOOD.replace('"lastn"', '"lasn"').replace("= 50", "= 0").replace("seed = 7", "seed = -1")
    found = problems(text)
    assert [problem.place.line for problem in found if problem.place] == [1, 9, 11]
    assert found[1].help == "did you mean `lastn`?"


def test_the_worlds_names_are_reported_with_the_other_mistakes() -> None:
    text = GOOD.replace('"demo"', '"dem"\nworld = {usrs = 9}').replace("history = 50", "history = 0")
    assert [problem.place.line for problem in problems(text) if problem.place] == [6, 7, 12]


def test_lines_are_counted_as_toml_counts_them() -> None:
    found = only("# \u2028 a separator\r\n" + GOOD.replace("seed", "sed"))
    assert (found.place, found.line_text) == (Place(2, 1, 3), "sed = 7")


def test_inline_tables_point_at_their_parent() -> None:
    found = only(GOOD.replace("batch", "bach"))
    assert found.place == Place(17, 1, len("training"))
    assert found.help == "did you mean `batch`?"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("history = 50", "history = 0", "greater than or equal to 1"),
        ("history = 50", 'history = "50"', "expected a whole number"),
        ("history = 50", "history = true", "expected a whole number"),
        ("history = 50", "history = 50.5", "expected a whole number"),
        ('store = "lastn"', "store = 3", "expected a text"),
        ('budget_ms = "auto"', "split = 3", "expected a table"),
        ('"auto"', "1e308", "above 0 and at most"),
        ('"auto"', "-3", "expected a number above 0"),
        ('"auto"', '"soon"', '"auto" or "none"'),
        ('"auto"', "nan", "expected a number above 0"),
        ('budget_ms = "auto"', "level = 1.0", "less than or equal to 0.9999"),
        ('budget_ms = "auto"', "level = nan", "finite"),
        ('budget_ms = "auto"', "level = 1e-308", "greater than or equal to 0.5"),
        ("history = 50", "history = 1000000000000000", "less than or equal to 10000000"),
        ('preset = "demo"', 'preset = "demo"\nworld = {users = 1000000000000000}', "to 2,000,000,000"),
        ('preset = "demo"', 'preset = "demo"\nworld = {users = 1}', "found 1 user, expected at least"),
        (
            'preset = "demo"',
            'preset = "demo"\nworld = {requests = 1}',
            "found 1 request, expected at least 2",
        ),
        (
            'preset = "demo"',
            'preset = "demo"\nworld = {candidates = 1}',
            "found 1 candidate, expected at least 2",
        ),
        ('preset = "demo"', 'preset = "demo"\nworld = {bursts = ""}', "a list of bursts"),
        ('preset = "demo"', 'preset = "demo"\nworld = {bursts = [[1, 2]]}', "a list of bursts"),
        ('budget_ms = "auto"', 'feedback = "all"', "does not exist yet"),
        ('budget_ms = "auto"', 'unit = "page"', "user"),
        ('budget_ms = "auto"', 'device = "gpu"', "cuda:N"),
        ('budget_ms = "auto"', 'control = "contrl"', "control, treatment"),
        ('budget_ms = "auto"', "split = {control = 0.5, treatment = 0.4}", "sum to 0.9; expected 1"),
        ('budget_ms = "auto"', "split = {control = 1.0}", "every arm once"),
        ('preset = "demo"', 'preset = "dem"', "demo"),
        ('preset = "demo"', "load = 0.5", "missing key `preset`"),
        ('preset = "demo"', 'preset = "demo"\nload = 0', "greater than or equal to 0.000001"),
        ('preset = "demo"', 'log = "folder"', "does not exist, expected a log folder"),
        ('preset = "demo"', 'preset = "demo"\nlog = "folder"', "found both `preset` and `log`"),
        ('preset = "demo"', 'preset = "demo"\nworld = {users = 0}', "users is 0"),
        ('preset = "demo"', 'preset = "demo"\nworld = {usrs = 9}', "unknown key `usrs`"),
        ("[arms.control]", '[arms."Big one"]', "lower-case"),
        ('model = "din"\n', "", "missing key `arms.control.model`"),
        ('"din"', '"dni"', "no model"),
        ('"din"', '"my package:build"', "no model"),
    ],
)
def test_values_out_of_range_say_what_is_expected(old: str, new: str, says: str) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new, 1))
    assert says in found[0].message
    assert found[0].place is not None


def test_plugins_by_dotted_path_are_accepted() -> None:
    text = GOOD.replace('"lastn"', '"my.stores:open"').replace('"din"', '"my.models:build"')
    assert parse_config(text).arms["control"].store == "my.stores:open"


def test_one_arm_is_no_experiment() -> None:
    found = only(GOOD.partition("[arms.treatment]")[0])
    assert "at least two" in found.message
    assert found.place is not None
    assert found.place.line == 8


def test_an_empty_file_says_what_is_needed() -> None:
    assert [problem.message for problem in problems("")] == ["missing key `traffic`", "missing key `arms`"]


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("seed = 7\n[traffic]\npreset = demo\n", 3, 10),
        ("seed = 7\n[traffic\n", 2, 9),
        ("a = 1\na = 2\n", 2, 6),
    ],
)
def test_syntax_errors_point_at_their_place(text: str, line: int, column: int) -> None:
    found = only(text)
    assert found.message.startswith("not TOML")
    assert found.place is not None
    assert (found.place.line, found.place.column) == (line, column)


def test_a_text_that_ends_too_early_points_at_its_end() -> None:
    found = only('seed = 7\nname = """open')
    assert found.place is not None
    assert found.place.line == 2


def test_mistakes_in_flags_name_the_flag() -> None:
    assert only(GOOD, overrides=["experiment.level=2"]).source == "--set experiment.level=2"
    assert only(GOOD, overrides=["traffic.lod=2"]).help == "did you mean `load`?"
    assert only(GOOD, overrides=["nonsense"]).message == "expected KEY=VALUE"
    assert only(GOOD, overrides=["seed.x=1"]).message == "`seed` is a value, not a table"
    assert only(GOOD, overrides=["market.slots=99"]).source == "--set market.slots=99"
    assert only(GOOD, seed=-1).source == "--seed -1"


def test_mistakes_in_the_environment_name_the_variable() -> None:
    found = only(GOOD, environment={"LASER_AB_EXPERIMENT__LVEL": "0.9"})
    assert found.source == "environment variable LASER_AB_EXPERIMENT__LVEL"
    assert found.help == "did you mean `level`?"


def test_an_arm_half_given_by_a_flag_names_the_flag() -> None:
    found = problems(GOOD, overrides=["arms.x.store=lastn"])
    assert [problem.message for problem in found] == [
        "missing key `arms.x.model`",
        "missing key `arms.x.history`",
    ]
    assert {problem.source for problem in found} == {"--set arms.x.store=lastn"}


def test_an_override_of_a_misspelt_arm_is_shown_the_arm_it_meant() -> None:
    found = problems(GOOD, overrides=["arms.tretment.history=200"])
    assert {problem.help for problem in found} == {"did you mean `arms.treatment`?"}
    assert {problem.source for problem in found} == {"--set arms.tretment.history=200"}


def test_a_section_that_is_no_table_is_reported() -> None:
    assert problems('experiment = 3\ntraffic = "demo"\narms = [1]\n')


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "demo.toml").write_text(GOOD)
    with pytest.raises(ConfigError, match=r"did you mean .*demo\.toml"):
        load_config(tmp_path / "dem.toml")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD, encoding="utf-8-sig")
    (tmp_path / "b.toml").write_text(GOOD, encoding="utf-8")
    changes = ["experiment.name=same"]
    assert load_config(tmp_path / "a.toml", changes) == load_config(tmp_path / "b.toml", changes)


def test_a_file_that_is_not_text_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        load_config(tmp_path / "a.toml")
    assert "did you mean" not in str(caught.value)  # itself


def test_keys_are_found_in_every_form_toml_has() -> None:
    text = (
        "a = '''\nx = 1\n'''\n"  # a multi-line string is no key
        "b.c = [\n  1, # d = 2\n  2,\n]\n"
        '[t."quoted key"]\n'
        'e = "]\\" = "\n'
        "[[list]]\nf = 1\n[[list]]\nf = {g = 2}\n[list.sub]\nh = 1979-05-27\n"
    )
    places = locate_keys(text)
    assert places[("b", "c")] == Place(4, 1, 3)
    assert places[("t", "quoted key")].line == 8
    assert places[("t", "quoted key", "e")] == Place(9, 1, 1)
    assert places[("list", 0, "f")].line == 11
    assert places[("list", 1, "f")].line == 13
    assert places[("list", 1, "sub", "h")].line == 15
    assert not {("x",), ("d",), ("list", 1, "f", "g")} & set(places)


@given(st.text(alphabet=string.printable + "é\u2028", max_size=200))
def test_the_locator_ends_on_any_text(text: str) -> None:
    locate_keys(text)


@given(st.text(alphabet="[]{}=\"'#.,\n\tab1 ", max_size=80), st.integers(0, len(GOOD)))
def test_a_damaged_file_ends_in_a_config_error_or_is_fine(damage: str, at: int) -> None:
    with contextlib.suppress(ConfigError):
        parse_config(GOOD[:at] + damage + GOOD[at:])
