"""How far draws are from a soft policy that is known, and whether chains are stationary.

Every distance has a floor, what it gives for as many exact draws: total variation of a histogram
grows with its cells, and the others lose their contrast with the dimension. It is measured, not
derived.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from analysis.probes.landscapes import Landscape

CELLS = {1: 40, 2: 16}
"""Cells of a histogram along an axis of the box, by dimension."""
REFINEMENT = {1: 250, 2: 25}
"""Midpoints in a cell along an axis, of which its mass is the sum."""
DIRECTIONS = 64


@cache
def cell_probabilities(landscape: Landscape, factor: float = 1.0) -> np.ndarray:
    """Mass of exp(c U) / Z in every cell of the box, (cells,) * dimension, by the midpoint rule."""
    dimension = landscape.dimension
    cells, fine = CELLS[dimension], REFINEMENT[dimension]
    axis = (torch.arange(cells * fine, dtype=torch.float64) + 0.5) * (2 / (cells * fine)) - 1
    action = torch.stack(torch.meshgrid(*[axis] * dimension, indexing="ij"), -1)
    exponent = factor * landscape.log_density(action)
    weight = torch.exp(exponent - exponent.max()).reshape([cells, fine] * dimension)
    mass = weight.sum(tuple(range(1, 2 * dimension, 2)))
    return (mass / mass.sum()).numpy()


def total_variation(draws: np.ndarray, probabilities: np.ndarray) -> float:
    """Half the sum of differences over cells; what lies outside of the box counts as one cell more.

    `draws` (n, d) against (cells,) * d.
    """
    dimension = draws.shape[1]
    edges = [np.linspace(-1, 1, CELLS[dimension] + 1)] * dimension
    counts, _ = np.histogramdd(draws, bins=edges)
    share = counts / len(draws)
    return float((np.abs(share - probabilities).sum() + (1 - share.sum())) / 2)


def energy_distance(x: Tensor, y: Tensor) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of (n, d) and (m, d) with every pair counted, never
    negative; zero iff the laws are one (Szekely and Rizzo 2013)."""
    across, within, beside = (torch.cdist(*pair).mean() for pair in ((x, y), (x, x), (y, y)))
    return float(2 * across - within - beside)


def sliced_wasserstein(x: Tensor, y: Tensor, generator: torch.Generator) -> float:
    """Root of the mean over directions of the squared 2-Wasserstein distance of the projections of
    (n, d) and (n, d) (Bonneel et al. 2015)."""
    directions = torch.randn(x.shape[1], DIRECTIONS, generator=generator)
    directions /= directions.norm(dim=0)
    difference = (x @ directions).sort(0).values - (y @ directions).sort(0).values
    return float(difference.square().mean().sqrt())


def share_above(draws: np.ndarray, split: float) -> float:
    """Of (n, d), with a first coordinate above the split."""
    return float((draws[:, 0] > split).mean())


def face_share(draws: np.ndarray) -> float:
    """Share of coordinates that lie on a face of the box."""
    return float((np.abs(draws) >= 1).mean())


def split_r_hat(chains: np.ndarray) -> float:
    """Rank-normalised split R-hat of one quantity (chains, steps), the larger of that of the values
    and that of their distances from the median. Source: Vehtari et al. (2021)."""
    half = chains.shape[1] // 2
    halves = np.concatenate([chains[:, :half], chains[:, -half:]])
    folded = np.abs(halves - np.median(halves))
    return max(_r_hat(_normal_scores(halves)), _r_hat(_normal_scores(folded)))


def _normal_scores(values: np.ndarray) -> np.ndarray:
    ranks = stats.rankdata(values, method="average").reshape(values.shape)
    return stats.norm.ppf((ranks - 0.375) / (values.size + 0.25))


def _r_hat(chains: np.ndarray) -> float:
    steps = chains.shape[1]
    within = chains.var(1, ddof=1).mean()
    between = steps * chains.mean(1).var(ddof=1)
    if within == 0:
        return 1.0 if between == 0 else np.inf
    return float(np.sqrt((steps - 1) / steps + between / within / steps))


def largest_r_hat(quantities: Sequence[np.ndarray]) -> float:
    """Over several quantities (chains, steps)."""
    return max(map(split_r_hat, quantities))
