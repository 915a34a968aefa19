"""The network that predicts the noise in a corrupted action. Imports no algorithm."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import mish, one_hot

from algorithms.perceptron import (
    Kernels,
    Layers,
    Perceptrons,
    Shape,
    hidden_shapes,
    layers_of,
    perceptron,
)

LEVEL_FEATURES = 16
"""Width of the sinusoid of the level and of its embedding."""


class Denoiser(Perceptrons):
    """Noise in an action, e(x, t, s): x, an embedding of the level t and the observation s through
    `layers` hidden layers of Mish.

    The level's index goes through a sinusoid and 16 -> 32 -> Mish -> 16, and what that adds to the
    first layer is computed once for each level; the level of a row is then one of T more inputs.
    Source of the architecture: the authors' code.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        width: int,
        layers: int,
        levels: int,
        kernels: Kernels,
        device: torch.device,
        generator: torch.Generator,
    ):
        """`layers` hidden layers of `width`; `levels` noise levels."""
        fan_in = action_size + LEVEL_FEATURES + observation_size
        shapes = {
            "time_0/weight": Shape((LEVEL_FEATURES, 2 * LEVEL_FEATURES), LEVEL_FEATURES),
            "time_0/bias": Shape((2 * LEVEL_FEATURES,), LEVEL_FEATURES),
            "time_1/weight": Shape((2 * LEVEL_FEATURES, LEVEL_FEATURES), 2 * LEVEL_FEATURES),
            "time_1/bias": Shape((LEVEL_FEATURES,), 2 * LEVEL_FEATURES),
            "action/weight": Shape((action_size, width), fan_in),
            "level/weight": Shape((LEVEL_FEATURES, width), fan_in),
            "observation/weight": Shape((observation_size, width), fan_in),
            "first/bias": Shape((width,), fan_in),
            **hidden_shapes(width, layers, action_size),
        }
        super().__init__(1, shapes, kernels, device, generator)
        # Not part of the state: recomputed from the number of levels.
        self.register_buffer("sinusoid", sinusoid(levels, device), persistent=False)
        self.register_buffer("one_hot", torch.eye(levels, device=device), persistent=False)

    def at(self, observation: Tensor) -> "NoisePredictor":
        """The predictor at observations (batch, observation)."""
        p = self.parts(self.vectors[0])
        h = mish(torch.addmm(p["time_0/bias"], self.sinusoid, p["time_0/weight"]))
        embedding = torch.addmm(p["time_1/bias"], h, p["time_1/weight"])
        levels = embedding @ p["level/weight"]
        first = [p["action/weight"], levels, p["observation/weight"], p["first/bias"][None]]
        return NoisePredictor(layers_of(first, p), observation, self.one_hot, self.kernels)


class NoisePredictor(NamedTuple):
    """A denoiser at given observations."""

    layers: Layers
    observation: Tensor
    one_hot: Tensor
    """(levels, levels)"""
    kernels: Kernels

    def __call__(self, x: Tensor, level: int | Tensor) -> Tensor:
        """Noise (batch, action) in x (batch, action) at one level, or at levels (batch,)."""
        batch = x.shape[0]
        if isinstance(level, int):
            rows = self.one_hot[level].expand(batch, -1)
        else:
            rows = one_hot(level, len(self.one_hot)).to(x.dtype)
        further = torch.cat([rows, self.observation, x.new_ones(batch, 1)], dim=1)
        return perceptron(x, further, self.layers, self.kernels)


def sinusoid(levels: int, device: torch.device) -> Tensor:
    """(levels, 16): sines, then cosines, of the level's index at frequencies 10000^(-k/7)."""
    half = LEVEL_FEATURES // 2
    index = torch.arange(levels, dtype=torch.float32, device=device)
    k = torch.arange(half, dtype=torch.float32, device=device)
    phase = index[:, None] * torch.exp(-math.log(10000) / (half - 1) * k)
    return torch.cat([phase.sin(), phase.cos()], dim=1)
