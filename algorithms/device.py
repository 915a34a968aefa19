"""The device of a run, and the only crossings between it and the host."""

import re
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor


def resolve_device(name: str) -> torch.device:
    """`auto` is CUDA where it is present and the CPU otherwise.

    Raises ValueError for any other kind of device, and for a CUDA that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch("cpu|cuda(:[0-9]+)?", name):
        raise ValueError(f"unknown device '{name}': auto, cpu, cuda or cuda:N")
    kind, _, index = name.partition(":")
    present = torch.cuda.device_count() if kind == "cuda" else 0
    if kind == "cuda" and int(index or 0) >= present:
        raise ValueError(f"device '{name}' asked for, of {present} CUDA devices here")
    return torch.device(name)


def generator_on(device: torch.device, seed: int) -> torch.Generator:
    """A generator that draws on `device`; `meta` tensors have no values and take the CPU's."""
    kind = "cpu" if device.type == "meta" else device
    return torch.Generator(device=kind).manual_seed(seed)


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy of a host array on the device: bool stays bool, all else becomes float32."""
    dtype = torch.bool if array.dtype == np.bool_ else torch.float32
    # `copy=True`: it would share the host array's memory where device and dtype allow.
    return torch.as_tensor(array).to(device=device, dtype=dtype, copy=True)


def to_host(action: Tensor, flag: Tensor) -> tuple[np.ndarray, list[float]]:
    """An action (n, action) and the latch's flag (2,), in one transfer."""
    packed = torch.cat([action.detach().reshape(-1).to(flag.dtype), flag]).cpu().numpy()
    return packed[:-2].astype(np.float32).reshape(tuple(action.shape)), packed[-2:].tolist()


def adam(parameters: Iterable[Tensor], learning_rate: float, epsilon: float = 1e-8):
    """`torch.optim.Adam`, one operation for all parameters on devices that have it (not `meta`)."""
    parameters = list(parameters)
    is_fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, learning_rate, eps=epsilon, fused=is_fused)


def sampling_dtype(precision: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the processor multiplies it natively, and float32 elsewhere."""
    if precision == "auto":
        native = device.type == "cuda" or (
            device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
        )
        return torch.bfloat16 if native else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
