"""Published news logs, whose rows are pages, in exactly their published forms."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.logs.folder import read_log
from simulator.logs.real_log import RealLog
from simulator.logs.table.shipped import import_shipped

DAYS_S = np.sort(np.random.default_rng(2).integers(0, 6 * 86_400, 600))


def imported(name: str, folder: Path) -> RealLog:
    import_shipped(name, folder / "in", folder / "log")
    return read_log(folder / "log")[0]


def lines(*rows: object) -> str:
    return "".join(f"{row}\n" for row in rows)


def test_minds_pages_are_lists_of_news_and_clicks(tmp_path: Path) -> None:
    news = [
        f'N{i}\tnews\tnews{"us" if i % 2 else "world"}\tA "title\tabstract\thttps://x/{i}.html\t[]\t[]'
        for i in range(40)
    ]
    shown = 0
    for part, days in (("MINDsmall_train", range(5)), ("MINDsmall_dev", range(5, 6))):
        rows = []
        for i, t in enumerate(DAYS_S[np.isin(DAYS_S // 86_400, days)].tolist()):
            at = np.datetime64("2019-11-09", "s") + np.timedelta64(t, "s")
            # As published: no leading zero of the hour.
            moment = at.item().strftime("%m/%d/%Y %I:%M:%S %p").replace(" 0", " ")
            page = " ".join(f"N{(3 * i + k) % 40}-{int(k == 1)}" for k in range(2 + i % 3))
            shown += 2 + i % 3
            history = "" if i % 5 == 0 else "N1 N2"
            rows.append(f"{i + 1}\tU{i % 20}\t{moment}\t{history}\t{page}")
        (tmp_path / "in" / part).mkdir(parents=True)
        (tmp_path / "in" / part / "behaviors.tsv").write_text(lines(*rows))
        (tmp_path / "in" / part / "news.tsv").write_text(lines(*news))
    log = imported("mind", tmp_path)
    assert (len(log.requests), len(log.impressions)) == (600, shown)
    assert log.impressions.click.sum() == 600
    assert np.unique(log.impressions.time_s).tolist() == DAYS_S.tolist()
    assert log.categories == 2


def test_eb_nerds_histories_are_lists_of_users_before_the_week(tmp_path: Path) -> None:
    (tmp_path / "in" / "train").mkdir(parents=True)
    base = np.datetime64("2023-05-18T07:00:00", "us")
    pages = {
        "impression_id": np.arange(600, dtype=np.uint32),
        "article_id": [None if i % 2 else 9_770_000.0 for i in range(600)],
        "impression_time": base + DAYS_S.astype("timedelta64[s]"),
        "article_ids_inview": [[9_770_000 + (3 * i + k) % 40 for k in range(5)] for i in range(600)],
        "article_ids_clicked": [[9_770_000 + (3 * i + 4) % 40] for i in range(600)],
        "user_id": (np.arange(600) % 20 + 13_538).astype(np.uint32),
    }
    lists = pa.list_(pa.int32())
    table = pa.table(pages).cast(
        pa.schema(
            [(n, lists if n.startswith("article_ids") else t) for n, t in zip(
                pages, (pa.uint32(), pa.float64(), pa.timestamp("us"), lists, lists, pa.uint32()), strict=True
            )]
        )
    )  # fmt: skip
    pq.write_table(table, tmp_path / "in" / "train" / "behaviors.parquet")
    lengths = [5 + user for user in range(20)]
    history = {
        "user_id": np.arange(13_538, 13_558).astype(np.uint32),
        "impression_time_fixed": [
            (base - np.arange(n, 0, -1).astype("timedelta64[h]")).tolist() for n in lengths
        ],
        "scroll_percentage_fixed": [[None] * n for n in lengths],
        "article_id_fixed": [[9_770_000 + k % 50 for k in range(n)] for n in lengths],
        "read_time_fixed": [[17.0] * n for n in lengths],
    }
    pq.write_table(pa.table(history), tmp_path / "in" / "train" / "history.parquet")
    articles = {
        "article_id": np.arange(9_770_000, 9_770_050, dtype=np.int32),
        "category_str": [("sport", "krimi", "nyheder")[i % 3] for i in range(50)],
    }
    pq.write_table(pa.table(articles), tmp_path / "in" / "articles.parquet")
    log = imported("eb-nerd", tmp_path)
    assert (len(log.impressions), log.impressions.click.sum()) == (3000, 600)
    assert np.diff(log.behaviours.offsets).tolist() == lengths
    assert log.behaviours.time_s.max() == 7 * 3600 - 3600
    assert (log.behaviours.dwell_s == 17).all()
    assert (log.categories, log.scenes) == (3, 2)
