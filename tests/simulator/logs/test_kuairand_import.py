"""KuaiRand's files become a log folder, and damaged ones say where they are damaged."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from kuairand_files import DAY_MS, LOG_HEADER, LOG_NAME, MIDNIGHT_MS, VIDEO_NAME, log_lines, write_kuairand

from simulator.logs import folder as log_folder
from simulator.logs.folder import read_log
from simulator.logs.manifest import read_manifest
from simulator.logs.real_log import split_days
from simulator.logs.table.shipped import import_kuairand
from simulator.traffic.trace import TraceError

LINES = log_lines()


def column(line: str, name: str) -> str:
    return line.split(",")[LOG_HEADER.split(",").index(name)]


def replaced(line: str, **values: object) -> str:
    fields = line.split(",")
    for name, value in values.items():
        fields[LOG_HEADER.split(",").index(name)] = str(value)
    return ",".join(fields)


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def imported(tmp_path: Path, lines: list[str], **options: object) -> dict[str, object]:
    write_kuairand(tmp_path / "in", lines, **options)  # type: ignore[arg-type]
    return import_kuairand(tmp_path / "in", tmp_path / "log")


def refused(tmp_path: Path, lines: list[str], **options: object) -> str:
    with pytest.raises(TraceError) as error:
        imported(tmp_path, lines, **options)
    assert not (tmp_path / "log").exists()
    return str(error.value)


def test_every_row_is_kept_or_counted_under_a_reason(kuairand_log: Path) -> None:
    manifest = read_manifest(kuairand_log)
    rows = manifest["rows"]
    distinct = {(column(x, "user_id"), column(x, "video_id"), column(x, "time_ms")) for x in LINES}
    assert rows["read"] == len(LINES)
    assert rows["kept"] == len(distinct) == manifest["sizes"]["impressions"]
    assert rows["dropped"] == {
        "repeats (user, item, time)": {"rows": len(LINES) - len(distinct), "first": []}
    }


def test_a_request_is_a_user_at_a_moment(kuairand_log: Path) -> None:
    log, _ = read_log(kuairand_log)
    moments = {(column(x, "user_id"), column(x, "time_ms")) for x in LINES}
    assert len(log.requests) == len(moments) < len(log.impressions)


def test_the_manifest_says_what_was_read_and_what_was_invented(kuairand_log: Path) -> None:
    manifest = read_manifest(kuairand_log)
    assert [source["file"] for source in manifest["sources"]] == [VIDEO_NAME, LOG_NAME]
    assert all(len(source["sha256"]) == 64 and source["bytes"] > 0 for source in manifest["sources"])
    assert (manifest["first_date"], manifest["last_date"]) == ("2022-04-25", "2022-04-30")
    assert "CC BY-SA" in manifest["licence"]
    text = " ".join(manifest["invented"])
    assert all(word in text for word in ("tCPA", "budgets", "conversion", "Candidates", "regression"))
    for outcome in ("click", "conversion"):
        for where in ("in_sample", "last_day"):
            assert set(manifest["response"]["quality"][outcome][where]) >= {"auc", "log_loss", "pcoc"}


def test_columns_mean_what_the_documentation_says(tmp_path: Path) -> None:
    first = replaced(LINES[0], user_id=3, video_id=5, is_click=1, long_view=1, is_hate=0, tab=4)
    first = replaced(first, play_time_ms=61_802, time_ms=MIDNIGHT_MS + 9 * 3_600_000 + 500)
    later = [x for x in LINES if int(column(x, "time_ms")) > MIDNIGHT_MS + DAY_MS]
    imported(tmp_path, [first, *later])
    log, _ = read_log(tmp_path / "log")
    shown, ads = log.impressions, log.ads
    assert (shown.user_id[0], shown.click[0], shown.conversion[0], shown.action[0]) == (3, 1, 1, 2)
    assert (shown.scene[0], shown.dwell_s[0], ads.item_id[shown.ad[0]]) == (4, 61, 5)
    assert shown.time_s[0] == 9 * 3600 + 0.5
    assert shown.hour[0] == pytest.approx(9.0, abs=1e-3)  # China time
    # Videos 2k and 2k + 1 share an author; each sixth has no tag, which is a category of its own.
    assert ads.advertiser[4] == ads.advertiser[5]
    assert len(np.unique(ads.category)) == 6
    assert ads.category[5] == ads.category[11] != ads.category[4]


@pytest.mark.parametrize(
    ("flags", "action"),
    [
        ({}, 0),
        ({"is_click": 1}, 1),
        ({"is_click": 1, "long_view": 1}, 2),
        ({"is_click": 1, "is_like": 1}, 2),
        ({"is_forward": 1}, 2),
        ({"is_click": 1, "is_hate": 1}, 0),
    ],
)
def test_actions_follow_the_flags(tmp_path: Path, flags: dict[str, int], action: int) -> None:
    nothing = dict.fromkeys(("is_click", "is_like", "long_view", "is_hate", "is_forward"), 0)
    first = replaced(LINES[0], time_ms=MIDNIGHT_MS, **{**nothing, **flags})
    imported(tmp_path, [first, *LINES[1:]])
    assert read_log(tmp_path / "log")[0].impressions.action[0] == action


def test_gzip_and_plain_files_give_the_same_log(kuairand_log: Path, tmp_path: Path) -> None:
    imported(tmp_path, LINES, compress=True)
    found, expected = folder_bytes(tmp_path / "log"), folder_bytes(kuairand_log)
    del found["manifest.json"], expected["manifest.json"]  # it names the files and their checksums
    assert found == expected


def test_the_same_files_give_the_same_bytes(kuairand_log: Path, tmp_path: Path) -> None:
    imported(tmp_path, LINES)
    assert folder_bytes(tmp_path / "log") == folder_bytes(kuairand_log)


def test_time_ms_alone_says_when(kuairand_log: Path, tmp_path: Path) -> None:
    imported(tmp_path, [replaced(line, date=20230101, hourmin=0) for line in LINES])
    found, expected = folder_bytes(tmp_path / "log"), folder_bytes(kuairand_log)
    assert all(found[name] == expected[name] for name in found if name.endswith(".parquet"))


def test_a_quoted_header_byte_order_mark_and_crlf_change_nothing(kuairand_log: Path, tmp_path: Path) -> None:
    header = ",".join(f'"{name}"' for name in LOG_HEADER.split(","))
    path = write_kuairand(tmp_path / "in", LINES, header=header)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    import_kuairand(tmp_path / "in", tmp_path / "log")
    found, expected = folder_bytes(tmp_path / "log"), folder_bytes(kuairand_log)
    assert all(found[name] == expected[name] for name in found if name.endswith(".parquet"))


def test_several_log_files_are_one_log(kuairand_log: Path, tmp_path: Path) -> None:
    write_kuairand(tmp_path / "in", LINES[:1000])
    text = "\n".join([LOG_HEADER, *LINES[1000:]]) + "\n"
    (tmp_path / "in" / "log_standard_4_28_to_4_30_pure.csv").write_text(text)
    import_kuairand(tmp_path / "in", tmp_path / "log")
    found, expected = folder_bytes(tmp_path / "log"), folder_bytes(kuairand_log)
    assert all(found[name] == expected[name] for name in found if name.endswith(".parquet"))


def test_progress_is_reported(tmp_path: Path) -> None:
    write_kuairand(tmp_path / "in")
    told: list[tuple[str, int, int]] = []
    import_kuairand(tmp_path / "in", tmp_path / "log", lambda *step: told.append(step))
    assert {stage for stage, _, _ in told} == {"read", "convert", "fit response", "write"}
    size = (tmp_path / "in" / LOG_NAME).stat().st_size
    assert ("read", size, size) in told


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        ("712,5239,20220425,0,16508", "too few or too many fields"),
        (LINES[40] + ",9", "too few or too many fields"),
        ("", "time (time_ms) missing, no time, or outside"),
        (replaced(LINES[40], time_ms=1_650_816_000), "time (time_ms) missing, no time, or outside"),
        (replaced(LINES[40], is_click=2), "click (is_click) neither 0 nor 1"),
        (replaced(LINES[40], user_id=-1), "user (user_id)"),
        (replaced(LINES[40], video_id=""), "item (video_id)"),
        (replaced(LINES[40], play_time_ms=-5), "dwell (play_time_ms)"),
        (replaced(LINES[40], tab=300), "scene (tab)"),
        (replaced(LINES[40], time_ms="noon"), "time (time_ms)"),
        (replaced(LINES[40], user_id="1.23E+11"), "spreadsheet"),
    ],
)
def test_a_damaged_row_is_left_out_and_its_line_reported(tmp_path: Path, damaged: str, reason: str) -> None:
    # A cut row before it: lines are counted as an editor counts them.
    lines = ["1,2,3", *LINES[:40], damaged, *LINES[41:]]
    dropped = imported(tmp_path, lines)["rows"]["dropped"]  # type: ignore[index]
    ((found, entry),) = [(r, e) for r, e in dropped.items() if reason in r]
    assert f"{LOG_NAME}:42" not in str(entry["first"])
    assert f"{LOG_NAME}:43" in entry["first"], found


def test_a_row_cut_at_the_files_end_is_reported(tmp_path: Path) -> None:
    dropped = imported(tmp_path, [*LINES[:-1], LINES[-1][:30]])["rows"]["dropped"]  # type: ignore[index]
    (entry,) = [e for r, e in dropped.items() if "cut row" in r]
    assert entry == {"rows": 1, "first": [f"{LOG_NAME}:{len(LINES) + 1}"]}


def test_few_videos_without_features_are_counted_and_many_refuse_the_log(tmp_path: Path) -> None:
    told = refused(tmp_path, LINES, videos=50)
    assert "an item without a row in [items]" in told
    assert "expected at most 1.00%" in told
    few = [replaced(LINES[40], video_id=7777), *LINES]
    dropped = imported(tmp_path, few)["rows"]["dropped"]  # type: ignore[index]
    assert dropped["an item without a row in [items]"] == {"rows": 1, "first": [f"{LOG_NAME}:2"]}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text.replace(",", ";"), ["line 1", "semicolons"]),
        (lambda text: text.replace(",", "\t"), ["line 1", "tabs"]),
        (lambda text: text.replace("time_ms", "timestamp", 1), ["line 1", "no column time_ms"]),
        (lambda text: "\n".join(text.split("\n")[1:]), ["line 1", "no column", "header"]),
        (lambda text: "", ["is empty"]),
        (lambda text: LOG_HEADER + "\n", ["line 2", "no rows after the header"]),
        (lambda text: text.replace("is_rand", "time_ms", 1), ["line 1", "column time_ms comes twice"]),
        (lambda text: text.replace("\n", "\r"), ["line 1", "carriage return"]),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, spoil: object, says: list[str]) -> None:
    path = write_kuairand(tmp_path / "in")
    path.write_text(spoil(path.read_text()))  # type: ignore[operator]
    with pytest.raises(TraceError) as error:
        import_kuairand(tmp_path / "in", tmp_path / "log")
    assert all(word in str(error.value) for word in says), error.value
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("junk", "byte"), [(b"\0" * 9, "0x00"), (b"\xff\xd8\xf5", "0xff"), (b"\xc3", "0xc3")]
)
def test_bytes_that_are_no_text_are_refused_with_their_line(
    tmp_path: Path, junk: bytes, byte: str, compress: bool
) -> None:
    # A cut row, which pyarrow hands over to be left out: it must not be counted as one.
    lines = [line.encode() for line in [LOG_HEADER, *LINES]]
    lines[41] = b"1,2," + junk
    data = b"\n".join(lines) + b"\n"
    write_kuairand(tmp_path / "in", compress=compress)
    (path,) = (tmp_path / "in").glob("log_*")
    path.write_bytes(gzip.compress(data) if compress else data)
    with pytest.raises(TraceError, match=rf"{path.name}, line 42: byte {byte}, which is no text"):
        import_kuairand(tmp_path / "in", tmp_path / "log")
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(("scale", "unit"), [(1e-3, "seconds"), (1e3, "microseconds")])
def test_another_unit_of_time_is_refused(tmp_path: Path, scale: float, unit: str) -> None:
    lines = [replaced(x, time_ms=int(int(column(x, "time_ms")) * scale)) for x in LINES]
    message = refused(tmp_path, lines)
    assert f"{LOG_NAME}, line 2" in message
    assert unit in message
    assert "milliseconds" in message


def test_a_file_with_many_damaged_rows_is_refused(tmp_path: Path) -> None:
    lines = [line[:20] if i % 50 == 7 else line for i, line in enumerate(LINES)]
    message = refused(tmp_path, lines)
    assert f"{LOG_NAME}, line 9" in message
    assert "at most 1.00%" in message


@pytest.mark.parametrize("share", [0.0001, 0.5, 0.999])
def test_a_truncated_gzip_is_refused_with_its_last_whole_line(tmp_path: Path, share: float) -> None:
    path = write_kuairand(tmp_path / "in", compress=True)
    data = path.read_bytes()
    path.write_bytes(data[: max(12, int(share * len(data)))])
    with pytest.raises(TraceError, match=r"log_standard.*line \d+.*Download") as error:
        import_kuairand(tmp_path / "in", tmp_path / "log")
    assert "line" in str(error.value)


def test_a_gz_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write_kuairand(tmp_path / "in", compress=True)
    path.write_text(LOG_HEADER)
    with pytest.raises(TraceError, match="line 1: damaged gzip"):
        import_kuairand(tmp_path / "in", tmp_path / "log")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: replaced(x, is_click=0), "no clicks"),
        (lambda x: replaced(x, is_click=1), "nothing but clicks"),
        (lambda x: replaced(x, long_view=0), "no conversion of a click"),
        (lambda x: replaced(x, user_id=7), "1 user"),
        (lambda x: replaced(x, video_id=int(column(x, "video_id")) % 20), "at least 32"),
        (lambda x: replaced(x, time_ms=MIDNIGHT_MS + int(column(x, "time_ms")) % (3 * DAY_MS)), "3 days"),
    ],
)
def test_a_log_that_cannot_serve_says_why(tmp_path: Path, change: object, says: str) -> None:
    assert says in refused(tmp_path, [change(line) for line in LINES])  # type: ignore[operator]


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="not a folder"):
        import_kuairand(tmp_path / "none", tmp_path / "log")
    with pytest.raises(TraceError, match="no exposure log"):
        import_kuairand(tmp_path, tmp_path / "log")
    path = write_kuairand(tmp_path / "in")
    (tmp_path / "in" / VIDEO_NAME).unlink()
    with pytest.raises(TraceError, match="no items"):
        import_kuairand(tmp_path / "in", tmp_path / "log")
    write_kuairand(tmp_path / "in", compress=True)
    assert path.exists()
    with pytest.raises(TraceError, match="more than once"):
        import_kuairand(tmp_path / "in", tmp_path / "log")


def test_an_import_that_breaks_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_folder, "write_requests", full)
    write_kuairand(tmp_path / "in")
    with pytest.raises(OSError, match="No space"):
        import_kuairand(tmp_path / "in", tmp_path / "log")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_existing_folder_is_never_touched(kuairand_log: Path, tmp_path: Path) -> None:
    before = folder_bytes(kuairand_log)
    with pytest.raises(TraceError, match="found something there"):
        import_kuairand(tmp_path, kuairand_log)
    assert folder_bytes(kuairand_log) == before


def test_a_folder_without_a_manifest_is_no_log(tmp_path: Path) -> None:
    imported(tmp_path, LINES)
    manifest = tmp_path / "log" / "manifest.json"
    text = manifest.read_text()
    manifest.unlink()
    with pytest.raises(TraceError, match="laser-ab import"):
        read_manifest(tmp_path / "log")
    for spoilt, says in (
        (text[: len(text) // 2], "expected JSON"),
        ('{"kind": "run"}', 'expected "log"'),
        (json.dumps({**json.loads(text), "schema_version": 9}), "schema_version is 9"),
        ('{"kind": "log", "schema_version": 1}', "lacks epoch_ms"),
    ):
        manifest.write_text(spoilt)
        with pytest.raises(TraceError, match=says):
            read_manifest(tmp_path / "log")


def test_a_changed_or_missing_table_is_noticed(tmp_path: Path) -> None:
    imported(tmp_path, LINES)
    path = tmp_path / "log" / "response.parquet"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(TraceError, match=r"response\.parquet is not the file"):
        read_log(tmp_path / "log")
    path.unlink()
    with pytest.raises(TraceError, match=r"response\.parquet is missing"):
        read_log(tmp_path / "log")


def test_six_days_are_three_one_one_and_one() -> None:
    split = split_days(6)
    assert (split.holdout, split.pre, split.experiment, split.end) == (3, 4, 5, 6)
    assert split_days(31).holdout == 16
    assert split_days(10, holdout=2, pre=2, experiment=3).holdout == 3
    with pytest.raises(TraceError, match="left for training"):
        split_days(3)
    with pytest.raises(TraceError, match="left for training"):
        split_days(6, experiment=4)


def test_flags_read_alike_however_they_are_written(tmp_path: Path, kuairand_log: Path) -> None:
    flags = ("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view")
    forms = ({"0": "0.0", "1": "1.0"}, {"0": "False", "1": "True"}, {"0": " 0", "1": " 1"})
    lines = [
        replaced(line, **{flag: forms[i % 3][column(line, flag)] for flag in flags})
        for i, line in enumerate(LINES)
    ]
    imported(tmp_path, lines)
    for table in ("impressions.parquet", "behaviours.parquet"):
        assert (tmp_path / "log" / table).read_bytes() == (kuairand_log / table).read_bytes()
