"""Request frames come back whole, or not at all."""

import numpy as np
import pytest
from histories import behaviours, same

from seqvault import BEHAVIOURS, HistoryBatch
from seqvault.memory import MemoryStore
from seqvault.transport import FrameError, pack, unpack


@pytest.fixture
def batch() -> HistoryBatch:
    store = MemoryStore()
    store.append(*behaviours(0, 60))
    return store.read_last([4, 99, 2, 4], 12)


@pytest.mark.parametrize("level", [-5, 1, 9])
def test_frame_gives_the_batch_back(batch: HistoryBatch, level: int) -> None:
    same(unpack(pack(batch, level=level)), batch)


def test_frames_of_no_user_and_of_chosen_columns_come_back() -> None:
    store = MemoryStore()
    same(unpack(pack(store.read_last([], 3))), store.read_last([], 3))
    store.append(*behaviours(1, 20))
    chosen = store.read_last([1, 2], 3, columns=["dwell_s"])
    same(unpack(pack(chosen)), chosen)


def test_frame_is_smaller_than_its_columns() -> None:
    store = MemoryStore()
    user_ids, columns = behaviours(0, 3000)
    store.append(user_ids, {**columns, "item_id": columns["item_id"] % 5000, "category": user_ids})
    frame = pack(store.read_last(np.arange(7), 1000))
    assert len(frame) < 0.5 * 3000 * BEHAVIOURS.row_bytes


def test_every_flipped_bit_is_an_error_or_harmless(batch: HistoryBatch) -> None:
    frame = pack(batch)
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << (bit % 8)
        try:
            found = unpack(bytes(damaged))
        except FrameError:
            continue
        # ZSTD leaves a few header bits unused.
        same(found, batch)


def test_cut_or_lengthened_frame_is_an_error(batch: HistoryBatch) -> None:
    frame = pack(batch)
    for wrong in (*(frame[:end] for end in range(len(frame))), frame + b"x", frame + frame):
        with pytest.raises(FrameError, match="send it again"):
            unpack(wrong)


def test_other_payload_is_an_error() -> None:
    import zstandard

    for payload in (b"", b"hello", b"SVT1" + bytes(40), b"SVT1\xff\xff\xff\x7f\x06\x00\x00\x00"):
        with pytest.raises(FrameError, match="not a request frame"):
            unpack(zstandard.ZstdCompressor(write_checksum=True).compress(payload))
