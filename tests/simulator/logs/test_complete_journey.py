"""Complete Journey: exposures made of promotions and purchases, on a small set of its form."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.logs.folder import read_log
from simulator.logs.table.complete_journey import (
    DRAWN,
    find_data,
    import_complete_journey,
    write_exposures,
)
from simulator.traffic.trace import TraceError

FIRST = np.datetime64("2017-01-01T08:00:00", "ns")
PRODUCTS = 300


def made(folder: Path) -> Path:
    """Twelve households, four weeks, two stores; a third of the products promoted in each."""
    rng = np.random.default_rng(5)
    (folder / "data").mkdir(parents=True)
    shelf = [
        (product, store, week)
        for store in (31, 400)
        for week in range(1, 5)
        for product in (rng.choice(PRODUCTS, 100, replace=False) + 1_000_000).tolist()
    ]
    product, store, week = (np.array(column) for column in zip(*shelf, strict=True))
    promotions = {
        "product_id": product,
        "store_id": store,
        "display_location": ["0"] * len(shelf),
        "week": week,
    }
    pq.write_table(pa.table(promotions), folder / "data" / "promotions.parquet")
    rows = []
    for basket in range(400):
        at = FIRST + np.timedelta64(int(basket / 400 * 28 * 86_400), "s")
        where = (31, 400)[basket % 2]
        for item in rng.choice(PRODUCTS, 12, replace=False).tolist():
            rows.append(
                (basket % 12 + 1, where, 30_000_000_000 + basket, item + 1_000_000, basket // 100 + 1, at)
            )
    names = ("household_id", "store_id", "basket_id", "product_id", "week", "transaction_timestamp")
    pq.write_table(
        pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))),
        folder / "data" / "transactions.parquet",
    )
    ids = np.arange(PRODUCTS) + 1_000_000
    kinds = [f"TYPE {i % 9}" for i in range(PRODUCTS)]
    kinds_of = {"product_type": kinds, "product_category": ["ALL"] * PRODUCTS}
    products = {"product_id": ids, "manufacturer_id": ids % 40, **kinds_of}
    pq.write_table(pa.table(products), folder / "data" / "products.parquet")
    return folder


def test_exposures_are_promotions_of_the_store_and_week_and_clicks_are_purchases(tmp_path: Path) -> None:
    data = find_data(made(tmp_path))
    write_exposures(data, tmp_path / "exposures.parquet")
    rows = pq.read_table(tmp_path / "exposures.parquet").to_pylist()
    promoted = {tuple(row.values()) for row in pq.read_table(
        data / "promotions.parquet", columns=["product_id", "store_id", "week"]).to_pylist()}  # fmt: skip
    bought, place = {}, {}
    for row in pq.read_table(data / "transactions.parquet").to_pylist():
        bought.setdefault(row["basket_id"], set()).add(row["product_id"])
        place[row["basket_id"]] = (row["store_id"], row["week"])
    by_basket: dict[int, list[dict[str, int]]] = {}
    for row in rows:
        assert (row["product"], *place[row["basket"]]) in promoted
        by_basket.setdefault(row["basket"], []).append(row)
    for basket, shown in by_basket.items():
        clicked = [row["product"] for row in shown if row["bought"]]
        assert 1 <= len(clicked) <= 2
        assert set(clicked) <= bought[basket]
        assert len({row["product"] for row in shown}) == len(shown) <= DRAWN + 2
    could = {b for b, items in bought.items() if any((item, *place[b]) in promoted for item in items)}
    assert set(by_basket) == could


def test_the_log_has_purchases_as_histories_and_baskets_as_requests(tmp_path: Path) -> None:
    import_complete_journey(made(tmp_path), tmp_path / "log")
    log, _ = read_log(tmp_path / "log")
    purchases = pq.read_table(tmp_path / "data" / "transactions.parquet")
    assert len(log.behaviours) == len(purchases)
    assert np.bincount(log.impressions.request_id.astype(int)).max() <= DRAWN + 2
    assert len(log.requests) == len(np.unique(log.impressions.request_id))
    assert log.categories == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "log"]


def test_a_missing_package_or_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.logs.table.complete_journey.PACKAGE", "no_such_package_of_data")
    with pytest.raises(TraceError, match="not installed"):
        import_complete_journey(None, tmp_path / "log")
    (made(tmp_path / "in") / "data" / "promotions.parquet").unlink()
    with pytest.raises(TraceError, match=r"has no promotions\.parquet"):
        import_complete_journey(tmp_path / "in", tmp_path / "log")
