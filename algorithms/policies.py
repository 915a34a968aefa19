"""Gaussian policies and the feed-forward networks around them. Imports nothing from the project."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def linear(inputs: int, outputs: int, device: torch.device) -> nn.Linear:
    """A linear layer whose weights are yet to be filled: torch's own filling would draw from the
    global generator."""
    return torch.nn.utils.skip_init(nn.Linear, inputs, outputs, device=device)


def orthogonal_perceptron(
    sizes: Sequence[int],
    output_gain: float,
    device: torch.device,
    generator: torch.Generator,
) -> nn.Sequential:
    """Tanh between layers of `sizes`; orthogonal weights of gain sqrt(2), the last layer's
    `output_gain`, biases zero."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes[:-2], sizes[1:-1], strict=True):
        layers += [linear(inputs, outputs, device), nn.Tanh()]
        _orthogonal_(layers[-2], math.sqrt(2), generator)
    layers.append(linear(sizes[-2], sizes[-1], device))
    _orthogonal_(layers[-1], output_gain, generator)
    return nn.Sequential(*layers)


def _orthogonal_(layer: nn.Linear, gain: float, generator: torch.Generator) -> None:
    nn.init.orthogonal_(layer.weight, gain, generator=generator)
    nn.init.zeros_(layer.bias)


class DiagonalGaussianPolicy(nn.Module):
    """Normal actions: the mean from a tanh network, the log standard deviation from no state."""

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        width: int,
        device: torch.device,
        generator: torch.Generator,
        initial_log_deviation: float = 0.0,
    ):
        """Two hidden layers of `width`; the mean starts near zero (output gain 0.01)."""
        super().__init__()
        sizes = (observation_size, width, width, action_size)
        self.mean = orthogonal_perceptron(sizes, 0.01, device, generator)
        self.log_deviation = nn.Parameter(
            torch.full((action_size,), initial_log_deviation, device=device)
        )

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """(n, observation) -> mean (n, action) and log standard deviation (action,)."""
        return self.mean(observation), self.log_deviation


def normal_log_probability(action: Tensor, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """Log density (n,) of a diagonal normal at actions (n, action)."""
    standardised = (action - mean) * torch.exp(-log_deviation)
    return -(0.5 * standardised.square() + log_deviation + HALF_LOG_TWO_PI).sum(-1)


def normal_entropy(log_deviation: Tensor) -> Tensor:
    """Differential entropy () of a diagonal normal with log standard deviations (action,)."""
    return (log_deviation + HALF_LOG_TWO_PI + 0.5).sum()


class FlatParameters:
    """All parameters of a module as one vector, of which the module's own become views.

    With networks this small the time of an update goes into starting operations: norm, clipping
    and Adam's step are then one operation each in place of one for each parameter.
    """

    def __init__(self, module: nn.Module):
        named = dict(module.named_parameters())
        self.names = tuple(named)
        self.shapes = tuple(parameter.shape for parameter in named.values())
        self.sizes = tuple(parameter.numel() for parameter in named.values())
        flat = torch.cat([parameter.detach().reshape(-1) for parameter in named.values()])
        self.vector = nn.Parameter(flat)
        for parameter, view in zip(named.values(), self.named(flat).values(), strict=True):
            parameter.data = view

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """Views of a vector by the names of the parameters, for `torch.func.functional_call`."""
        parts = vector.split(self.sizes)
        return {
            name: part.view(shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }
