"""Langevin samplers as pure functions of a gradient. Knows no reinforcement learning.

For a density proportional to exp(U), U = w Q, with w = 1/tau the inverse temperature, one step of
unadjusted Langevin dynamics of step size epsilon is

    x' = x + (epsilon / 2) w grad Q(x) + sqrt(epsilon) z,        z ~ N(0, I).            (1)

The digest prints the drift without w; only with it is exp(Q/tau) the stationary law as epsilon
goes to 0. At a fixed epsilon the stationary law is biased: on a quadratic U of curvature k its
variance is 1 / (k (1 - epsilon k / 4)) instead of 1 / k, and it exists iff epsilon k < 4.

All functions take their noise from the caller and work on any leading dimensions; the last one is
the action's. Imports nothing from the project.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

Boundary = Literal["clip", "reflect", "none"]
Gradient = Callable[..., Tensor]
"""(x, conditioning) -> grad Q(x), of x's shape."""

NORM_GUARD = 1e-8
"""Added to the norm that a gradient is divided by. Source: authors' code."""


class Dynamics(NamedTuple):
    """What a step does beside its gradient, noise and size."""

    inverse_temperature: float
    """w = 1 / tau, in units of 1 / Q."""
    normalise: bool = False
    """Divide the gradient by its norm (authors' code). Scaling Q then changes nothing, so no tau is
    that of every Q; w is in units of 1 / x, and the drift is that of exp(Q / tau) only if the
    gradient is of the same length everywhere."""
    boundary: Boundary = "clip"
    """What keeps x in [-1, 1]: clipping leaves atoms on the faces of the box, reflection leaves a
    uniform law uniform."""


def geometric_noise_levels(largest: float, smallest: float, count: int) -> list[float]:
    """sigma_l, l = 1 (coarse) ... L = `count` (fine), each a constant fraction of the last."""
    if count == 1:
        return [smallest]
    ratio = smallest / largest
    return [largest * ratio ** (level / (count - 1)) for level in range(count)]


def annealed_step_sizes(noise_levels: list[float], finest_step_size: float) -> list[float]:
    """epsilon_l = epsilon (sigma_l / sigma_L)^2: the step grows with the width of the level."""
    return [finest_step_size * (sigma / noise_levels[-1]) ** 2 for sigma in noise_levels]


def normalised(gradient: Tensor) -> Tensor:
    """g / (|g| + 1e-8) over the last dimension."""
    return gradient / (torch.linalg.vector_norm(gradient, dim=-1, keepdim=True) + NORM_GUARD)


def reflected(x: Tensor) -> Tensor:
    """Fold the line into [-1, 1] at its ends, as often as needed."""
    return (torch.remainder(x + 1, 4) - 2).abs() * -1 + 1


def bounded(x: Tensor, boundary: Boundary) -> Tensor:
    """Bring x back into [-1, 1], or leave it."""
    if boundary == "clip":
        return x.clamp(-1, 1)
    return reflected(x) if boundary == "reflect" else x


def langevin_step(
    x: Tensor, gradient: Tensor, noise: Tensor, step_size: Tensor, dynamics: Dynamics
) -> Tensor:
    """Equation (1). `step_size` is a scalar tensor; the other tensors have one shape."""
    if dynamics.normalise:
        gradient = normalised(gradient)
    drift = (0.5 * dynamics.inverse_temperature) * step_size * gradient
    return bounded(x + drift + torch.sqrt(step_size) * noise, dynamics.boundary)


def langevin(
    gradient: Gradient,
    x: Tensor,
    conditioning: Any,
    noise: Iterable[Tensor],
    step_size: Tensor,
    dynamics: Dynamics,
) -> Tensor:
    """As many steps (1) as there are entries in `noise`, each of x's shape, at one step size."""
    for z in noise:
        x = langevin_step(x, gradient(x, conditioning), z, step_size, dynamics)
    return x


def annealed_langevin(
    gradient: Gradient,
    x: Tensor,
    conditionings: Iterable[Any],
    noise: Tensor,
    step_sizes: Iterable[Tensor],
    dynamics: Dynamics,
    chain: Callable[..., Tensor] = langevin,
) -> Tensor:
    """From the coarse to the fine: T steps at each of L noise levels.

    `conditionings` and `step_sizes` have an entry a level, in the order in which they are walked;
    `noise` is (L, T, ..., action). `chain` is `langevin` or a compiled form of it.
    """
    for conditioning, z, step_size in zip(conditionings, noise, step_sizes, strict=True):
        x = chain(gradient, x, conditioning, z, step_size, dynamics)
    return x


def mala(
    log_density: Callable[[Tensor], Tensor],
    x: Tensor,
    noise: Iterable[Tensor],
    uniform: Iterable[Tensor],
    step_size: float,
) -> tuple[Tensor, Tensor]:
    """Metropolis-adjusted Langevin: exact at any step size, the reference for trained critics.

    `log_density` maps (..., d) to (...), up to a constant, -inf outside of the support; `noise` has
    entries of x's shape, `uniform` entries (...) in [0, 1). Returns the last x and the share of
    accepted proposals (...). Source: Roberts and Tweedie (1996).
    """

    def value_and_gradient(y: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            value = log_density(y)
            (gradient,) = torch.autograd.grad(value.sum(), y)
        return value.detach(), torch.nan_to_num(gradient)

    def log_proposal(to: Tensor, origin: Tensor, gradient: Tensor) -> Tensor:
        return -((to - origin - step_size / 2 * gradient) ** 2).sum(-1) / (2 * step_size)

    value, gradient = value_and_gradient(x)
    accepted, steps = torch.zeros_like(value), 0
    for z, u in zip(noise, uniform, strict=True):
        proposal = x + step_size / 2 * gradient + step_size**0.5 * z
        new_value, new_gradient = value_and_gradient(proposal)
        log_ratio = (
            new_value
            - value
            + log_proposal(x, proposal, new_gradient)
            - log_proposal(proposal, x, gradient)
        )
        accept = torch.log(u) < log_ratio
        x = torch.where(accept[..., None], proposal, x)
        gradient = torch.where(accept[..., None], new_gradient, gradient)
        value = torch.where(accept, new_value, value)
        accepted, steps = accepted + accept, steps + 1
    return x, accepted / max(steps, 1)
