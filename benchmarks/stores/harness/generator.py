"""Synthetic histories: ultra-long, skewed, sticky, repetitive; any number of behaviours, one seed.

    python benchmarks/stores/harness/generator.py [--users 200]

prints the statistics of a draw. A user's length is Pareto (0.5) between 1,000 and 100,000. A user comes in
sessions; a session has a theme among the user's favourite categories, and most of its behaviours keep to
theme or favourites. Within a category items follow Zipf's law. One behaviour in five takes up an earlier item
again. Item ids are a random order of the catalogue: nothing about an item can be read off its id.

A row is 13 bytes when time is a u4: time 4, item 4, category 2, action 1, dwell 2; u8 items make it 17.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from seqvault import Column, HistorySchema

ITEMS = 5_000_000
CATEGORIES = 1000
SHORTEST, LONGEST, PARETO = 1_000, 100_000, 0.5
REPEATS = 0.22
# A repeat reaches back a geometric number of behaviours.
REPEAT_REACH = 500
FAVOURITES = 32
# Powers of popularity: of categories among all, of items in a category.
POPULARITY, WITHIN = 0.2, 1.1
THEME, FAVOURITE = 0.5, 0.4
SESSION = 30
WITHIN_S, BETWEEN_S = 14.0, 18_000.0
ACTIONS = np.array([0.58, 0.2, 0.1, 0.06, 0.04, 0.02])
DWELL_S, DWELL_SPREAD = 9.0, 1.0
FIRST_S = 1_600_000_000

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Histories:
    """Whole histories, user after user, each sorted by time.

    Args:
        users: (U,) u8 ids.
        bounds: (U+1,) i8; user i's behaviours are rows bounds[i]:bounds[i+1].
        columns: time_s i8, item_id u4 or u8, category u2, action u1, dwell_s u2; (N,) each.
    """

    users: Array
    bounds: Array
    columns: dict[str, Array]

    @property
    def lengths(self) -> Array:
        """(U,) behaviours of each user."""
        return np.diff(self.bounds)

    @property
    def rows(self) -> int:
        """Behaviours of all users."""
        return int(self.bounds[-1])

    @property
    def schema(self) -> HistorySchema:
        """These columns as a store's schema."""
        units = {"time_s": "s", "dwell_s": "s"}
        made = (Column(name, v.dtype.str[1:], units.get(name, "")) for name, v in self.columns.items())
        return HistorySchema("benchmark", 1, tuple(made))

    @property
    def user_ids(self) -> Array:
        """(N,) the user of each row."""
        return np.repeat(self.users, self.lengths)

    def rows_of(self, at: Array) -> dict[str, Array]:
        """The columns of chosen rows."""
        return {name: values[at] for name, values in self.columns.items()}

    def newest(self, i: int, n: int) -> dict[str, Array]:
        """Views of the newest n behaviours of the i-th user: what a read must return."""
        start, end = int(self.bounds[i]), int(self.bounds[i + 1])
        return {name: values[max(start, end - n) : end] for name, values in self.columns.items()}

    def split_newest(self, n: int) -> tuple[Array, Array]:
        """Row numbers of all but each user's newest n behaviours, and of these, in time order."""
        from_end = np.repeat(self.bounds[1:], self.lengths) - np.arange(self.rows)
        late = np.flatnonzero(from_end <= n)
        in_time = np.argsort(self.columns["time_s"][late], kind="stable")
        return np.flatnonzero(from_end > n), late[in_time]


def draw_lengths(users: int, rng: np.random.Generator) -> Array:
    """(U,) lengths: Pareto, cut to SHORTEST..LONGEST."""
    share = (SHORTEST / LONGEST) ** PARETO
    uniform = rng.random(users) * (1 - share)
    lengths: Array = SHORTEST * (1 - uniform) ** (-1 / PARETO)
    return lengths.astype("i8")


def draw(
    users: int,
    seed: int,
    *,
    lengths: Array | None = None,
    item_bytes: int = 4,
    items: int = ITEMS,
) -> Histories:
    """Histories of `users` users.

    Args:
        lengths: (U,) behaviours of each user; None draws them.
        item_bytes: 4 for ids below `items`, 8 for random 64-bit ids.
    """
    rng = np.random.default_rng(seed)
    if lengths is None:
        lengths = draw_lengths(users, rng)
    bounds = np.zeros(users + 1, "i8")
    np.cumsum(lengths, out=bounds[1:])
    rows = int(bounds[-1])
    user = np.repeat(np.arange(users, dtype="u4"), lengths)
    # Everybody's first behaviour opens a session.
    opens = rng.random(rows) < 1 / SESSION
    opens[bounds[:-1]] = True
    dense, category = _items(user, np.cumsum(opens, dtype="i8") - 1, bounds, items, rng)
    columns = {
        "time_s": _times(opens, bounds, rng),
        "item_id": _item_ids(dense, items, item_bytes, seed),
        "category": category.astype("u2"),
        "action": rng.choice(len(ACTIONS), rows, p=ACTIONS).astype("u1"),
        "dwell_s": np.minimum(DWELL_S * np.exp(DWELL_SPREAD * rng.standard_normal(rows)), 65535).astype("u2"),
    }
    return Histories(np.arange(users, dtype="u8"), bounds, columns)


