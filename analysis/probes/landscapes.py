"""Landscapes whose soft policy is known: exact draws, density, gradients plain and smoothed.

A landscape is U(a) = w Q(a) on actions a of R^d; its soft policy is exp(U) / Z on the box of
half width 1, and exp(c U) / Z where Q is scaled by c or the temperature by 1 / c. Three kinds:

- separable (`analysis.probes.lines`): U is a sum over coordinates. `quadratic` lies near a face,
  so that a share of the exact draws is close to it; `mixture` has two modes apart along the first
  axis; `rugged` is a quadratic plus cosines in every coordinate. Coordinates are independent, so
  draws invert each coordinate's distribution function on a fine grid, for any c. What a plain
  chain does to one coordinate does not depend on the others: no dimension can slow it down here.
- `unequal_widths`: two round modes of different widths. One is entered only at its own distance
  from its centre, so the barrier between them grows with the dimension.
- `ring`: U depends on |a| alone, and is largest on a sphere; in one dimension two equal modes.

Draws of the last two come from the unbounded law and are kept where they fall into the box: exact.
Smoothed gradients: `lines` says which are in closed form. `unequal_widths` is closed for soft
(widths add in squares) and a radial quadrature for mean; the ring is a radial quadrature for both.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from analysis.probes.lines import Line, Modes, Quadratic, Rugged, line_slope
from analysis.probes.smoothing import Function, Smoothing, smoothed_radial_slope, table

Gradient = Callable[[Tensor], Tensor]
"""(..., d) -> (..., d)."""
GRID = 40_001
"""Nodes of a coordinate's distribution function over [-1, 1]."""


class Landscape(ABC):
    """U on R^d and its soft policy on the box."""

    name: str
    dimension: int
    distance: float | None = None
    """Between the modes, in half widths of the box."""
    split: float | None = None
    """Where the first axis is cut into the modes' sides; None where there are none."""
    curvature: float
    """Of U where it is largest, along the steepest direction: -U'' there."""

    @abstractmethod
    def log_density(self, action: Tensor) -> Tensor:
        """U, (..., d) -> (...)."""

    @abstractmethod
    def gradient(self, action: Tensor) -> Tensor:
        """Of U, (..., d) -> (..., d)."""

    @abstractmethod
    def smoothed(self, sigma: float, kind: Smoothing, scale: float = 1.0) -> Gradient:
        """Gradient of the smoothed c U: E[c U(a + sigma z)] or log E[exp c U(a + sigma z)]."""

    @abstractmethod
    def draw(self, count: int, generator: np.random.Generator, scale: float = 1.0) -> np.ndarray:
        """(count, d) independent draws of exp(c U) / Z on the box."""

    @abstractmethod
    def share_above_split(self, scale: float = 1.0) -> float:
        """Mass of the side with the larger first coordinate."""


class Separable(Landscape):
    """U(a) = first(a_1) + sum_i other(a_i)."""

    def __init__(self, name: str, dimension: int, first: Line, other: Line, split=None):
        self.name, self.dimension, self.split = name, dimension, split
        self.first, self.other = first, other
        self.curvature = max(line.curvature for line in (first, other))
        if isinstance(first, Modes):
            self.distance = max(first.centres) - min(first.centres)

    def _by_coordinate(self, first: Function, other: Function, action: Tensor) -> Tensor:
        if self.first == self.other:
            return first(action)
        return torch.cat([first(action[..., :1]), other(action[..., 1:])], -1)

    def log_density(self, action: Tensor) -> Tensor:
        return self._by_coordinate(self.first.value, self.other.value, action).sum(-1)

    def gradient(self, action: Tensor) -> Tensor:
        return self._by_coordinate(self.first.slope, self.other.slope, action)

    def smoothed(self, sigma: float, kind: Smoothing, scale: float = 1.0) -> Gradient:
        first = line_slope(self.first, sigma, kind, scale)
        other = line_slope(self.other, sigma, kind, scale)
        return lambda action: self._by_coordinate(first, other, action)

    def draw(self, count: int, generator: np.random.Generator, scale: float = 1.0) -> np.ndarray:
        uniform = generator.random((count, self.dimension))
        grid, first = distribution(self.first, scale)
        _, other = distribution(self.other, scale)
        drawn = np.interp(uniform, other, grid)
        drawn[:, 0] = np.interp(uniform[:, 0], first, grid)
        return drawn

    def share_above_split(self, scale: float = 1.0) -> float:
        grid, probability = distribution(self.first, scale)
        return float(1 - np.interp(self.split, grid, probability))


