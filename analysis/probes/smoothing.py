"""A function seen through Gaussian noise on its argument, by quadrature.

`mean` is E[U(a + sigma z)], as the regression of NC-LQL smooths away from the box's faces; `soft`
is log E[exp U(a + sigma z)], the log density of exact draws with that noise added. For U = w Q
both are w times what the method would learn, E[Q(a + sigma z)] and tau log E[exp(Q(a + sigma z) /
tau)].

The integrals run over z ~ N(0, I) by the trapezoid rule, whose error falls exponentially once the
nodes are closer than the narrowest feature, and over the squared distance across a radius by
Gauss-Laguerre. Gradients are averaged, never differenced; they are kept in tables that are read by
linear interpolation, in nodes that are told beside each.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from scipy.special import roots_genlaguerre
from torch import Tensor

Smoothing = Literal["mean", "soft"]
Function = Callable[[Tensor], Tensor]
"""Elementwise."""
REACH = 8.0
"""Normal deviations up to which the trapezoid rule runs: 1e-15 of the mass is beyond."""
ACROSS_NODES = 64
"""Gauss-Laguerre nodes for the chi-square of the coordinates across a radius."""
NEGLIGIBLE = 1e-13
"""Share of the largest weight below which a node of Gauss-Laguerre is left out."""
TABLE_NODES = 4001
ROWS_AT_ONCE = 250


class Table(NamedTuple):
    """A function of one variable by linear interpolation; constant beyond its ends."""

    start: float
    spacing: float
    values: Tensor
    """(nodes,)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Elementwise."""
        last = len(self.values) - 1
        place = ((x - self.start) / self.spacing).clamp(0, last)
        below = place.floor().clamp(max=last - 1)
        index = below.long()
        values = self.values.to(x.dtype)
        return torch.lerp(values[index], values[index + 1], place - below)


def normal_nodes(sigma: float, feature: float) -> tuple[Tensor, Tensor]:
    """(nodes,) z of N(0, 1) and (nodes,) log weights; sigma times their spacing is at most half of
    `feature`, the width of the narrowest feature of the function."""
    spacing = min(0.25, 0.5 * feature / sigma)
    half = int(np.ceil(REACH / spacing))
    z = torch.arange(-half, half + 1, dtype=torch.float64) * spacing
    return z, torch.log_softmax(-z.square() / 2, 0)


def smoothed_slope(
    value: Function, slope: Function, x: Tensor, sigma: float, kind: Smoothing, feature: float
) -> Tensor:
    """Derivative at x (n,) of the smoothed function of one variable."""
    z, log_weight = normal_nodes(sigma, feature)
    at = x[:, None] + sigma * z
    if kind == "soft":
        log_weight = torch.log_softmax(log_weight + value(at), -1)
    return (log_weight.exp() * slope(at)).sum(-1)


def smoothed_radial_slope(
    value: Function,
    slope: Function,
    radius: Tensor,
    sigma: float,
    kind: Smoothing,
    feature: float,
    dimension: int,
) -> Tensor:
    """Derivative along the radius (n,) of the smoothing of value(|a|), a in R^dimension.

    |a + sigma z|^2 = (r + sigma z_1)^2 + sigma^2 C with C chi-square of dimension - 1 degrees of
    freedom, so that two integrals are enough in any dimension.
    """
    z, log_weight = normal_nodes(sigma, feature)
    across = torch.zeros(1, dtype=torch.float64)
    if dimension > 1:
        nodes, weights = roots_genlaguerre(ACROSS_NODES, (dimension - 1) / 2 - 1)
        keep = weights > NEGLIGIBLE * weights.max()
        across = torch.from_numpy(2 * nodes[keep])
        log_across = torch.from_numpy(np.log(weights[keep]))
        log_weight = log_weight[:, None] + log_across - log_across.logsumexp(0)
    else:
        log_weight = log_weight[:, None]
    found = []
    for part in radius.split(ROWS_AT_ONCE):
        along = (part[:, None] + sigma * z)[..., None]
        distance = torch.sqrt(along.square() + sigma**2 * across)
        weight = log_weight
        if kind == "soft":
            exponent = log_weight + value(distance)
            weight = exponent - exponent.logsumexp((-2, -1), keepdim=True)
        direction = along / distance.clamp(min=1e-300)
        found.append((weight.exp() * slope(distance) * direction).sum((-2, -1)))
    return torch.cat(found)


def table(function: Function, low: float, high: float, nodes: int = TABLE_NODES) -> Table:
    """`function` (n,) -> (n,) at equally many places from low to high."""
    x = torch.linspace(low, high, nodes, dtype=torch.float64)
    return Table(low, (high - low) / (nodes - 1), function(x))
