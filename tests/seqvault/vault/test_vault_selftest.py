"""Compiled code that errs is noticed before it serves a store, and numpy serves instead."""

import sys
from pathlib import Path

import numpy as np
import pytest

from seqvault.vault import SeqVault
from seqvault.vault.compiled import encode, selftest
from seqvault.vault.compiled.compiled_records import CompiledRecords
from seqvault.vault.compiled.rewrite import PlainBlocks
from seqvault.vault.engine import state
from seqvault.vault.kernels import decode


def test_kernels_agree_with_their_twins_here() -> None:
    assert selftest.trusted()
    assert selftest.encoder_trusted()


def test_wrong_reads_are_noticed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(decode, "decode_rows", lambda *arguments: 0)  # says it decoded, and did not
    assert not selftest.trusted.__wrapped__()
    assert "numpy serves instead" in caplog.text


def test_wrong_records_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    read = CompiledRecords.read
    monkeypatch.setattr(CompiledRecords, "read", lambda *a: [np.roll(c, 1) for c in read(*a)])
    assert not selftest.trusted.__wrapped__()


def test_wrong_encoding_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = encode.encode_blocks

    def wrong(*arguments: object, **more: object):  # type: ignore[no-untyped-def]
        data, offsets = right(*arguments, **more)  # type: ignore[arg-type]
        data[-9] ^= 1
        return data, offsets

    monkeypatch.setattr(encode, "encode_blocks", wrong)
    assert not selftest.encoder_trusted.__wrapped__()


def test_store_without_numba_is_served_by_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules, "seqvault.vault.compiled.compiled_records", None
    )  # importing it now fails
    monkeypatch.setattr(selftest, "trusted", selftest.trusted.__wrapped__)
    with SeqVault(tmp_path) as store:
        assert store.stats()["plain"] == 1
        store.append([1], {c.name: [7] for c in store.schema.columns})
        store.seal()
        assert store.read_last([1], 1).columns["item_id"].tolist() == [7]


def test_store_whose_encoder_errs_encodes_with_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "encoder_trusted", lambda: False)
    with SeqVault(tmp_path, background=False) as store:
        for time_s in (1, 2):
            store.append([1], {c.name: [time_s] for c in store.schema.columns})
            store.seal()
        store.compact(full=True)
        assert isinstance(store._access.state.blocks, PlainBlocks)
        assert store.read_last([1], 9).columns["item_id"].tolist() == [1, 2]
