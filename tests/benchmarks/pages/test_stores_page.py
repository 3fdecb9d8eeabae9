"""The page of the store benchmarks: ratios are medians of rounds, and what was not measured is left out."""

from benchmarks.pages.stores import of_beside, of_reads, of_writes


def reads(regime: str, engine: str, n: str, costs: list[float]) -> list[dict[str, object]]:
    return [
        {"regime": regime, "engine": engine, "n": n, "round": turn, "cpu_mean_us": cost}
        for turn, cost in enumerate(costs)
    ]


def test_a_rival_stands_with_its_cost_over_that_of_the_blocks_round_by_round() -> None:
    rows = reads("warm", "C", "1k", [30, 100, 26]) + reads("warm", "packed", "1k", [10, 100, 10])
    rows += reads("16 users", "packed in LMDB", "200", [5]) + reads("16 users", "packed, kernel", "200", [10])
    lines = of_beside(rows).splitlines()
    assert lines[-2:] == ["|warm|C|packed|–|2.6|–|–|", "|16 users|packed in LMDB|packed, kernel|0.5|–|–|–|"]
    assert "cold" not in of_reads(rows)


def test_steady_state_is_told_where_it_was_measured() -> None:
    row = {
        "measure": "steady",
        "engine": "C, universal",
        "round": 0,
        "settled_cpu_us": 0.5,
        "read_cpu_us": 71.0,
    }
    assert "|C, universal|–|0.5|–|–|71|" in of_writes([row])
    assert "Steady" not in of_writes([])
