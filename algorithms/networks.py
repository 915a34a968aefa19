"""Critics: twins stacked in one module, so that one batched product serves both.

Imports nothing from the project. Weights are stored (copies, inputs, outputs).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mish

LEVEL_FEATURES = 16
"""Width of the sinusoid of the level and of its embedding. Source: authors' code."""


def truncated_normal_(weight: Tensor, fan_in: int, generator: torch.Generator) -> Tensor:
    """Fill with draws of a normal of deviation 1 / sqrt(fan_in), cut off at two deviations: the
    default of the library (Haiku) that the authors' code uses. Torch's own is uniform, smaller."""
    deviation = 1 / math.sqrt(fan_in)
    return nn.init.trunc_normal_(
        weight, std=deviation, a=-2 * deviation, b=2 * deviation, generator=generator
    )


class StackedLinear(nn.Module):
    """`copies` independent linear layers, applied by one batched product."""

    def __init__(
        self,
        copies: int,
        inputs: int,
        outputs: int,
        device: torch.device,
        generator: torch.Generator,
        fan_in: int | None = None,
    ):
        """`fan_in` is the width of the whole input where this layer holds only a part of it."""
        super().__init__()
        weight = torch.empty(copies, inputs, outputs, device=device)
        self.weight = nn.Parameter(truncated_normal_(weight, fan_in or inputs, generator))
        self.bias = nn.Parameter(torch.zeros(copies, 1, outputs, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """(copies, batch, inputs) -> (copies, batch, outputs)."""
        return torch.bmm(x, self.weight) + self.bias


class Conditioning(NamedTuple):
    """What Q as a function of the action alone depends on; constant along a chain."""

    context: Tensor
    """(copies, batch, width): the observation's part of the first layer, bias included."""
    level: Tensor
    """(copies, 1, width): the noise level's part of the first layer."""
    weights: tuple[Tensor, ...]
    """Weights of the hidden layers in the precision of the chain's matrix products."""


class Critics(nn.Module):
    """`copies` independent Q(s, a), or Q(s, a, level) where `levels` are given.

    The first layer is kept in parts (observation, action, level): a chain over actions then needs
    the products with the other two only once. The level's index goes through a sinusoid (first
    sines, then cosines, frequencies 10000^(-k/8), scaled by 1/4) and 16 -> 32 -> Mish -> 16.
    Source of the architecture: authors' code.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        width: int,
        layers: int,
        device: torch.device,
        generator: torch.Generator,
        levels: int = 0,
        copies: int = 2,
    ):
        """`layers` hidden layers of `width`; `levels` noise levels, 0 for none."""
        super().__init__()
        self.copies, self.levels = copies, levels
        common = {"device": device, "generator": generator}
        fan_in = observation_size + action_size + (LEVEL_FEATURES if levels else 0)
        self.observation_layer = StackedLinear(
            copies, observation_size, width, fan_in=fan_in, **common
        )
        action_weight = torch.empty(copies, action_size, width, device=device)
        self.action_weight = nn.Parameter(truncated_normal_(action_weight, fan_in, generator))
        if levels:
            level_weight = torch.empty(copies, LEVEL_FEATURES, width, device=device)
            self.level_weight = nn.Parameter(truncated_normal_(level_weight, fan_in, generator))
            self.time_0 = StackedLinear(copies, LEVEL_FEATURES, 2 * LEVEL_FEATURES, **common)
            self.time_1 = StackedLinear(copies, 2 * LEVEL_FEATURES, LEVEL_FEATURES, **common)
            # Not part of the state: recomputed from the number of levels.
            self.register_buffer("sinusoid", sinusoid(levels, device), persistent=False)
        self.hidden = nn.ModuleList(
            StackedLinear(copies, width, width, **common) for _ in range(layers - 1)
        )
        self.output = StackedLinear(copies, width, 1, **common)

    def context(self, observation: Tensor) -> Tensor:
        """(batch, observation) -> (copies, batch, width)."""
        return self.observation_layer(observation.expand(self.copies, -1, -1))

    def level_context(self) -> Tensor:
        """(copies, levels, width): every level's part of the first layer; (copies, 1, width) of
        zeros where Q knows no levels."""
        if not self.levels:
            return torch.zeros_like(self.observation_layer.bias)
        features = self.sinusoid.expand(self.copies, -1, -1)
        return torch.bmm(self.time_1(mish(self.time_0(features))), self.level_weight)

    def value(self, context: Tensor, action: Tensor) -> Tensor:
        """Q (copies, batch) from a first layer's context (copies, batch, width) and actions."""
        action = action.expand(self.copies, -1, -1)
        activation = Mish.apply if torch.is_grad_enabled() else mish
        h = activation(context + torch.bmm(action, self.action_weight))
        for layer in self.hidden:
            h = activation(layer(h))
        return self.output(h).squeeze(-1)

    def forward(self, observation: Tensor, action: Tensor, level: Tensor | None = None) -> Tensor:
        """Q (copies, batch) at observations, actions and levels (batch,) of integers."""
        context = self.context(observation)
        if level is not None:
            # A product with one-hot rows: its gradient is a product too, where indexing's is a
            # scatter, row by row.
            rows = nn.functional.one_hot(level, max(self.levels, 1)).to(context.dtype)
            context = context + torch.matmul(rows, self.level_context())
        return self.value(context, action)

    def conditioning(self, observation: Tensor, precision: torch.dtype) -> list[Conditioning]:
        """For each level, coarse to fine, what `action_gradient` needs beside the action."""
        context = self.context(observation)
        weights = tuple(layer.weight.to(precision) for layer in self.hidden)
        levels = self.level_context().split(1, dim=1)
        return [Conditioning(context, level, weights) for level in levels]

    def action_gradient(self, action: Tensor, conditioning: Conditioning) -> Tensor:
        """Sum over the copies of grad_a Q, (batch, action), written out.

        Equals automatic differentiation of `value` and needs half its time: nothing is computed
        for the weights, and Mish and its derivative share one exponential. Only the products of
        the hidden layers run in the precision of `conditioning.weights`; all else in float32.
        """
        weights = conditioning.weights
        precision = weights[0].dtype if weights else torch.float32
        action = action.expand(self.copies, -1, -1)
        x = conditioning.context + conditioning.level + torch.bmm(action, self.action_weight)
        h, slope = mish_with_derivative(x)
        slopes = [slope]
        for layer, weight in zip(self.hidden, weights, strict=True):
            x = torch.bmm(h.to(precision), weight).to(torch.float32) + layer.bias
            h, slope = mish_with_derivative(x)
            slopes.append(slope)
        g = slopes.pop() * self.output.weight.transpose(1, 2)
        for weight in reversed(weights):
            g = torch.bmm(g.to(precision), weight.transpose(1, 2)).to(torch.float32)
            g = g * slopes.pop()
        return torch.bmm(g, self.action_weight.transpose(1, 2)).sum(0)


def mish_with_derivative(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mish(x) = x tanh(softplus(x)) and its derivative, from one exponential and one division.

    With e = exp(x): tanh(softplus(x)) = n / (n + 2), n = e (e + 2). Beyond x = 20 it is 1 in
    float32, and clamping there keeps e^2 finite; below -80 both are 0 up to |x| exp(-80).
    """
    if not torch.compiler.is_compiling():  # fewer, larger operations
        return mish(x), torch.ops.aten.mish_backward(torch.ones_like(x), x)
    clamped = x.clamp(-80.0, 20.0)
    e = exponential(clamped) if x.device.type == "cpu" else torch.exp(clamped)
    n = e * (e + 2)
    d = 1 / (n + 2)
    t = n * d
    return x * t, t + x * (4 * e * (e + 1)) * (d * d)


POWER_OF_TWO = (1.00000007, 0.69314697, 0.2402212, 0.05550713, 0.00967554, 0.00132765)
"""2^f on [-1/2, 1/2] as a polynomial in f: that of the least largest relative error, under 1e-7."""


def exponential(x: Tensor) -> Tensor:
    """exp(x) for x in [-87, 88], float32, to a relative error of 4e-6: 2^k times a polynomial.

    For compiled loops on a processor, where torch's own, right to the last bit, is the dearest part
    of Mish.
    """
    scaled = x * math.log2(math.e)
    whole = torch.round(scaled)
    f = scaled - whole
    value = POWER_OF_TWO[-1] * f + POWER_OF_TWO[-2]
    for coefficient in POWER_OF_TWO[-3::-1]:
        value = value * f + coefficient
    # 2^k: k in the exponent's bits of a float.
    return value * ((whole.to(torch.int32) + 127) << 23).view(torch.float32)


class Mish(torch.autograd.Function):
    """Mish that keeps its derivative for the backward pass instead of computing it there."""

    @staticmethod
    def forward(context, x: Tensor) -> Tensor:
        y, slope = mish_with_derivative(x)
        context.save_for_backward(slope)
        return y

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        (slope,) = context.saved_tensors
        return gradient * slope


def sinusoid(levels: int, device: torch.device) -> Tensor:
    """(levels, 16): sines, then cosines, of the level's index, scaled by 1 / sqrt(16)."""
    half = LEVEL_FEATURES // 2
    index = torch.arange(levels, dtype=torch.float32, device=device)
    frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float32, device=device) / half)
    phase = index[:, None] * frequency
    return torch.cat([phase.sin(), phase.cos()], dim=1) / math.sqrt(LEVEL_FEATURES)


@torch.no_grad()
def polyak_update(target: nn.Module, online: nn.Module, rate: float) -> None:
    """target <- (1 - rate) target + rate online, parameter by parameter."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), rate)
