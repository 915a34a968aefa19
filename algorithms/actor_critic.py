"""What actor-critics share beside policies: ReLU critics, and how a policy trains through them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from algorithms.networks import StackedLinear
from algorithms.policies import uniform_


class ReLUCritics(nn.Module):
    """Q_1, Q_2, ...: ReLU networks of one shape, applied by batched products."""

    def __init__(self, inputs: int, width: int, layers: int, device, generator, copies: int = 2):
        """`copies` networks of `layers` hidden layers of `width`, weights as torch's own linear
        layers have them."""
        super().__init__()
        self.copies = copies
        sizes = [inputs] + [width] * layers + [1]
        self.layers = nn.ModuleList(
            StackedLinear(copies, *size, device, generator)
            for size in zip(sizes[:-1], sizes[1:], strict=True)
        )
        for layer, fan_in in zip(self.layers, sizes[:-1], strict=True):
            uniform_(layer.weight, fan_in, generator)
            uniform_(layer.bias, fan_in, generator)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Q (copies, batch) at observations (batch, observation) and actions (batch, action)."""
        h = torch.cat([observation, action], dim=1).expand(self.copies, -1, -1)
        for layer in self.layers[:-1]:
            h = rectified(layer(h))
        return self.layers[-1](h).squeeze(-1)


def rectified(x: Tensor) -> Tensor:
    """max(x, 0) to the bit. Compiled, `torch.relu` leaves its derivative as a mask of booleans
    where no weight is trained, and that doubles the time of the actor's loss."""
    return 0.5 * (x + x.abs())


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradients for the parameters of a module that others are trained through."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
