"""Dictionaries make blocks smaller, survive a file, and change nothing that is read."""

from collections.abc import Iterator

import numpy as np
import pytest
from blocks import decode, encode
from hypothesis import given, settings
from hypothesis import strategies as st

from seqvault import Column, HistorySchema
from seqvault.vault.engine.training import build_dictionary
from seqvault.vault.format.block import decode_block_plain, encode_blocks_plain, read_header
from seqvault.vault.format.damage import NO_DICTIONARY, BlockDamage
from seqvault.vault.format.dictionary import Dictionary
from seqvault.vault.format.items import ItemTable

SHOP = HistorySchema(
    "shop",
    1,
    (Column("time_s", "i8"), Column("item", "u8"), Column("category", "u2"), Column("dwell_s", "u2")),
)
ITEMS = 20_000


def behaviours(rows: int, seed: int) -> dict[str, np.ndarray]:
    """One user's rows: neighbours of a few items, ids at random; the same catalogue for every seed."""
    catalogue = np.random.default_rng(99)
    ids = catalogue.integers(0, 1 << 63, ITEMS, dtype="u8")
    category_of = catalogue.integers(0, 200, ITEMS).astype("u2")
    by_category = np.argsort(category_of, kind="stable")
    rng = np.random.default_rng(seed)
    near = rng.integers(0, ITEMS - 300, 5)[rng.integers(0, 5, rows)] + rng.integers(0, 300, rows)
    item = by_category[near]
    return {
        "time_s": np.cumsum(rng.exponential(40, rows).astype("i8")),
        "item": ids[item],
        "category": category_of[item],
        "dwell_s": np.minimum(rng.lognormal(2, 1, rows), 65535).astype("u2"),
    }


def samples(seeds: range) -> Iterator[dict[str, np.ndarray]]:
    for seed in seeds:
        yield behaviours(2000, seed)


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    return build_dictionary(SHOP, samples(range(60)), 5)


def test_items_are_found_by_what_follows_from_them(dictionary: Dictionary) -> None:
    assert dictionary.items is not None
    assert (dictionary.items.key, dictionary.items.attribute) == (1, 2)
    seen = np.unique(np.concatenate([sample["item"] for sample in samples(range(60))]))
    assert np.array_equal(np.sort(dictionary.items.values), seen)


def test_a_dictionary_file_reads_back(dictionary: Dictionary) -> None:
    data = dictionary.to_bytes()
    again = Dictionary.from_bytes(data)
    assert (again.id, again.schema_id, again.trained) == (5, SHOP.id, dictionary.trained)
    assert again.items is not None
    assert dictionary.items is not None
    for ours, theirs in zip(dictionary.items, again.items, strict=True):
        assert np.array_equal(ours, theirs)
    assert again.items.values.dtype == np.dtype("u8")
    for at in (0, 4, 9, 30, len(data) // 2, len(data) - 1):
        damaged = bytearray(data)
        damaged[at] ^= 16
        with pytest.raises(BlockDamage):
            Dictionary.from_bytes(bytes(damaged))
    for size in (0, 10, len(data) - 1):
        with pytest.raises(BlockDamage):
            Dictionary.from_bytes(data[:size])


@pytest.mark.parametrize("codec", ["packed", "zstd"])
@pytest.mark.parametrize("rows", [300, 3000])
def test_blocks_with_a_dictionary_are_smaller_and_read_the_same(
    dictionary: Dictionary, codec: str, rows: int
) -> None:
    # Half of these items are unknown to the dictionary's samples' users, some to the dictionary.
    columns = behaviours(rows, 1000)
    bounds = np.array([0, rows])
    plain, _ = encode(SHOP, columns, bounds, codec)
    blocks, _ = encode(SHOP, columns, bounds, codec, dictionary=dictionary)
    twin, _ = encode_blocks_plain(
        SHOP, np.array([5]), np.array([40]), bounds, columns, codec=codec, dictionary=dictionary
    )
    assert np.array_equal(blocks, twin)
    assert len(blocks) < 0.85 * len(plain)
    assert read_header(blocks).dictionary_id == 5
    for read in (decode, decode_block_plain):
        found = read(SHOP, blocks, 0, 7, rows - 3, SHOP.names, (dictionary,))
        assert all(np.array_equal(found[name], columns[name][7 : rows - 3]) for name in SHOP.names)


def test_trained_dictionaries_make_small_blocks_smaller(dictionary: Dictionary) -> None:
    only_trained = Dictionary(6, SHOP.id, dictionary.trained)
    columns = behaviours(8000, 2000)
    bounds = np.arange(0, 8001, 250)
    plain, _ = encode(SHOP, columns, bounds, "zstd")
    blocks, _ = encode(SHOP, columns, bounds, "zstd", dictionary=only_trained)
    assert len(blocks) < 0.99 * len(plain)


def test_unknown_items_and_other_attributes_read_back() -> None:
    table = ItemTable(1, 2, np.array([30, 10, 20], "u8"), np.array([1, 2, 2], "u2"))
    dictionary = Dictionary(1, SHOP.id, (), table)
    item = np.tile(np.array([10, 20, 30, 30, 10, 99], "u8"), 100)
    columns = {"time_s": np.arange(600), "item": item, "category": (item // 10).astype("u2")}
    columns["dwell_s"] = columns["category"]
    blocks, _ = encode(SHOP, columns, np.array([0, 600]), dictionary=dictionary)
    for read in (decode, decode_block_plain):
        found = read(SHOP, blocks, 0, 0, 600, SHOP.names, (dictionary,))
        assert all(np.array_equal(found[name], columns[name]) for name in SHOP.names)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=40))
def test_items_are_numbered_as_a_dict_would(pairs: list[tuple[int, int]]) -> None:
    attribute_of = dict(pairs)
    ordered = sorted(attribute_of, key=lambda item: (attribute_of[item], item))
    values = np.array(ordered, "u8")
    table = ItemTable(1, 2, values, np.array([attribute_of[i] for i in ordered], "u2"))
    asked = np.arange(10, dtype="u8"), np.array([attribute_of.get(i, 0) for i in range(10)], "u8")
    numbers, known = table.numbers(*asked)
    for item in range(10):
        assert known[item] == (item in attribute_of)
        if known[item]:
            assert ordered[numbers[item]] == item


def test_a_block_with_an_unknown_dictionary_is_refused() -> None:
    schema = HistorySchema("small", 1, (Column("time_s", "i8"),))
    known, other = Dictionary(3, schema.id), Dictionary(4, schema.id)
    blocks, _ = encode(schema, {"time_s": np.arange(3)}, np.array([0, 3]), dictionary=known)
    for read in (decode, decode_block_plain):
        with pytest.raises(BlockDamage) as caught:
            read(schema, blocks, 0, 0, 3, ("time_s",), (other,))
        assert caught.value.code == NO_DICTIONARY
        assert read(schema, blocks, 0, 0, 3, ("time_s",), (known,))["time_s"].tolist() == [0, 1, 2]


def test_no_dictionary_comes_of_columns_that_do_not_repeat() -> None:
    schema = HistorySchema("small", 1, (Column("time_s", "i8"), Column("c", "u8")))
    rng = np.random.default_rng(1)
    rows = ({"time_s": np.arange(50), "c": rng.integers(0, 1 << 62, 50, "u8")} for _ in range(3))
    assert build_dictionary(schema, rows, 1).items is None
    assert build_dictionary(schema, [], 1).items is None
