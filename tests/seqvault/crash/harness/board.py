"""The board a killed writer and its readers share: a file that both have mapped.

(2, streams + 1) u8: row 0 holds the operations issued, row 1 those acknowledged, by stream number; [0, 0]
ends the reader, [1, 0] counts its reads.
"""

from pathlib import Path

import numpy as np
from streams import standard_streams

SHAPE = (2, len(standard_streams()) + 1)


def make_board(path: Path) -> np.ndarray:
    return np.memmap(path, "u8", "w+", shape=SHAPE)


def open_board(path: str) -> np.ndarray:
    return np.memmap(path, "u8", "r+", shape=SHAPE)
