"""Published logs in exactly their published forms, by the mappings that are shipped."""

from pathlib import Path

import numpy as np

from simulator.logs.folder import read_log
from simulator.logs.real_log import RealLog
from simulator.logs.table.shipped import import_shipped

RNG = np.random.default_rng(2)
DAYS_S = np.sort(RNG.integers(0, 6 * 86_400, 600))


def imported(name: str, folder: Path) -> RealLog:
    import_shipped(name, folder / "in", folder / "log")
    return read_log(folder / "log")[0]


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
