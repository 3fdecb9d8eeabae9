"""Any table becomes a log folder by its mapping file."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tables import MAP, MIDNIGHT_S, shown, write

from simulator.commands.logs.import_log import summary
from simulator.config.errors import ConfigError
from simulator.logs.folder import read_log
from simulator.logs.real_log import RealLog, split_days
from simulator.logs.table.importer import import_table, invented
from simulator.logs.table.shipped import shipped, shipped_names
from simulator.logs.table.staging.load import load_mapping
from simulator.logs.world import load_log_world
from simulator.traffic.trace import TraceError

ROWS = shown()
TWICE = """[behaviours]
files = ["a"]
user = "a"
time = "b"
action = {column = "c", click = [1], deep = ["1"]}
[impressions]"""


def imported(folder: Path, text: str = MAP) -> tuple[RealLog, dict[str, Any]]:
    (folder / "map.toml").write_text(text)
    manifest = import_table(load_mapping(folder / "map.toml"), folder / "log")
    return read_log(folder / "log")[0], manifest


def refused(folder: Path, text: str = MAP) -> str:
    (folder / "map.toml").write_text(text)
    with pytest.raises((TraceError, ConfigError)) as error:
        import_table(load_mapping(folder / "map.toml"), folder / "log")
    assert {path.name for path in folder.iterdir()} <= {"map.toml", "shown.csv", "shown.parquet", "more"}
    return str(error.value)


def columns(log: RealLog) -> dict[str, Any]:
    return {name: value for name, value in vars(log.impressions).items() if value is not None}


@pytest.mark.parametrize("form", ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])
def test_every_form_of_the_same_rows_gives_the_same_log(form: str, tmp_path: Path) -> None:
    write(tmp_path / "a" / f"shown.{form}", ROWS)
    write(tmp_path / "b" / "shown.csv", ROWS)
    for each in ("a", "b"):
        imported(tmp_path / each)
    for name in ("impressions", "requests", "behaviours", "catalogue", "response"):
        found, expected = (tmp_path / each / "log" / f"{name}.parquet" for each in ("a", "b"))
        assert found.read_bytes() == expected.read_bytes(), name


def test_fields_mean_what_the_mapping_says(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", ROWS)
    text = MAP + 'conversion = "bought"\ncategory = "vertical"\nadvertiser = "account"\nposition = "slot"\n'
    log, manifest = imported(tmp_path, text)
    rows = sorted(ROWS, key=lambda row: (row["ts"], row["uid"], row["creative"]))
    shown_ = log.impressions
    assert shown_.user_id.tolist() == [row["uid"] for row in rows]
    assert shown_.time_s.tolist() == [row["ts"] - MIDNIGHT_S for row in rows]
    assert log.ads.item_id[shown_.ad].tolist() == [row["creative"] for row in rows]
    assert shown_.click.tolist() == [row["clicked"] for row in rows]
    assert shown_.conversion.tolist() == [row["bought"] for row in rows]
    assert [f"v{c}" for c in log.ads.category[shown_.ad]] == [row["vertical"] for row in rows]
    assert log.ads.advertiser[shown_.ad].tolist() == [row["account"] for row in rows]
    assert shown_.position is not None
    assert shown_.position.tolist() == [row["slot"] - 1 for row in rows]
    assert manifest["rows"] == {"read": len(ROWS), "kept": len(ROWS), "dropped": {}}
    assert pq.read_table(tmp_path / "log" / "categories.parquet")["name"].to_pylist() == [
        "v0",
        "v1",
        "v2",
        "v3",
    ]


def test_text_ids_are_numbered_and_their_names_kept(tmp_path: Path) -> None:
    rows = [{**row, "uid": f"user-{row['uid']:03d}", "creative": f"ad {row['creative']}"} for row in ROWS]
    write(tmp_path / "shown.csv", rows)
    log, _ = imported(tmp_path)
    rows.sort(key=lambda row: (row["ts"], row["uid"], row["creative"]))
    for kind, found, raw in (
        ("users", log.impressions.user_id, "uid"),
        ("items", log.ads.item_id[log.impressions.ad], "creative"),
    ):
        table = pq.read_table(tmp_path / "log" / f"{kind}.parquet")
        names = dict(zip(table["id"].to_pylist(), table["name"].to_pylist(), strict=True))
        assert [names[number] for number in found.tolist()] == [row[raw] for row in rows]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("user", ['"uid"', '{sql = "uid::varchar"}'])
def test_zeros_in_front_tell_ids_apart(form: str, user: str, tmp_path: Path) -> None:
    def padded(number: int) -> str:
        return f"{number:05d}" if number % 2 else str(number)

    # Of each two numbers one is written as the other, but for zeros.
    ids = {number: padded(number) if number % 2 else str(number + 1) for number in range(200)}
    rows = [{**row, "uid": ids[row["uid"]], "creative": ids[row["creative"]]} for row in ROWS]
    rows = [{**row, "account": padded(row["account"]), "lost": [padded(901), "901"]} for row in rows]
    if form == "csv":
        rows = [{**row, "lost": "00901|901"} for row in rows]
    write(tmp_path / f"shown.{form}", rows)
    items = [{"id": name, "kind": f"k{number}"} for number, name in ids.items()]
    items += [{"id": "00901", "kind": "a"}, {"id": "901", "kind": "b"}]
    write(tmp_path / "items.csv", items)
    text = MAP.replace('"uid"', user).replace("item =", 'category = "items.kind"\nitem =')
    listed = '{column = "lost", split = "|"}' if form == "csv" else '"lost"'
    text += f'advertiser = "account"\ncandidates = {listed}\n[items]\nfiles = ["items.csv"]\nkey = "id"\n'
    log, manifest = imported(tmp_path, text)
    assert manifest["sizes"]["users"] == len({row["uid"] for row in rows})
    names = {}
    for kind in ("users", "items", "categories", "advertisers"):
        table = pq.read_table(tmp_path / "log" / f"{kind}.parquet")
        names[kind] = dict(zip(table["id"].to_pylist(), table["name"].to_pylist(), strict=True))
    found = {
        (names["users"][user], names["items"][log.ads.item_id[ad]])
        for user, ad in zip(log.impressions.user_id.tolist(), log.impressions.ad.tolist(), strict=True)
    }
    assert found == {(row["uid"], row["creative"]) for row in rows}
    shown_items = [names["items"][item] for item in log.ads.item_id.tolist()]
    assert {"00901", "901"} <= set(shown_items)
    kind_of = {item["id"]: item["kind"] for item in items}
    assert [names["categories"][c] for c in log.ads.category.tolist()] == [kind_of[i] for i in shown_items]
    assert {row["account"] for row in rows} <= set(names["advertisers"].values())


def test_zeros_in_front_of_ids_only_count_where_they_are(tmp_path: Path) -> None:
    rows = [{**row, "slot": f"{row['slot']:02d}", "ts": f"0{row['ts']}"} for row in ROWS]
    for name, some in (("padded", rows), ("plain", ROWS)):
        write(tmp_path / name / "shown.csv", some)
        imported(tmp_path / name, MAP + 'position = "slot"\n')
    for table in ("impressions", "requests", "behaviours", "catalogue", "response"):
        of = [(tmp_path / name / "log" / f"{table}.parquet").read_bytes() for name in ("padded", "plain")]
        assert of[0] == of[1]


def test_ids_wider_than_the_contract_are_numbered(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", [{**row, "uid": row["uid"] + 2**63} for row in ROWS])
    log, _ = imported(tmp_path)
    assert log.impressions.user_id.max() < len(ROWS)
    assert pq.read_table(tmp_path / "log" / "users.parquet")["name"][0].as_py() == str(2**63 + 1)


@pytest.mark.parametrize(
    ("spelling", "time"),
    [
        (lambda s: s * 1000, '{column = "ts", unit = "ms"}'),
        (lambda s: s * 1_000_000, '{column = "ts", unit = "us"}'),
        (lambda s: str(np.datetime64(s, "s")) + "Z", '{column = "ts", unit = "iso"}'),
        (lambda s: str(np.datetime64(s + 7200, "s")) + "+02:00", '{column = "ts", unit = "iso"}'),
        (lambda s: str(np.datetime64(s, "s")).replace("T", " "), '"ts"'),
        (
            lambda s: np.datetime64(s, "s").item().strftime("%Y%m%d%H%M%S"),
            '{column = "ts", format = "%Y%m%d%H%M%S"}',
        ),
    ],
)
def test_every_spelling_of_a_time_is_the_same_moment(spelling: Any, time: str, tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", [{**row, "ts": spelling(row["ts"])} for row in ROWS])
    log, _ = imported(tmp_path, MAP.replace('{column = "ts", unit = "s"}', time))
    assert log.impressions.time_s.tolist() == [row["ts"] - MIDNIGHT_S for row in ROWS]


def test_days_and_hours_are_local_and_summer_time_moves_the_hour(tmp_path: Path) -> None:
    # Clocks in Berlin went forward on 29 March 2026, two days into this log.
    shift = int(np.datetime64("2026-03-27T00:00:00", "s").astype(int)) - MIDNIGHT_S - 3600
    write(tmp_path / "shown.csv", [{**row, "ts": row["ts"] + shift} for row in ROWS])
    log, manifest = imported(tmp_path, MAP.replace('"UTC"', '"Europe/Berlin"'))
    assert (manifest["first_date"], manifest["last_date"]) == ("2026-03-27", "2026-04-01")
    time_s = log.impressions.time_s
    after = time_s >= 2 * 86_400 + 2 * 3600
    np.testing.assert_allclose(log.impressions.hour[~after], time_s[~after] % 86_400 / 3600, atol=1e-3)
    np.testing.assert_allclose(
        log.impressions.hour[after], np.minimum((time_s[after] + 3600) % 86_400 / 3600, 23.999), atol=1e-3
    )


def test_behaviours_apart_are_the_histories_even_from_before_the_log(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", ROWS)
    did = [
        {
            "who": 1 + i % 20,
            "at": MIDNIGHT_S - 40 * 86_400 + i * 3600,
            "kind": ("view", "buy")[i % 2],
            "what": f"v{i % 6}",
        }
        for i in range(700)
    ]
    write(tmp_path / "more" / "did.csv", [*did, {**did[0], "who": 999}])
    text = (
        MAP
        + """
