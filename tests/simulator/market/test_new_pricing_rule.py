"""A stranger's pricing rule: its name in one Literal, a function in each engine, and nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LITERAL = 'Pricing = Literal["gsp", "first", "vcg"]'
NEW_LITERAL = 'Pricing = Literal["gsp", "first", "vcg", "floor-only", "pay-four-fifths"]'
RULES = '''

@pricing("floor-only")
def floor_only(own, least_ecpm, displaced_ecpm, reserve_ecpm, pctr):
    """The reserve, whoever comes next."""
    return reserve_ecpm / (1000.0 * pctr)


@pricing("pay-four-fifths")
def four_fifths(own, least_ecpm, displaced_ecpm, reserve_ecpm, pctr):
    """A fixed share of the own bid."""
    return 0.8 * own
'''
CHECK = """
import numpy as np
from market_worlds import market
from simulator.config.market import Market
from simulator.market.auction import run_auctions
from simulator.market.pages import Rules
from simulator.market.plain import run_auctions_plain

order, pages, book = market(seed=5)
budgets = np.full((2, 6), np.inf)
for name in ("floor-only", "pay-four-fifths"):
    rules = Rules(pricing=Market(pricing=name).pricing, reserve_ecpm=90.0)
    fast, plain = (run(order, pages, book, budgets, rules, 5) for run in (run_auctions, run_auctions_plain))
    for column, values in vars(plain).items():
        if column != "ledger":
            np.testing.assert_array_equal(getattr(fast, column), values, err_msg=f"{name}: {column}")
    np.testing.assert_array_equal(fast.ledger.spend, plain.ledger.spend)
    shown = fast.ad >= 0
    assert shown.sum() > 50
    expected = 0.8 * fast.pcvr * fast.bid if name == "pay-four-fifths" else 90.0 / (1000.0 * fast.pctr)
    np.testing.assert_allclose(fast.price[shown], expected[shown], rtol=1e-12)
"""


def test_a_rule_of_two_functions_and_a_name_is_priced_alike_by_both_engines(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "simulator", tmp_path / "simulator", ignore=shutil.ignore_patterns("__pycache__", "profiles")
    )
    settings = tmp_path / "simulator/config/market.py"
    text = settings.read_text(encoding="utf-8")
    assert text.count(LITERAL) == 1
    settings.write_text(text.replace(LITERAL, NEW_LITERAL), encoding="utf-8")
    for engine in ("plain", "kernel"):
        with (tmp_path / f"simulator/market/{engine}.py").open("a", encoding="utf-8") as file:
            file.write(RULES)
    # The folder of the program comes first on the path, and with it the changed copy.
    program = tmp_path / "check.py"
    program.write_text(CHECK, encoding="utf-8")
    shutil.copy(Path(__file__).with_name("market_worlds.py"), tmp_path)
    # Compiled for this once, so in a hurry.
    done = subprocess.run(
        [sys.executable, program],
        env={**os.environ, "NUMBA_OPT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
