"""A two-dimensional bandit with several best actions, whose soft policy is known exactly.

One step an episode, one state, actions in [-1, 1]^2: what a policy class can represent and what a
sampler can reach are seen without anything else in the way.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box


class SoftPolicy(NamedTuple):
    """exp(w reward(a)) / Z on [-1, 1]^2 by the midpoint rule on a square grid."""

    axis: np.ndarray
    """(grid,) midpoints of the cells along either action."""
    density: np.ndarray
    """(grid, grid), first index first action; its mean times the box's area 4 is 1."""
    log_normaliser: float
    """log Z, the log of the integral of exp(w reward) over the box."""
    mass: np.ndarray
    """(modes,) probability of the region nearer to each of the landscape's modes than to others."""


class Landscape:
    """reward(a) = sum_k heights_k exp(-|a - centres_k|^2 / (2 widths_k^2)), smooth, noiseless."""

    def __init__(
        self,
        centres: Sequence[tuple[float, float]],
        heights: Sequence[float],
        widths: Sequence[float],
    ):
        """k centres in the box, k positive heights and widths.

        Raises ValueError if bumps overlap so far that one has no maximum of its own.
        """
        self.centres = np.asarray(centres, np.float64)
        self.heights = np.asarray(heights, np.float64)
        self.widths = np.asarray(widths, np.float64)
        if len(np.unique(self.modes.round(6), axis=0)) < len(self.centres):
            raise ValueError("two bumps share one maximum")

    def reward(self, action: np.ndarray) -> np.ndarray:
        """(..., 2) -> (...)."""
        return self._bumps(action).sum(-1)

    def gradient(self, action: np.ndarray) -> np.ndarray:
        """Derivative of the reward in the action: (..., 2) -> (..., 2)."""
        pull = self._bumps(action) / self.widths**2
        return pull @ self.centres - pull.sum(-1)[..., None] * np.asarray(action, np.float64)

    def _bumps(self, action: np.ndarray) -> np.ndarray:
        """(..., 2) -> (..., k)."""
        offset = np.asarray(action, np.float64)[..., None, :] - self.centres
        return self.heights * np.exp(-np.square(offset).sum(-1) / (2 * self.widths**2))

    @cached_property
    def modes(self) -> np.ndarray:
        """(k, 2), the maximum next to each centre, highest first. Neighbours' tails shift it a bit:
        found by the mean-shift iteration, which stands still where the gradient is zero."""
        action = self.centres
        for _ in range(200):
            pull = self._bumps(action) / self.widths**2
            action = pull @ self.centres / pull.sum(-1, keepdims=True)
        return action[np.argsort(-self.reward(action).round(9), kind="stable")]

    @property
    def mode_widths(self) -> np.ndarray:
        """(k,), width of the bump that each of `modes` is of."""
        offset = self.modes[:, None] - self.centres
        return self.widths[np.square(offset).sum(-1).argmin(1)]

    @property
    def best_reward(self) -> float:
        """The largest reward there is."""
        return float(self.reward(self.modes[0]))

    @property
    def optimal_modes(self) -> np.ndarray:
        """(m, 2), those of equal and largest height."""
        return self.modes[self._is_optimal]

    @property
    def worse_modes(self) -> np.ndarray:
        """(k - m, 2), local maxima below."""
        return self.modes[~self._is_optimal]

    @property
    def _is_optimal(self) -> np.ndarray:
        return np.isclose(self.reward(self.modes), self.best_reward, rtol=0, atol=1e-9)

    def nearest_mode(self, action: np.ndarray) -> np.ndarray:
        """Index into `modes` of the one nearest to each action: (..., 2) -> (...) int."""
        offset = np.asarray(action, np.float64)[..., None, :] - self.modes
        return np.square(offset).sum(-1).argmin(-1)

    def soft_policy(self, inverse_temperature: float, grid: int = 801) -> SoftPolicy:
        """The Boltzmann policy of inverse temperature w, in units of 1 / reward."""
        axis = (np.arange(grid) + 0.5) * (2 / grid) - 1
        action = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
        # Subtracting the largest exponent keeps exp() from overflowing at low temperatures.
        largest = inverse_temperature * self.best_reward
        weight = np.exp(inverse_temperature * self.reward(action) - largest)
        integral = 4 * weight.mean()
        mass = np.bincount(self.nearest_mode(action).ravel(), weight.ravel(), len(self.modes))
        return SoftPolicy(
            axis, weight / integral, float(np.log(integral) + largest), mass / weight.sum()
        )

    def draw(
        self, inverse_temperature: float, count: int, generator: np.random.Generator
    ) -> np.ndarray:
        """(count, 2) exact independent draws of the soft policy of inverse temperature w >= 0.

        By rejection: each cell of a grid has an upper bound of the reward; a cell is proposed with
        probability exp(w bound), a point in it uniformly, and kept with exp(w (reward - bound)).
        """
        side = 2 / _CELLS
        low = np.arange(_CELLS) * side - 1
        corner = np.stack(np.meshgrid(low, low, indexing="ij"), -1).reshape(-1, 2)
        # Where in a cell each bump is highest; no action there has more than the sum of these.
        nearest = np.clip(self.centres, corner[:, None], corner[:, None] + side)
        square = np.square(nearest - self.centres).sum(-1)
        bound = inverse_temperature * (self.heights * np.exp(-square / (2 * self.widths**2))).sum(
            -1
        )
        probability = np.exp(bound - bound.max())
        probability /= probability.sum()
        accepted, missing = [], count
        while missing > 0:
            cell = generator.choice(len(corner), 2 * missing + 64, p=probability)
            action = corner[cell] + side * generator.random((len(cell), 2))
            exponent = inverse_temperature * self.reward(action) - bound[cell]
            action = action[np.log(generator.random(len(cell))) < exponent][:missing]
            accepted.append(action)
            missing -= len(action)
        return np.concatenate(accepted)


