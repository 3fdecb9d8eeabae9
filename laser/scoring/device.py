"""What a device is called, for manifests and profiles."""

from __future__ import annotations

import torch

from laser.scoring.runtime import resolve_device


def gpu_name(device: str = "auto") -> str | None:
    """The GPU that a device name means, such as "NVIDIA H100 80GB HBM3"; None for the CPU.

    Raises:
        DeviceError: the device is absent.
    """
    resolved = resolve_device(device)
    return torch.cuda.get_device_name(resolved) if resolved.type == "cuda" else None
