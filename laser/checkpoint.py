"""Model checkpoints: weights, configuration and notes in one file that is either whole or refused.

    +-------+----------------+--------------------+------------------------+---------------+
    | magic | header length  | header (JSON)      | weights, little-endian | SHA-256 of    |
    | 8 B   | u64            | config, meta, index| one after another      | all before it |
    +-------+----------------+--------------------+------------------------+---------------+

No pickle: loading a file cannot run code. The same model and meta give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from laser.errors import LaserError
from laser.models import ModelConfig, RankingModel, build_model

_MAGIC = b"LASERCK1"
_LENGTH = struct.Struct("<Q")
_DIGEST_BYTES = 32
# Raised when a file of before can no longer be read; files without a number are of schema 1.
SCHEMA = 1


class CheckpointError(LaserError):
    """A model checkpoint that is missing, damaged, or of another program version."""


def save(model: RankingModel, path: Path, meta: dict[str, Any]) -> None:
    """Write a checkpoint; the file appears whole or not at all.

    Args:
        model: any device; weights are stored as they are.
        path: replaced if it exists.
        meta: JSON-able notes, given back by `load`.

    Raises:
        CheckpointError: a weight is NaN or infinite.
    """
    _check_finite(model, path, "Nothing was written; train it again at a lower learning rate.")
    index, blobs = [], []
    for name, tensor in model.state_dict().items():
        array = tensor.detach().cpu().contiguous().numpy()
        blob = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        index.append({"name": name, "dtype": array.dtype.str.replace(">", "<"), "shape": list(array.shape)})
        blobs.append(blob)
    header = {"schema": SCHEMA, "config": json.loads(model.config.to_json()), "meta": meta, "weights": index}
    text = json.dumps(header, sort_keys=True).encode()
    body = b"".join([_MAGIC, _LENGTH.pack(len(text)), text, *blobs])
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(body)
        file.write(hashlib.sha256(body).digest())
        file.flush()
        os.fsync(file.fileno())  # Before the rename: the name must never point at bytes the disk may lose.
    temporary.replace(path)


def load(path: Path, expected: ModelConfig | None = None) -> tuple[RankingModel, dict[str, Any]]:
    """Read a checkpoint into a model in evaluation mode, with its meta.

    Args:
        expected: the model that must be in it; None takes any.

    Raises:
        CheckpointError: the file is missing, damaged, of another schema or model, does not fit the model it
            names, or holds NaN.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}: {error.strerror}, expected a model checkpoint. Train it or fix the path."
        ) from error
    header, weights = _open(path, content)
    if (found := header.get("schema", 1)) != SCHEMA:
        raise CheckpointError(
            f"{path}: schema {found}, expected {SCHEMA}. Train the model again, or use the version it is of."
        )
    try:
        model = build_model(ModelConfig(**header["config"]), seed=0)
        model.load_state_dict(_tensors(header["weights"], weights))
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: whole, but does not fit this program's models ({error}). Train it again."
        ) from error
    if expected is not None:
        _check_same(path, model.config, expected)
    _check_finite(model, path, "It cannot score; train the model again.")
    return model.eval(), header["meta"]


def _check_same(path: Path, found: ModelConfig, expected: ModelConfig) -> None:
    one, other = asdict(found), asdict(expected)
    differing = ", ".join(f"{k} {one[k]!r} (expected {other[k]!r})" for k in one if one[k] != other[k])
    if differing:
        raise CheckpointError(
            f"{path}: found a model with {differing}. Give the arm the checkpoint of its own model, "
            "trained on a world of these sizes, or leave `checkpoint` out."
        )


def _check_finite(model: RankingModel, path: Path, repair: str) -> None:
    for name, weights in model.state_dict().items():
        if weights.is_floating_point() and not bool(torch.isfinite(weights).all()):
            raise CheckpointError(f"{path}: {name} holds NaN or infinity, expected numbers. {repair}")


def _open(path: Path, content: bytes) -> tuple[dict[str, Any], memoryview]:
    repair = "Restore the file from a copy, or train the model again."
    if content[: len(_MAGIC)] != _MAGIC:
        raise CheckpointError(f"{path}: starts with {content[:8]!r}, expected {_MAGIC!r}. {repair}")
    body = content[:-_DIGEST_BYTES]
    found, expected = hashlib.sha256(body).digest(), content[-_DIGEST_BYTES:]
    if found != expected:
        raise CheckpointError(
            f"{path}: damaged or cut short, SHA-256 {found.hex()[:16]}, expected "
            f"{expected.hex()[:16]}. {repair}"
        )
    start = len(_MAGIC) + _LENGTH.size
    (length,) = _LENGTH.unpack_from(body, len(_MAGIC))
    return json.loads(body[start : start + length]), memoryview(body)[start + length :]


def _tensors(index: list[dict[str, Any]], weights: memoryview) -> dict[str, torch.Tensor]:
    tensors, at = {}, 0
    for entry in index:
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        count = int(np.prod(shape))
        array = np.frombuffer(weights, dtype, count, at).reshape(shape)
        tensors[entry["name"]] = torch.from_numpy(array.astype(dtype.newbyteorder("=")))
        at += array.nbytes
    return tensors
