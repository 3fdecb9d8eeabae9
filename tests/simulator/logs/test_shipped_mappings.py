"""Published logs in exactly their published forms, by the mappings that are shipped."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kuairand_files import LOG_HEADER, log_lines, write_kuairand

from simulator.logs.calibration.policy_value import policy_value
from simulator.logs.folder import read_log
from simulator.logs.real_log import RealLog
from simulator.logs.table.shipped import import_shipped

RNG = np.random.default_rng(2)
DAYS_S = np.sort(RNG.integers(0, 6 * 86_400, 600))
DRAWN = RNG.bit_generator.state
#: SHA-256, shortened, of the values of each log's tables, as they were when an import worked in memory.
IN_MEMORY = {
    "movielens": "a2bef74ac507d7d1",
    "kuairand-random": "52e871501e69abfe",
    "taobao": "538aeb420f053780",
    "open-bandit": "ddafb1c252e36330",
    "kuairec": "4eb4e247584a173b",
    "tmall": "fb389b2c1661def9",
    "alibaba-ads": "3dcc82758f968577",
    "ipinyou": "5fe3e0a61d63578d",
    "avazu": "fd5aedfb87be77ad",
    "criteo-attribution": "b424a8491908df82",
}


@pytest.fixture(autouse=True)
def _the_same_draws_whichever_tests_run() -> None:
    RNG.bit_generator.state = DRAWN


def imported(name: str, folder: Path) -> RealLog:
    import_shipped(name, folder / "in", folder / "log")
    assert digest(folder / "log") == IN_MEMORY[name]
    return read_log(folder / "log")[0]


def digest(log: Path) -> str:
    """Of all values but those that a logarithm is in, which machines round differently."""
    found = hashlib.sha256()
    for table in ("impressions", "requests", "behaviours", "catalogue"):
        for name, column in zip(*columns_of(log / f"{table}.parquet"), strict=True):
            if name in ("propensity_logit", "period"):
                continue
            values = pa.concat_arrays(column.chunks)
            found.update(name.encode())
            found.update((values.flatten() if pa.types.is_list(values.type) else values).to_numpy().tobytes())
    return found.hexdigest()[:16]


def columns_of(path: Path) -> tuple[list[str], list[pa.ChunkedArray]]:
    table = pq.read_table(path)
    return table.column_names, table.columns


def test_movielens_stars_and_genres(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    stars = RNG.choice([0.5, 3.0, 4.0, 5.0], 600)
    rows = [f"{i % 20 + 1},{i % 40 + 1},{stars[i]},{822_873_600 + t}" for i, t in enumerate(DAYS_S)]
    (tmp_path / "in" / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows]) + "\n")
    genres = ("Adventure|Comedy", "Drama", "(no genres listed)")
    movies = [f'{i + 1},"Film, The ({1990 + i % 9})",{genres[i % 3]}' for i in range(40)]
    (tmp_path / "in" / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies]) + "\n")
    log = imported("movielens", tmp_path)
    assert log.impressions.click.sum() == (stars >= 4).sum()
    assert log.impressions.conversion.sum() == (stars == 5).sum()
    assert log.categories == 3


def test_kuairands_random_exposures_are_impressions_and_the_ordinary_feed_is_history(tmp_path: Path) -> None:
    write_kuairand(tmp_path / "in", ordinary := log_lines())
    place = LOG_HEADER.split(",").index("is_rand")

    def at_random(line: str) -> str:
        fields = line.split(",")
        return ",".join([*fields[:place], "1", *fields[place + 1 :]])

    # 60 of the 900 rows of the random file are said not to be random.
    rows = [at_random(line) if i >= 60 else line for i, line in enumerate(log_lines(rows=900, seed=2))]
    (tmp_path / "in" / "log_random_pure.csv").write_text("\n".join([LOG_HEADER, *rows]) + "\n")
    log = imported("kuairand-random", tmp_path)
    shown = log.impressions
    assert len(shown) == len({tuple(row.split(",")[i] for i in (0, 1, 4)) for row in rows[60:]})
    assert shown.logging_propensity is not None
    np.testing.assert_allclose(shown.logging_propensity, 1 / 7583)
    users = set(shown.user_id.tolist())
    done = [row.split(",") for row in ordinary]
    assert len(log.behaviours) == sum(int(row[0]) in users for row in done)
    # What the ordinary feed would be worth, judged by what was shown at random.
    import_shipped("kuairand", tmp_path / "in", tmp_path / "feed")
    found = policy_value(tmp_path / "log", tmp_path / "feed")
    assert 0 < found["estimates"]["snips"]["value"] < 1


def test_taobao_has_no_header_and_times_out_of_range(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    kinds = RNG.choice(["pv", "pv", "pv", "cart", "fav", "buy"], 600)
    rows = [
        f"{i % 20 + 1},{i % 40 + 1},{i % 5 + 9},{kinds[i]},{1_511_539_200 + t}" for i, t in enumerate(DAYS_S)
    ]
    outside = ["5,5,9,pv,-1234", "5,5,9,pv,1900000000"]
    (tmp_path / "in" / "UserBehavior.csv").write_text("\n".join([*rows, *outside]) + "\n")
    log = imported("taobao", tmp_path)
    assert len(log.impressions) == 600
    assert log.impressions.click.sum() == (kinds != "pv").sum()
    assert log.impressions.time_s[0] == DAYS_S[0]  # local midnight, in China


def test_open_bandit_has_positions_propensities_and_no_users(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    header = ",timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,"
    at = [str(np.datetime64("2019-11-24", "s") + np.timedelta64(int(t), "s")) for t in DAYS_S]
    rows = [
        f"{i},{t.replace('T', ' ')}.123456+00:00,{i % 34},{i % 3 + 1},{int(i % 50 == 0)},0.0294,"
        f"a{i % 3},b,c{i % 2},d"
        for i, t in enumerate(at)
    ]
    (tmp_path / "in" / "men.csv").write_text(
        "\n".join([header + "user_feature_2,user_feature_3", *rows]) + "\n"
    )
    (tmp_path / "in" / "item_context.csv").write_text(",item_id,item_feature_0\n0,0,-0.5\n")
    log = imported("open-bandit", tmp_path)
    shown = log.impressions
    assert shown.position is not None
    assert shown.logging_propensity is not None
    assert np.unique(shown.position).tolist() == [0, 1, 2]
    assert (shown.logging_propensity == 0.0294).all()
    assert len(log.behaviours.users) == 6


def lines(*rows: object) -> str:
    return "".join(f"{row}\n" for row in rows)


def test_kuairec_has_watch_ratios_for_clicks_and_lists_of_categories(tmp_path: Path) -> None:
    (tmp_path / "in" / "data").mkdir(parents=True)
    ratio = RNG.choice([0.0, 0.4, 0.99, 1.0, 1.7, 2.5], 600)
    rows = [
        f"{i % 20},{i % 40},{int(r * 8000)},8000,2020-07-05 00:08:23.438,20200705,{1_593_878_400 + t}.438,{r}"
        for i, (t, r) in enumerate(zip(DAYS_S, ratio, strict=True))
    ]
    header = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio"
    (tmp_path / "in" / "data" / "big_matrix.csv").write_text(lines(header, *rows))
    (tmp_path / "in" / "data" / "small_matrix.csv").write_text(lines(header, "14,148,4381,6067,,,,0.72"))
    feats = [f'{i},"{[[8], [27, 9], [9]][i % 3]}"' for i in range(40)]
    (tmp_path / "in" / "data" / "item_categories.csv").write_text(lines("video_id,feat", *feats))
    log = imported("kuairec", tmp_path)
    shown = log.impressions
    assert shown.click.sum() == (ratio >= 1).sum()
    assert shown.conversion.sum() == (ratio >= 2).sum()
    assert shown.time_s[0] == DAYS_S[0] + 0.438  # local midnight, in China
    assert log.categories == 3
    assert int(shown.dwell_s.max()) == 20


def test_tmall_knows_days_and_what_was_done_with_an_item_on_one_stays_together(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    days = ["829", "830", "831", "901", "1110", "1111"][:4]
    pairs = [(i % 30, i % 41, days[i // 150]) for i in range(600)]
    rows = [f"{u},{v},{v % 5},{v % 7},{'' if v == 3 else v % 9},{d},0" for u, v, d in pairs]
    carted = [f"{u},{v},{v % 5},{v % 7},,{d},1" for u, v, d in pairs[::10]]
    bought = [f"{u},{v},{v % 5},{v % 7},,{d},2" for u, v, d in pairs[::20]]
    header = "user_id,item_id,cat_id,seller_id,brand_id,time_stamp,action_type"
    (tmp_path / "in" / "user_log_format1.csv").write_text(lines(header, *rows, *carted, *bought))
    log = imported("tmall", tmp_path)
    shown = log.impressions
    assert len(shown) == len(set(pairs))
    assert shown.click.sum() == len(set(pairs[::10]))
    assert shown.conversion.sum() == len(set(pairs[::20]))
    assert np.bincount(shown.day).tolist() == [len(set(pairs[at : at + 150])) for at in range(0, 600, 150)]


def test_alibabas_ads_have_histories_without_items_and_times_out_of_range(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    base = 1_494_000_000  # 6 May 2017, 00:00 in China
    shown = []
    for i, t in enumerate(DAYS_S):
        place, clicked = "430548_1007" if i % 3 else "430539_1007", int(i % 9 == 0)
        shown.append(f"{i % 20 + 1},{base + t},{i % 40 + 1},{place},{1 - clicked},{clicked}")
    (tmp_path / "in" / "raw_sample.csv").write_text(
        lines("user,time_stamp,adgroup_id,pid,nonclk,clk", *shown)
    )
    ads = [f"{i},{i % 6 + 4000},{i},{i % 8},{'NULL' if i % 4 else 95471},170.0" for i in range(1, 41)]
    (tmp_path / "in" / "ad_feature.csv").write_text(
        lines("adgroup_id,cate_id,campaign_id,customer,brand,price", *ads)
    )
    kinds = ["pv", "pv", "cart", "fav", "buy"]
    did = [f"{i % 25 + 1},{base - 900_000 + 900 * i},{kinds[i % 5]},{i % 7 + 4000},NULL" for i in range(1000)]
    stray = ["3,2038340884,pv,4001,5", "3,-2082844800,pv,4001,5"]
    (tmp_path / "in" / "behavior_log.csv").write_text(lines("user,time_stamp,btag,cate,brand", *did, *stray))
    log = imported("alibaba-ads", tmp_path)
    assert log.impressions.click.sum() == sum(i % 9 == 0 for i in range(600))
    assert np.bincount(log.impressions.scene).tolist() == [400, 200]
    assert len(log.behaviours) == 800  # users 21 to 25 were never shown an ad
    assert np.bincount(log.behaviours.action).tolist() == [320, 320, 160]
    assert log.categories == 7
    assert log.behaviours.time_s.min() == -900_000


def test_ipinyous_clicks_and_conversions_are_files_joined_by_the_bid(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    kinds: dict[str, list[str]] = {"imp": [], "clk": [], "conv": []}
    for i, t in enumerate(DAYS_S.tolist()):
        for kind, (log_type, every, after) in {
            "imp": (1, 1, 0),
            "clk": (2, 10, 7),
            "conv": (3, 20, 90),
        }.items():
            if i % every == 0:
                at = np.datetime64("2013-06-06", "s") + np.timedelta64(t + after, "s")
                stamp = "".join(c for c in str(at) if c.isdigit()) + "008"
                user = "null" if i == 5 else f"Vh{i % 20:04d}"
                kinds[kind].append(
                    f'bid{i}\t{stamp}\t{log_type}\t{user}\tMozilla "x\t1.2.3.*\t80\t85\tnull\tdom\turl\t'
                    f"null\tslot\t300\t250\tNa\tFixed\t5\tcr{i % 40}\t300\t{i % 80}\tnull\t"
                    f"{(1458, 3427)[i % 2]}\t1,2"
                )
    for kind, rows in kinds.items():
        (tmp_path / "in" / f"{kind}.20130606.txt").write_text(lines(*rows))
    log = imported("ipinyou", tmp_path)
    shown = log.impressions
    assert (len(shown), shown.click.sum(), shown.conversion.sum()) == (599, 60, 30)
    kept = [t for i, t in enumerate(DAYS_S.tolist()) if i != 5]
    assert shown.time_s.tolist() == [t + 0.008 for t in kept]  # the impressions' own times, local
    assert log.categories == 2
    assert shown.price is not None
    assert shown.price[0] == 0
    assert shown.price[1] == 1


def test_avazu_knows_hours_and_one_device_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    header = (
        "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category,"
        "device_id,device_ip,device_model,device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21"
    )
    rows = []
    for i, t in enumerate(DAYS_S.tolist()):
        device = "a99f214a" if i % 5 else f"dev{i % 3}"
        hour = f"1410{21 + t // 86_400}{t % 86_400 // 3600:02d}"
        rows.append(
            f"{1000009418151094273 + i},{int(i % 6 == 0)},{hour},1005,{i % 2},s,d,c,a,b,e,{device},ip{i % 8},"
            f"m{i % 2},1,2,{15706 + i % 40},320,50,{1722 + i % 4},0,35,-1,{79 + i % 2}"
        )
    (tmp_path / "in" / "train.gz").write_bytes(gzip.compress(lines(header, *rows).encode()))
    log = imported("avazu", tmp_path)
    shown = log.impressions
    assert len(shown) == 600
    assert (np.sort(shown.time_s // 3600) == np.sort(DAYS_S // 3600)).all()
    assert len(np.unique(shown.time_s)) > 550  # spread over the hour
    assert len(log.behaviours.users) == 8 + 3
    assert (log.categories, log.ads.advertisers, log.scenes) == (4, 2, 2)


def test_criteos_attribution_counts_seconds_from_nowhere(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    names = (
        "timestamp uid campaign conversion conversion_timestamp conversion_id attribution click click_pos "
    )
    names += "click_nb cost cpo time_since_last_click cat1 cat2 cat3 cat4 cat5 cat6 cat7 cat8 cat9"
    rows = [
        f"{t} {i % 20} {22589171 + i % 40} {int(i % 12 == 0)} -1 -1 0 {int(i % 4 == 0)} -1 -1 1e-05 0.39 -1 "
        "5824233 9312274 3490278 29196072 11409686 1973606 25162884 29196072 29196072"
        for i, t in enumerate(DAYS_S)
    ]
    text = lines(*(row.replace(" ", "\t") for row in (names, *rows)))
    (tmp_path / "in" / "criteo_attribution_dataset.tsv.gz").write_bytes(gzip.compress(text.encode()))
    log = imported("criteo-attribution", tmp_path)
    assert log.impressions.time_s.tolist() == DAYS_S.tolist()
    assert (log.impressions.click.sum(), log.impressions.conversion.sum()) == (150, 50)
    assert log.impressions.price is not None
    assert log.impressions.price[0] == 1e-05
