"""What every process of `test_parallel_training` does: python parallel_script.py FOLDER KIND..."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from miniature import Miniature, generate
from ranking_batches import ADS, CATEGORIES, config

from laser.training.loop import TrainConfig, train
from laser.training.parallel import rank

# 240 requests in batches of 49: shares differ in size, and a process may hold one request fewer.
HOW = TrainConfig(40, batch=49, held_out=0.1, checks=2, learning_rate=1e-3, clip=1.0)


def trained(folder: Path, kinds: list[str]) -> None:
    """Train each kind and save its weights and losses by this process's rank."""
    examples, _ = generate(Miniature(users=60, length=60, categories=CATEGORIES, ads=ADS), seed=5)
    folder.mkdir(exist_ok=True)
    for kind in kinds:
        losses: list[float] = []
        model = train(config(kind), HOW, examples, seed=3, progress=lambda *at: losses.append(at[2]))  # noqa: B023
        torch.save({"state": model.state_dict(), "losses": losses}, folder / f"{kind}-{rank()}.pt")


if __name__ == "__main__":
    trained(Path(sys.argv[1]), sys.argv[2:])