category = "vertical"
[behaviours]
files = ["more/did.csv"]
user = "who"
time = {column = "at", unit = "s"}
category = "what"
action = {column = "kind", short = ["view"], deep = ["buy"]}
"""
    )
    log, manifest = imported(tmp_path, text)
    assert manifest["rows"]["dropped"] == {"behaviours of users never shown an ad": {"rows": 1, "first": []}}
    own = {user: [row for row in did if row["who"] == user] for user in log.behaviours.users.tolist()}
    assert len(own) == 30  # ten of them with an empty history
    for number, (user, rows) in enumerate(own.items()):
        mine = slice(*log.behaviours.offsets[number : number + 2])
        assert log.behaviours.time_s[mine].tolist() == [row["at"] - MIDNIGHT_S for row in rows], user
        assert [f"v{c}" for c in log.behaviours.category[mine]] == [row["what"] for row in rows]
        assert log.behaviours.action[mine].tolist() == [2 * (row["kind"] == "buy") for row in rows]
    assert log.behaviours.time_s.min() == -40 * 86_400
    world = load_log_world(tmp_path / "log", 7, split_days(6))
    assert world.sizes.categories == 6
    assert np.isfinite(
        world.response(np.arange(9), world.requests.candidates[:9].astype(np.int64), 0)[0]
    ).all()


def test_items_of_behaviours_that_were_never_shown_have_their_own_category(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", ROWS)
    did = [
        {"who": 1 + i % 30, "at": MIDNIGHT_S + i * 60, "item": 100 + i % 90, "what": f"w{i % 6}"}
        for i in range(700)
    ]
    write(tmp_path / "more" / "did.csv", did)
    text = (
        MAP + 'category = "vertical"\n[behaviours]\nfiles = ["more/did.csv"]\nuser = "who"\nitem = "item"\n'
    )
    log, _ = imported(tmp_path, text + 'time = {column = "at", unit = "s"}\ncategory = "what"\n')
    names = pq.read_table(tmp_path / "log" / "categories.parquet")["name"].to_pylist()
    by_moment = {(row["who"], row["at"] - MIDNIGHT_S): row for row in did}
    users = log.behaviours.user_id.tolist()
    for row, moment in enumerate(zip(users, log.behaviours.time_s.tolist(), strict=True)):
        raw = by_moment[moment]
        assert log.behaviours.item_id[row] == raw["item"]
        assert names[log.behaviours.category[row]] == raw["what"]
    assert [names[c] for c in log.ads.category] == [f"v{(i - 100) % 4}" for i in log.ads.item_id.tolist()]


def test_listed_candidates_come_first_and_unshown_ones_join_the_catalogue(tmp_path: Path) -> None:
    rows = [{**row, "lost": [row["creative"] + 1, 900 + i % 3]} for i, row in enumerate(ROWS)]
    write(tmp_path / "shown.jsonl", rows)
    log, _ = imported(tmp_path, MAP + 'candidates = "lost"\nwidth = 5\n')
    assert {900, 901, 902} <= set(log.ads.item_id.tolist())
    row_of = {(row["uid"], row["ts"] - MIDNIGHT_S): row for row in rows}
    for r in range(0, len(log.requests), 50):
        row = row_of[int(log.requests.user_id[r]), int(log.requests.arrival_s[r])]
        found = set(log.ads.item_id[log.requests.candidates[r].astype(int)].tolist())
        assert len(found) == 5
        assert {row["creative"], row["creative"] + 1, row["lost"][1]} <= found


def test_named_requests_are_one_page(tmp_path: Path) -> None:
    rows = [{**row, "uid": 1 + (i // 3) % 29, "page": f"p{i // 3}"} for i, row in enumerate(ROWS)]
    write(tmp_path / "shown.csv", rows)
    log, _ = imported(tmp_path, MAP + 'request = "page"\n')
    assert len(log.requests) == len(ROWS) / 3
    assert np.bincount(log.impressions.request_id.astype(int)).tolist() == [3] * len(log.requests)


def test_items_are_joined_and_filters_and_dates_keep_rows_out(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", ROWS)
    write(tmp_path / "more" / "items.csv", [{"id": i + 100, "tags": f"t{i % 5}|x"} for i in range(40)])
    text = MAP.replace('"UTC"\n', '"UTC"\nwhere = "slot <> \'3\'"\nfrom = "2026-01-02"\nto = "2026-01-06"\n')
    text += 'category = {column = "items.tags", first_of = "|"}\n'
    text += '[items]\nfiles = ["more/items.csv"]\nkey = "id"\n'
    log, manifest = imported(tmp_path, text)
    kept = [r for r in ROWS if r["slot"] != 3 and 1 <= (r["ts"] - MIDNIGHT_S) // 86_400 < 5]
    assert len(log.impressions) == len(kept)
    assert (manifest["first_date"], manifest["days"]) == ("2026-01-02", 4)
    assert log.ads.category.tolist() == [(int(i) - 100) % 5 for i in log.ads.item_id]
    chosen = sum(row["slot"] != 3 for row in ROWS)
    assert manifest["rows"]["dropped"] == {
        "not chosen by `where`": {"rows": len(ROWS) - chosen, "first": []},
        "outside of `from` and `to`": {"rows": chosen - len(kept), "first": []},
    }


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("where = \"slot <> '3'\"", "not chosen by `where`"),
        ("from = 2026-01-02", "outside of `from` and `to`"),
    ],
)
def test_what_is_not_asked_for_is_counted_and_no_damage(key: str, said: str, tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", [*ROWS, {**ROWS[-1], "clicked": 7}])
    log, manifest = imported(tmp_path, MAP.replace("[impressions]", f"{key}\n[impressions]"))
    dropped = manifest["rows"]["dropped"]
    assert dropped[said]["rows"] == len(ROWS) - len(log.impressions) > 100
    assert sum(entry["rows"] for entry in dropped.values()) == len(ROWS) + 1 - len(log.impressions)


def test_what_is_invented_of_actions_is_what_histories_hold(tmp_path: Path) -> None:
    def of_actions(text: str) -> list[str]:
        (tmp_path / "map.toml").write_text(text)
        return [said for said in invented(load_mapping(tmp_path / "map.toml").mapping) if "action" in said]

    assert of_actions(MAP) == ["An action is a click where the impression was clicked, and else short."]
    beside = MAP + '[behaviours]\nfiles = ["did.csv"]\nuser = "uid"\ntime = "ts"\n'
    assert of_actions(beside) == ["The log names no actions of behaviours: each is a click."]
    assert of_actions(beside + 'action = "did"\n') == []


@pytest.mark.parametrize("encoding", ["", 'encoding = "utf-8"\n', 'encoding = "utf-8-sig"\n'])
@pytest.mark.parametrize("headed", [True, False])
def test_a_mark_at_the_beginning_of_text_means_nothing(encoding: str, headed: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "shown.csv", ROWS)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines if headed else lines[1:]), encoding="utf-8-sig")
    names = "" if headed else f"columns = {list(ROWS[0])}\n"
    log, _ = imported(tmp_path, MAP.replace("[impressions]", f"{encoding}{names}[impressions]"))
    assert log.impressions.user_id.tolist()[:3] == [row["uid"] for row in ROWS[:3]]
    assert len(log.impressions) == len(ROWS)


def test_behaviours_that_are_not_asked_for_are_counted_too(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", ROWS)
    write(tmp_path / "more" / "did.csv", ROWS)
    text = MAP + "[behaviours]\nfiles = ['more/did.csv']\nuser = 'uid'\ntime = {column = 'ts', unit = 's'}\n"
    _, manifest = imported(tmp_path, text + "item = 'creative'\nwhere = \"clicked = '1'\"\n")
    left_out = sum(not row["clicked"] for row in ROWS)
    assert manifest["rows"]["dropped"]["behaviours not chosen by `where`"]["rows"] == left_out


def test_what_is_not_mapped_is_listed_as_invented(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", ROWS)
    text = " ".join(imported(tmp_path)[1]["invented"])
    for word in ("no advertisers", "no conversions", "no categories", "Candidates", "tCPA", "no position"):
        assert word in text


def test_conversions_are_judged_where_the_mapping_names_some_and_not_where_they_were_drawn(
    tmp_path: Path,
) -> None:
    write(tmp_path / "shown.csv", ROWS)
    drawn = summary(imported(tmp_path)[1])
    assert [line for line in drawn if line.startswith("  conversion")] == [
        "  conversion: drawn, not logged: not judged"
    ]
    (tmp_path / "named").mkdir()
    write(tmp_path / "named" / "shown.csv", ROWS)
    named = summary(imported(tmp_path / "named", MAP + 'conversion = "bought"\n')[1])
    assert sum(line.startswith("  conversion, ") and "AUC" in line for line in named) == 2


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", ROWS)
    (tmp_path / "map.toml").write_text(MAP)
    out = tmp_path / "it's [1] of *?" / "log"
    assert import_table(load_mapping(tmp_path / "map.toml"), out)["rows"]["kept"] == len(ROWS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("click =", "clik ="),
            ["unknown key `clik` in [impressions]", "map.toml:11:1", "did you mean `click`?"],
        ),
        (('"UTC"', '"Mars/Base"'), ["source.time_zone", "Mars/Base", "IANA"]),
        (('unit = "s"', 'unit = "weeks"'), ["impressions.time", "weeks", "expected"]),
        (
            ('unit = "s"', 'format = "m/d/yyyy"'),
            ["impressions.time.format", "map.toml:9:1", 'parts begin with %, such as "%m/%d/%Y"'],
        ),
        (('unit = "s"', 'format = "%m/%Q"'), ["impressions.time.format", "map.toml:9:1", '"%m/%d/%Y"']),
        (('item = "creative"\n', ""), ["missing key `impressions.item`"]),
        (
            ('click = "clicked"', 'click = {sql = "clickd = 1"}'),
            ["impressions.click", "clickd", "map.toml:11:1"],
        ),
        (
            ('click = "clicked"', 'click = {sql = "at = 1"}'),
            ["impressions.click", "syntax error", "that SQL reserves stands in double quotes"],
        ),
        (('click = "clicked"', 'click = "cliked"'), ["shown.csv, line 1: no column cliked"]),
        (('click = "clicked"', 'click = {column = "a", sql = "b"}'), ["either `column` or `sql`"]),
        (
            ("[impressions]", "[impressions]\ncategory = 'items.a'"),
            ["`impressions.category`: is read from the items, and there is no [items]", "map.toml:8:1"],
        ),
        (
            ('click = "clicked"', 'click = {sql = "clickd = 1"}'),
            ["did you mean clicked? the columns are uid, ts, creative"],
        ),
        (
            ('click = "clicked"', 'click = {sql = "row_number() over () < 3"}'),
            ["`impressions.click`: row_number is a window over rows", "map.toml:11:1", "it sees one row"],
        ),
        (
            ('click = "clicked"', 'click = {sql = "1 + sum(ts) > 3"}'),
            ["`impressions.click`: sum is an aggregate over rows", "map.toml:11:1"],
        ),
        (
            ('click = "clicked"', 'click = {sql = "clicked and random() < .5"}'),
            ["`impressions.click`: random gives something else each time", "md5_number_lower(uid)"],
        ),
        (
            ('time_zone = "UTC"', 'time_zone = "UTC"\nwhere = "ts < epoch(now())"'),
            ["`source.where`: now gives something else", "map.toml:6:1"],
        ),
        (("[impressions]", "[behaviours]"), ["found no [impressions] beside [behaviours]", "map.toml:7:2"]),
        (("[impressions]", "[impression]"), ["found no [impressions], expected what was shown"]),
        (("[impressions]", TWICE), ["behaviours.action", "found 1 more than once, expected one action"]),
    ],
)
def test_a_wrong_mapping_is_refused_where_it_is_wrong(
    change: tuple[str, str], says: list[str], tmp_path: Path
) -> None:
    write(tmp_path / "shown.csv", ROWS)
    told = refused(tmp_path, MAP.replace(*change))
    assert all(word in told for word in says), told


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_mappings_are_valid(name: str) -> None:
    assert load_mapping(shipped(name)).mapping.source.licence != "not stated"


def test_an_expression_may_gather_the_elements_of_a_list(tmp_path: Path) -> None:
    write(tmp_path / "shown.jsonl", [{**row, "of": f"{row['clicked']},0"} for row in ROWS])
    sql = "(select max(x) from (select unnest(str_split(of, ',')) as x)) = '1'"
    log, _ = imported(tmp_path, MAP.replace('"clicked"', f'{{sql = "{sql}"}}'))
    assert log.impressions.click.sum() == sum(row["clicked"] for row in ROWS)


def test_rows_of_one_request_and_item_are_an_impression_and_what_came_of_it(tmp_path: Path) -> None:
    rows = [{**row, "page": f"p{i}", "kind": "shown"} for i, row in enumerate(ROWS)]
    clicks = [{**row, "ts": row["ts"] + 40, "kind": "click"} for row in rows[:600:7]]
    bought = [{**row, "ts": row["ts"] + 90, "kind": "buy"} for row in rows[:600:14]]
    write(tmp_path / "shown.csv", [*bought, *rows, *clicks])
    text = MAP.replace('click = "clicked"', 'click = {column = "kind", equals = ["click", "buy"]}')
    text += 'conversion = {column = "kind", equals = ["buy"]}\nrequest = "page"\nrepeats = "request"\n'
    log, manifest = imported(tmp_path, text)
    shown_ = log.impressions
    assert shown_.time_s.tolist() == sorted(row["ts"] - MIDNIGHT_S for row in ROWS)
    assert (shown_.click.sum(), shown_.conversion.sum()) == (len(clicks), len(bought))
    merged = manifest["rows"]["dropped"]["rows of one request and item, merged"]["rows"]
    assert merged == len(clicks) + len(bought)
    assert not any("rows of their own" in remark for remark in manifest["remarks"])


def test_clicks_that_look_like_rows_of_their_own_are_remarked_on(tmp_path: Path) -> None:
    rows = [{**row, "kind": "shown"} for row in ROWS]
    clicks = [{**row, "ts": row["ts"] + 40, "kind": "click"} for row in rows[:600:7]]
    write(tmp_path / "shown.csv", [*rows, *clicks])
    by_kind = MAP.replace('click = "clicked"', 'click = {column = "kind", equals = ["click"]}')
    remark = imported(tmp_path, by_kind)[1]["remarks"][0]
    assert remark.startswith("100% of clicks follow within an hour")
    assert 'impressions.repeats = "request"' in remark


def test_rows_are_joined_by_request_only_where_there_is_one(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", ROWS)
    assert 'repeats = "request" needs the field `request`' in refused(tmp_path, MAP + 'repeats = "request"\n')
