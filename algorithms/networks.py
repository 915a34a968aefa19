"""Networks: stacked twins, so that one batched product serves both critics.

Imports nothing from the project. Weights are stored (copies, inputs, outputs).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import mish


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
        super().__init__()
        weight = torch.empty(copies, inputs, outputs, device=device)
        self.weight = nn.Parameter(truncated_normal_(weight, fan_in or inputs, generator))
        self.bias = nn.Parameter(torch.zeros(copies, 1, outputs, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """(copies, batch, inputs) -> (copies, batch, outputs)."""
        return torch.baddbmm(self.bias, x, self.weight)


@torch.no_grad()
def polyak_update(target: nn.Module, online: nn.Module, rate: float) -> None:
    """target <- (1 - rate) target + rate online, parameter by parameter."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), rate)


__all__ = ["StackedLinear", "mish", "polyak_update", "truncated_normal_"]