def _times(opens: Array, bounds: Array, rng: np.random.Generator) -> Array:
    gaps_s = np.where(opens, BETWEEN_S, WITHIN_S) * rng.exponential(size=len(opens))
    clock_s = np.cumsum(gaps_s.astype("i8"))
    starts = bounds[:-1]
    first_s = FIRST_S + rng.integers(0, 86_400 * 30, len(starts))
    times_s: Array = clock_s + np.repeat(first_s - clock_s[starts], np.diff(bounds))
    return times_s


def _items(
    user: Array, session: Array, bounds: Array, items: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Dense item numbers, category by category, most popular first; and the categories."""
    rows = len(user)
    favourites = _zipf(CATEGORIES, POPULARITY, (int(bounds.size - 1), FAVOURITES), rng).astype("u2")
    theme = _zipf(FAVOURITES, 0.6, int(session[-1]) + 1, rng).astype("u2")
    chance = rng.random(rows)
    pick = np.where(chance < THEME, theme[session], _zipf(FAVOURITES, 0.6, rows, rng))
    category = favourites[user, pick].astype("i8")
    elsewhere = chance >= THEME + FAVOURITE
    category[elsewhere] = _zipf(CATEGORIES, POPULARITY, int(elsewhere.sum()), rng)
    size = items // CATEGORIES
    dense = category * size + _zipf(size, WITHIN, rows, rng)
    source = _repeated(np.repeat(bounds[:-1], np.diff(bounds)), rng)
    return dense[source], category[source]


def _repeated(start: Array, rng: np.random.Generator) -> Array:
    """(N,) the row whose item each row shows: itself, or for a repeat an earlier one of its user."""
    at = np.arange(len(start))
    repeats = rng.random(len(at)) < REPEATS
    back = rng.geometric(1 / REPEAT_REACH, len(at))
    source = np.where(repeats, np.maximum(at - back, start), at)
    # Repeats of repeats: each pass doubles how far a chain is followed.
    while True:
        further = source[source]
        if np.array_equal(further, source):
            return source
        source = further


def _zipf(count: int, power: float, shape: int | tuple[int, ...], rng: np.random.Generator) -> Array:
    """Ranks 0..count-1 with probability about 1 / (rank + 1)**power."""
    uniform = rng.random(shape)
    if power == 1.0:
        ranks = np.expm1(uniform * np.log1p(count))
    else:
        ranks = (1 + uniform * ((count + 1) ** (1 - power) - 1)) ** (1 / (1 - power)) - 1
    kept: Array = np.minimum(ranks.astype("i8"), count - 1)
    return kept


def _item_ids(dense: Array, items: int, item_bytes: int, seed: int) -> Array:
    """Ids of dense item numbers; the same catalogue for the same seed."""
    rng = np.random.default_rng([seed, 1])
    if item_bytes == 4:
        ids: Array = rng.permutation(items).astype("u4")
    else:
        ids = rng.integers(1, 1 << 63, items, dtype="u8")
    chosen: Array = ids[dense]
    return chosen


def statistics(histories: Histories) -> dict[str, float]:
    """What the draw looks like: lengths, distinct items, repeats, popularity."""
    item = histories.columns["item_id"].astype("u8")
    user = np.repeat(np.arange(len(histories.users), dtype="u8"), histories.lengths)
    everyone = np.unique(item).size
    pairs = np.unique(user << np.uint64(40) | _numbered(item)).size
    gaps_s = np.diff(histories.columns["time_s"])[np.diff(user) == 0]
    top = np.sort(np.unique(item, return_counts=True)[1])[::-1]
    return {
        "users": len(histories.users),
        "behaviours": histories.rows,
        "length_median": float(np.median(histories.lengths)),
        "length_max": int(histories.lengths.max()),
        "distinct_items": everyone,
        "distinct_of_user": pairs / histories.rows,
        "top_percent_of_items": float(top[: max(1, everyone // 100)].sum() / histories.rows),
        "gap_median_s": float(np.median(gaps_s)),
        "same_second": float((gaps_s == 0).mean()),
        "row_bytes": sum(v.dtype.itemsize for v in histories.columns.values()) - 4,
    }


# The data the bars were set on (one draw of 2,000 users).
REFERENCE = {
    "users": 2000,
    "behaviours": 19_700_000,
    "length_median": 3300,
    "length_max": 100_000,
    "distinct_items": 2_800_000,
    "distinct_of_user": 0.39,
    "row_bytes": 13,
}


def _numbered(item: Array) -> Array:
    """Items as numbers below 2**40."""
    if item.size == 0 or int(item.max()) < 1 << 40:
        return item
    return np.unique(item, return_inverse=True)[1].astype("u8")


def main() -> None:
    """Draw and describe."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--item-bytes", type=int, choices=(4, 8), default=4)
    args = parser.parse_args()
    for name, value in statistics(draw(args.users, args.seed, item_bytes=args.item_bytes)).items():
        print(f"{name:22} {value:>14,.6g}   reference {REFERENCE.get(name, '-')}")


if __name__ == "__main__":
    main()