_CELLS = 256
"""Cells a side for exact draws: as fine as the narrowest bump asks for."""

_LATTICE = [(x, y) for x in (-0.6, 0.0, 0.6) for y in (-0.6, 0.0, 0.6)]

MULTIMODAL = Landscape(
    centres=_LATTICE,
    heights=[{0: 0.4, 1: 0.7, 2: 1.0}[(x != 0) + (y != 0)] for x, y in _LATTICE],
    widths=[0.15] * 9,
)
"""A lattice of nine: the four corners at (+-0.6, +-0.6) are best, equal by symmetry (height 1);
the four between them are worse (0.7), the one in the middle, where a unimodal policy starts, is
worst (0.4)."""

FAR_MODE = Landscape(
    centres=[(0.75, -0.75), (-0.35, 0.35), (0.3, 0.5), (-0.5, -0.3)],
    heights=[1.0, 0.6, 0.5, 0.5],
    widths=[0.08, 0.25, 0.2, 0.2],
)
"""One best mode, far from the middle and narrow (0.5 % of the box lies within one width of it),
behind three broad worse ones in and around the middle."""


class _Bandit(gymnasium.Env):
    """Observation (1,): always 0. Action (2,) in [-1, 1]. Reward: the landscape's, without noise.
    Terminated after one step, so that the value of an action is its reward."""

    landscape: Landscape

    def __init__(self, render_mode: None = None):
        self.observation_space = Box(-1, 1, (1,), np.float32)
        self.action_space = Box(-1, 1, (2,), np.float32)
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray):
        return np.zeros(1, np.float32), float(self.landscape.reward(action)), True, False, {}


class MultimodalBandit(_Bandit):
    """`MultimodalBandit-v0`, of the landscape `MULTIMODAL`."""

    landscape = MULTIMODAL


class FarModeBandit(_Bandit):
    """`FarModeBandit-v0`, of the landscape `FAR_MODE`."""

    landscape = FAR_MODE


def landscape_of(env_id: str) -> Landscape | None:
    """Of a registered bandit; None for an environment that is none."""
    kind = gymnasium.registry[env_id].entry_point if env_id in gymnasium.registry else None
    module, _, name = str(kind).partition(":")
    return globals()[name].landscape if module == __name__ else None