def distribution(line: Line, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Grid over [-1, 1] and there the distribution function of exp(c U), by the trapezoid rule."""
    grid = np.linspace(-1, 1, GRID)
    exponent = scale * line.value(torch.from_numpy(grid)).numpy()
    density = np.exp(exponent - exponent.max())
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return grid, mass / mass[-1]


def kept_in_box(
    propose: Callable[[int], np.ndarray], count: int, dimension: int, rounds: int = 200
) -> np.ndarray:
    """The first `count` of proposals (n, d) that fall into the box. Raises ValueError where next to
    none does."""
    kept = np.empty((0, dimension))
    for _ in range(rounds):
        drawn = propose(count)
        kept = np.concatenate([kept, drawn[(np.abs(drawn) <= 1).all(-1)]])
        if len(kept) >= count:
            return kept[:count]
    raise ValueError(f"{len(kept)} of {count} draws fell into the box in {rounds} rounds")


class UnequalWidths(Landscape):
    """U = log sum_k weights_k N(a; mu_k, widths_k^2 I), mu_k = -+ distance / 2 on the first axis.

    exp(c U) is known for c = 1 only.
    """

    name = "unequal_widths"

    def __init__(self, dimension: int, distance: float, weights=(0.2, 0.8), widths=(0.1, 0.12)):
        self.dimension, self.distance, self.split = dimension, distance, 0.0
        self.weights, self.widths = weights, widths
        self.curvature = 1 / min(widths) ** 2

    def _offsets(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distances (...) to either centre."""
        half, rest = self.distance / 2, action[..., 1:].square().sum(-1)
        first = action[..., 0]
        return (first + half).square() + rest, (first - half).square() + rest

    def _logits(self, action: Tensor) -> tuple[Tensor, Tensor]:
        pairs = zip(self._offsets(action), self.weights, self.widths, strict=True)
        low, high = (
            math.log(weight) - self.dimension * math.log(width) - square / (2 * width**2)
            for square, weight, width in pairs
        )
        return low, high

    def log_density(self, action: Tensor) -> Tensor:
        return torch.logaddexp(*self._logits(action))

    def gradient(self, action: Tensor) -> Tensor:
        low, high = self._logits(action)
        share = torch.sigmoid(high - low)[..., None]
        pull = (1 - share) / self.widths[0] ** 2, share / self.widths[1] ** 2
        gradient = -(pull[0] + pull[1]) * action
        gradient[..., :1] += (pull[1] - pull[0]) * (self.distance / 2)
        return gradient

    def smoothed(self, sigma: float, kind: Smoothing, scale: float = 1.0) -> Gradient:
        if scale != 1:
            raise ValueError("exp(c U) is known for c = 1 only")
        if kind == "soft":
            widths = tuple(math.hypot(width, sigma) for width in self.widths)
            return UnequalWidths(self.dimension, self.distance, self.weights, widths).gradient
        return self._mean_smoothed(sigma)

    def _mean_smoothed(self, sigma: float) -> Gradient:
        """The log ratio of the modes is alpha |a - c|^2 + beta with one centre c on the first axis
        (Apollonius' sphere), so U is the second mode's quadratic, whose slope smoothing leaves as
        it is, plus a function of |a - c|."""
        (p_1, p_2), (s_1, s_2), half = self.weights, self.widths, self.distance / 2
        alpha = (s_2**-2 - s_1**-2) / 2
        centre = (-half * s_1**-2 - half * s_2**-2) / (s_1**-2 - s_2**-2)
        at_zero = math.log(p_1 / p_2) + self.dimension * math.log(s_2 / s_1)
        beta = at_zero + half**2 * alpha - alpha * centre**2
        nearest = abs(centre) - 1.25
        farthest = math.sqrt((1.25 + abs(centre)) ** 2 + self.dimension - 1)
        # As wide as the turn from one mode to the other, where both are as likely.
        feature = 1 / (abs(alpha) * max(nearest, math.sqrt(max(-beta / alpha, 0.0))))

        def value(r: Tensor) -> Tensor:
            return torch.nn.functional.softplus(alpha * r.square() + beta)

        def slope(r: Tensor) -> Tensor:
            return torch.sigmoid(alpha * r.square() + beta) * 2 * alpha * r

        def smoothed(r: Tensor) -> Tensor:
            return smoothed_radial_slope(value, slope, r, sigma, "mean", feature, self.dimension)

        radial = table(smoothed, nearest, farthest)

        def gradient(action: Tensor) -> Tensor:
            rest = action[..., 1:].square().sum(-1, keepdim=True)
            offset = action[..., :1] - centre
            radius = torch.sqrt(offset.square() + rest)
            along = radial(radius) / radius
            found = (along - s_2**-2) * action
            found[..., :1] += half * s_2**-2 - centre * along
            return found

        return gradient

    def draw(self, count: int, generator: np.random.Generator, scale: float = 1.0) -> np.ndarray:
        if scale != 1:
            raise ValueError("exp(c U) is known for c = 1 only")

        def propose(n: int) -> np.ndarray:
            second = generator.random(n) < self.weights[1]
            width = np.where(second, self.widths[1], self.widths[0])
            drawn = width[:, None] * generator.standard_normal((n, self.dimension))
            drawn[:, 0] += np.where(second, 0.5, -0.5) * self.distance
            return drawn

        return kept_in_box(propose, count, self.dimension)

    @cached_property
    def _sides(self) -> tuple[float, float]:
        """Mass in the box at either side of the split."""
        total = [0.0, 0.0]
        for weight, width, centre in zip(
            self.weights, self.widths, (-self.distance / 2, self.distance / 2), strict=True
        ):
            low, middle, high = (ndtr((edge - centre) / width) for edge in (-1, 0, 1))
            inside = (ndtr(1 / width) - ndtr(-1 / width)) ** (self.dimension - 1)
            total[0] += weight * inside * (middle - low)
            total[1] += weight * inside * (high - middle)
        return total[0], total[1]

    def share_above_split(self, scale: float = 1.0) -> float:
        return float(self._sides[1] / sum(self._sides))


class Ring(Landscape):
    """U = -(|a| - radius)^2 / (2 width^2)."""

    name = "ring"

    def __init__(self, dimension: int, radius: float = 0.6, width: float = 0.1):
        self.dimension, self.line = dimension, Quadratic(radius, width)
        self.curvature = self.line.curvature
        if dimension == 1:
            self.split, self.distance = 0.0, 2 * radius

    def log_density(self, action: Tensor) -> Tensor:
        return self.line.value(torch.linalg.vector_norm(action, dim=-1))

    def _along_radius(self, slope: Function, action: Tensor) -> Tensor:
        radius = torch.linalg.vector_norm(action, dim=-1, keepdim=True)
        return action * (slope(radius) / radius.clamp(min=1e-12))

    def gradient(self, action: Tensor) -> Tensor:
        return self._along_radius(self.line.slope, action)

    def smoothed(self, sigma: float, kind: Smoothing, scale: float = 1.0) -> Gradient:
        def at(radius: Tensor) -> Tensor:
            return smoothed_radial_slope(
                lambda r: scale * self.line.value(r),
                lambda r: scale * self.line.slope(r),
                radius,
                sigma,
                kind,
                self.line.width / max(scale, 1.0) ** 0.5,
                self.dimension,
            )

        slope = table(at, 0.0, 1.5 * math.sqrt(self.dimension), 2001)
        return lambda action: self._along_radius(slope, action)

    def draw(self, count: int, generator: np.random.Generator, scale: float = 1.0) -> np.ndarray:
        radius = np.linspace(0, math.sqrt(self.dimension), GRID)[1:]
        exponent = (self.dimension - 1) * np.log(radius)
        exponent += scale * self.line.value(torch.from_numpy(radius)).numpy()
        density = np.exp(exponent - exponent.max())
        mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])

        def propose(n: int) -> np.ndarray:
            direction = generator.standard_normal((n, self.dimension))
            direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
            return direction * np.interp(generator.random(n) * mass[-1], mass, radius)[:, None]

        return kept_in_box(propose, count, self.dimension)

    def share_above_split(self, scale: float = 1.0) -> float:
        return 0.5


WEIGHTS, MODE_WIDTH = (0.2, 0.8), 0.1


def landscape(name: str, dimension: int, distance: float | None = None) -> Landscape:
    """One by its name; `distance` between the modes of those that have it. Raises KeyError."""
    wide = Quadratic(0.5, 0.25)
    if name == "mixture":
        half = (distance or 1.0) / 2
        modes = Modes((-half, half), WEIGHTS, MODE_WIDTH)
        return Separable(name, dimension, modes, Quadratic(0.0, MODE_WIDTH), split=0.0)
    if name == "unequal_widths":
        return UnequalWidths(dimension, distance or 1.0)
    if name == "rugged":
        # Cut at a cosine's valley beside the middle of the bowl.
        rugged = Rugged(0.2, 0.4, 1.5, 4 * math.pi)
        return Separable(name, dimension, rugged, rugged, split=0.25)
    return {
        "quadratic": lambda: Separable(name, dimension, wide, wide),
        "ring": lambda: Ring(dimension),
    }[name]()
