"""Functions of one action coordinate, of which separable landscapes are sums.

Each is U, the log density of its coordinate up to a constant. Smoothed forms of c U at noise sigma
(`analysis.probes.smoothing`), in closed form where there is one:

| line      | mean, E[c U(x + sigma z)]             | soft, log E[exp c U(x + sigma z)]      |
|-----------|---------------------------------------|----------------------------------------|
| Quadratic | closed: the same slope                | closed: variance width^2 / c + sigma^2 |
| Modes     | quadrature                            | closed for c = 1: width^2 + sigma^2    |
| Rugged    | closed: cosine e^(-sigma^2 omega^2/2) | quadrature                             |
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from analysis.probes.smoothing import Function, Smoothing, smoothed_slope, table


class Quadratic(NamedTuple):
    """U = -(x - centre)^2 / (2 width^2)."""

    centre: float
    width: float

    @property
    def feature(self) -> float:
        return self.width

    @property
    def curvature(self) -> float:
        return self.width**-2

    def value(self, x: Tensor) -> Tensor:
        return -(x - self.centre).square() / (2 * self.width**2)

    def slope(self, x: Tensor) -> Tensor:
        return (self.centre - x) / self.width**2

    def closed_form(self, sigma: float, kind: Smoothing, scale: float) -> Function:
        variance = self.width**2 / scale + (sigma**2 if kind == "soft" else 0.0)
        return lambda x: (self.centre - x) / variance


class Modes(NamedTuple):
    """U = log sum_k weights_k N(x; centres_k, width^2), up to a constant; two modes."""

    centres: tuple[float, float]
    weights: tuple[float, float]
    width: float

    @property
    def feature(self) -> float:
        """The turn from one mode to the other is as steep as their distance is large."""
        return self.width**2 / (self.centres[1] - self.centres[0] + self.width)

    @property
    def curvature(self) -> float:
        return self.width**-2

    def _log_ratio(self, x: Tensor) -> Tensor:
        """Of the second mode's share to the first's: linear, since the widths are equal."""
        low, high = self.centres
        steepness = (high - low) / self.width**2
        return steepness * (x - (low + high) / 2) + math.log(self.weights[1] / self.weights[0])

    def value(self, x: Tensor) -> Tensor:
        first = -(x - self.centres[0]).square() / (2 * self.width**2)
        return first + torch.nn.functional.softplus(self._log_ratio(x))

    def slope(self, x: Tensor) -> Tensor:
        low, high = self.centres
        share = torch.sigmoid(self._log_ratio(x))
        return (low - x + (high - low) * share) / self.width**2

    def closed_form(self, sigma: float, kind: Smoothing, scale: float) -> Function | None:
        if kind == "soft" and scale == 1:
            return self._replace(width=math.hypot(self.width, sigma)).slope
        return None


class Rugged(NamedTuple):
    """U = -(x - centre)^2 / (2 width^2) + height cos(frequency x)."""

    centre: float
    width: float
    height: float
    frequency: float

    @property
    def feature(self) -> float:
        return 0.5 / self.frequency

    @property
    def curvature(self) -> float:
        return self.width**-2 + self.height * self.frequency**2

    def value(self, x: Tensor) -> Tensor:
        bowl = -(x - self.centre).square() / (2 * self.width**2)
        return bowl + self.height * torch.cos(self.frequency * x)

    def slope(self, x: Tensor) -> Tensor:
        ripple = self.height * self.frequency * torch.sin(self.frequency * x)
        return (self.centre - x) / self.width**2 - ripple

    def closed_form(self, sigma: float, kind: Smoothing, scale: float) -> Function | None:
        if kind == "soft":
            return None
        damped = self._replace(height=self.height * math.exp(-((sigma * self.frequency) ** 2) / 2))
        return lambda x: scale * damped.slope(x)


Line = Quadratic | Modes | Rugged


def line_slope(line: Line, sigma: float, kind: Smoothing, scale: float) -> Function:
    """Derivative of the smoothed c U, in closed form or by a table over the box and a bit more
    (chains that are not kept in the box feel its slope at the table's end from there on)."""
    closed = line.closed_form(sigma, kind, scale)
    return closed or quadrature(line, sigma, kind, scale)


def quadrature(line: Line, sigma: float, kind: Smoothing, scale: float) -> Function:
    """The same by quadrature, whether there is a closed form or not."""

    def at(x: Tensor) -> Tensor:
        return smoothed_slope(
            lambda y: scale * line.value(y),
            lambda y: scale * line.slope(y),
            x,
            sigma,
            kind,
            line.feature / max(scale, 1.0) ** 0.5,
        )

    return table(at, -1.5, 1.5)
