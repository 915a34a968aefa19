"""Gaussian policies and the feed-forward networks around them. Imports nothing from the project."""

import math
from collections.abc import Callable, Sequence

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


class SquashedGaussianPolicy(nn.Module):
    """tanh of normal actions, mean and log standard deviation both from one ReLU network."""

    LOG_DEVIATION_RANGE = (-20.0, 2.0)
    """Source: the authors of SAC, as Stable-Baselines3 has it."""

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        width: int,
        layers: int,
        device: torch.device,
        generator: torch.Generator,
    ):
        """`layers` hidden layers of `width`."""
        super().__init__()
        hidden: list[nn.Module] = []
        for inputs in [observation_size] + [width] * (layers - 1):
            hidden += [linear(inputs, width, device), nn.ReLU()]
        self.network = nn.Sequential(*hidden, linear(width, 2 * action_size, device))
        for layer in self.network[::2]:
            uniform_(layer.weight, layer.in_features, generator)
            uniform_(layer.bias, layer.in_features, generator)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """(n, observation) -> mean and log standard deviation before tanh, (n, action) both."""
        mean, log_deviation = self.network(observation).chunk(2, dim=-1)
        return mean, log_deviation.clamp(*self.LOG_DEVIATION_RANGE)

    def sample(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions (n, action) for standard normal noise of that shape, and log densities (n,)."""
        mean, log_deviation = self(observation)
        drawn = mean + log_deviation.exp() * noise
        return drawn.tanh(), squashed_log_probability(drawn, mean, log_deviation)


def squashed_log_probability(drawn: Tensor, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """Log density (n,) of tanh(drawn), where `drawn` (n, action) is diagonal normal.

    The change of variables takes log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2 x)) off each
    coordinate, in a form that neither overflows nor needs a guard where tanh is 1 in float32.
    """
    log_slope = 2 * (math.log(2) - drawn - softplus(-2 * drawn))
    return normal_log_probability(drawn, mean, log_deviation) - log_slope.sum(-1)


def uniform_(parameter: Tensor, fan_in: int, generator: torch.Generator) -> Tensor:
    """Fill uniformly within 1 / sqrt(fan_in) of zero, torch's own default for linear layers."""
    limit = 1 / math.sqrt(fan_in)
    return nn.init.uniform_(parameter, -limit, limit, generator=generator)


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


def gradient_of(loss: Callable, parameters: Tensor, *arguments) -> tuple[Tensor, tuple]:
    """Gradient (size,) of `loss(parameters, *arguments)`, and what it returns beside the loss ().

    The compiler traces `torch.func.grad`; run eagerly, that takes twice as long as plain autograd.
    """
    if torch.compiler.is_compiling():
        return torch.func.grad(loss, has_aux=True)(parameters, *arguments)
    parameters = parameters.detach().requires_grad_()
    value, auxiliary = loss(parameters, *arguments)
    (gradient,) = torch.autograd.grad(value, parameters)
    return gradient, tuple(tensor.detach() for tensor in auxiliary)
