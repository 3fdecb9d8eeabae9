from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simulator.analysis.aggregate import aggregate_users
from simulator.analysis.columns import AnalysisError, labels

SERVED = {
    "arm": np.array(["c", "c", "t", "c", "t", "c"]),
    "user_id": np.array([7, 3, 3, 3, 7, 9], np.uint64),
    "assigned": np.array([True, True, True, False, False, True]),
    "period": np.array(["experiment", "pre", "experiment", "experiment", "experiment", "pre"]),
    "step": np.array([0, 2, 1, 0, 0, 0], np.int8),
    "missed": np.array([True, True, False, True, False, False]),
}
IMPRESSIONS = {
    "user_id": np.array([3, 3, 7, 3, 9], np.uint64),
    "period": np.array(["pre", "experiment", "experiment", "experiment", "pre"]),
    "click": np.array([True, True, False, True, True]),
    "conversion": np.array([False, True, False, False, True]),
    "charged": np.array([0.5, 1.0, 0.0, 2.0, 9.0]),
    "value": np.array([0.0, 20.0, 0.0, 0.0, 30.0]),
}
EXPECTED = {
    "user_id": [3, 7],
    "arm": ["t", "c"],
    "requests": [1, 1],
    "impressions": [2, 1],
    "clicks": [2, 0],
    "conversions": [1, 0],
    "revenue": [3.0, 0.0],
    "advv": [20.0, 0.0],
    "missed": [0, 1],
    "degraded": [1, 0],
    "pre_requests": [1, 0],
    "pre_impressions": [1, 0],
    "pre_clicks": [1, 0],
    "pre_conversions": [0, 0],
    "pre_revenue": [0.5, 0.0],
    "pre_advv": [0.0, 0.0],
}


@pytest.mark.parametrize("as_table", [dict, pa.table])
def test_users_hold_their_assigned_requests_and_their_pre_period(as_table):
    users = aggregate_users(as_table(SERVED), as_table(IMPRESSIONS), ("c", "t"))
    assert {name: column.tolist() for name, column in users.items()} == EXPECTED


def test_dictionary_columns_read_like_text():
    served = pa.table(SERVED)
    coded = served.set_column(0, "arm", served.column("arm").dictionary_encode())
    users = aggregate_users(coded, pa.table(IMPRESSIONS), ("c", "t"))
    assert users["arm"].tolist() == EXPECTED["arm"]


def test_a_user_in_two_arms_is_refused():
    torn = SERVED | {"assigned": np.array([True, True, True, False, True, True])}
    with pytest.raises(AnalysisError, match=r"two arms, such as user 7"):
        aggregate_users(torn, IMPRESSIONS, ("c", "t"))


def test_an_arm_nobody_knows_is_refused():
    with pytest.raises(AnalysisError, match="unknown arm"):
        aggregate_users(SERVED, IMPRESSIONS, ("c", "other"))


def test_a_missing_column_is_named():
    with pytest.raises(AnalysisError, match="'step'"):
        aggregate_users({k: v for k, v in SERVED.items() if k != "step"}, IMPRESSIONS, ("c", "t"))


@pytest.mark.parametrize("as_table", [dict, pa.table])
def test_no_requests_give_no_users(as_table):
    empty = as_table({k: v[:0] for k, v in SERVED.items()})
    shown = as_table({k: v[:0] for k, v in IMPRESSIONS.items()})
    users = aggregate_users(empty, shown, ("c", "t"))
    assert all(len(column) == 0 for column in users.values())


def test_chunks_with_dictionaries_of_their_own_read_as_one_column():
    kind = pa.dictionary(pa.int8(), pa.string())
    chunks = [
        pa.array(names, pa.string()).dictionary_encode().cast(kind) for names in (["b", "a"], ["a", "c", "a"])
    ]
    table = pa.table({"arm": pa.chunked_array(chunks)})
    assert labels(table, "arm", ("a", "b")).tolist() == [1, 0, 0, -1, 0]
    assert labels(table.slice(0, 0), "arm", ("a", "b")).tolist() == []
    assert labels(table.schema.empty_table(), "arm", ("a", "b")).tolist() == []
