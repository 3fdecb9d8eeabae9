"""The optimisers are torch's, without the compiler that those import."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Adagrad, Adam, Optimizer

from laser.training.optimisers import _Adagrad, _Adam

PROGRAM = """
import sys
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from laser.training.optimisers import _Adagrad, _Adam

weights = nn.Parameter(torch.zeros(3))
for optimiser in (_Adam([weights], fused=True), _Adagrad([weights])):
    schedule = OneCycleLR(optimiser, 0.1, 3, cycle_momentum=False)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    optimiser.zero_grad(set_to_none=True)
    weights.grad = torch.ones(3)
    scaler.unscale_(optimiser)
    nn.utils.clip_grad_norm_([weights], 1.0)
    scaler.step(optimiser)
    scaler.update()
    schedule.step()
    optimiser.load_state_dict(optimiser.state_dict())
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize(
    ("own", "torchs", "options"),
    [(_Adam, Adam, {"betas": (0.8, 0.99), "fused": True}), (_Adagrad, Adagrad, {"lr": 0.03})],
)
def test_steps_are_those_of_torch_to_the_bit(
    own: Callable[..., Optimizer], torchs: Callable[..., Optimizer], options: dict[str, Any]
) -> None:
    ended = []
    for kind in (own, torchs):
        weights, generator = nn.Parameter(torch.ones(50)), torch.Generator().manual_seed(3)
        optimiser = kind([weights], **options)
        for step in range(6):
            optimiser.zero_grad()
            (weights * torch.randn(50, generator=generator)).square().sum().backward()
            optimiser.step()
            if step == 2:  # as after an interruption
                state = optimiser.state_dict()
                optimiser = kind([weights], **options)
                optimiser.load_state_dict(state)
        ended.append(weights.detach())
    assert torch.equal(*ended)


def test_a_training_step_does_not_import_torchs_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
