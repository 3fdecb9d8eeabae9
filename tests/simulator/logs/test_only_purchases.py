"""A log that holds only what people did: what an import says of it, and the recipe of docs/logs.md."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tables import MAP, shown, write

from simulator.logs.folder import NAMES_SCHEMA, read_log
from simulator.logs.table.importer import import_table
from simulator.logs.table.staging.load import load_mapping
from simulator.traffic.trace import TraceError

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## Only purchases\?\n(.*?)^## ", PAGE, flags=re.DOTALL | re.MULTILINE)


def block(language: str) -> str:
    assert SECTION is not None
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", SECTION[1], flags=re.DOTALL | re.MULTILINE)
    return str(found)


def bought(customers: int = 40, products: int = 90, days: int = 12) -> list[dict[str, str]]:
    """Purchases, some of them twice, of customers and products whose names are text."""
    rng = np.random.default_rng(8)
    rows = []
    for day in range(1, days + 1):
        for customer in rng.choice(customers, 15, replace=False):
            for product in rng.integers(0, products, rng.integers(1, 7)):
                own = {"customer": f"c{customer}", "day": f"2001-02-{day:02}"}
                rows.append({**own, "product": f"p{product}", "category": f"k{product % 9}"})
    return [*rows, *rows[:20]]


def made(folder: Path, rows: list[dict[str, str]]) -> Path:
    """What the page says to type, in a folder of its own."""
    folder.mkdir()
    write(folder / "purchases.csv", rows)
    (folder / "map.toml").write_text(block("toml"), encoding="utf-8")
    (folder / "make.sql").write_text(block("sql"), encoding="utf-8")
    code = re.findall(r'^python -c "(.*)"$', block("text"), flags=re.MULTILINE)
    subprocess.run([sys.executable, "-c", *code], cwd=folder, check=True)
    return folder


def test_the_recipe_makes_impressions_of_purchases_and_the_same_ones_again(tmp_path: Path) -> None:
    rows = bought()
    basket, sold = defaultdict(set), defaultdict(set)
    for row in rows:
        basket[row["customer"] + "/" + row["day"]].add(row["product"])
        sold[row["day"]].add(row["product"])
    folder = made(tmp_path / "one", rows)
    table = pq.read_table(folder / "shown.parquet")
    assert table.equals(pq.read_table(made(tmp_path / "two", rows) / "shown.parquet"))
    clicked, drawn = defaultdict(list), defaultdict(list)
    for row in table.to_pylist():
        (clicked if row["clicked"] else drawn)[row["basket"]].append(row["product"])
        assert row["moment"][:10] == row["basket"].split("/")[1]
        assert "09:00:00" <= row["moment"][11:] <= "21:59:59"
    assert set(clicked) == set(basket)
    for name, own in basket.items():
        assert set(clicked[name]) <= own
        assert len(set(clicked[name])) == len(clicked[name]) == min(2, len(own))
        assert not own & set(drawn[name])
        assert set(drawn[name]) <= sold[name.split("/")[1]]
        assert 10 < len(set(drawn[name])) == len(drawn[name]) <= 30
    # Evenly: a product sold often is drawn as often as one sold once, within chance.
    times = np.unique(np.concatenate(list(drawn.values())), return_counts=True)[1]
    assert times.max() < 2.5 * times.mean()


def test_what_the_recipe_made_is_imported(tmp_path: Path) -> None:
    rows = bought()
    folder = made(tmp_path / "shop", rows)
    manifest = import_table(load_mapping(folder / "map.toml"), tmp_path / "log")
    log = read_log(tmp_path / "log")[0]
    items, users = (
        pq.read_table(tmp_path / "log" / f"{name}.parquet", schema=NAMES_SCHEMA)["name"].to_pylist()
        for name in ("items", "users")
    )
    purchases = {(row["customer"], row["product"]) for row in rows}
    shown_rows = pq.read_table(folder / "shown.parquet")
    assert manifest["rows"]["kept"] == len(shown_rows) == len(log.impressions)
    seen = log.impressions
    pairs = [
        (users[user], items[item])
        for user, item in zip(
            seen.user_id[seen.click == 1].tolist(),
            log.ads.item_id[seen.ad[seen.click == 1]].tolist(),
            strict=True,
        )
    ]
    assert set(pairs) <= purchases
    assert len(pairs) == sum(shown_rows["clicked"].to_pylist())
    assert manifest["sizes"]["behaviours"] == len({tuple(row.values()) for row in rows})
    assert sum(sentence.startswith("Impressions are made") for sentence in manifest["invented"]) == 1


def test_a_log_of_nothing_but_clicks_is_told_what_can_help(tmp_path: Path) -> None:
    write(tmp_path / "shown.csv", [{**row, "clicked": 1} for row in shown()])
    (tmp_path / "map.toml").write_text(MAP)
    with pytest.raises(TraceError, match="nothing but clicks") as told:
        import_table(load_mapping(tmp_path / "map.toml"), tmp_path / "log")
    for words in (
        "More of it cannot help",
        "map views or exposures",
        'under "Only purchases?"',
        "no impression",
    ):
        assert words in str(told.value)
    assert "Use more of the log" not in str(told.value)
