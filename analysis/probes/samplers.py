"""The samplers of the methods on landscapes with known answers, by the methods' own functions.

All chains are those of `algorithms.langevin`, walked as `algorithms.lql` and `algorithms.nc_lql`
walk them, with the ladder of noise levels, the temperature and the boundary of NC-LQL's
configuration. Only the gradient is another's: of a landscape instead of a critic.

- `plain`: LQL's chain, from a uniform in the box.
- `previous`: the same from the previous action instead. The previous state is the mirror image
  along the first axis, where the other mode was preferred, and its action an exact draw: what a
  change of the state asks of a chain that is not begun afresh.
- `annealed_mean`, `annealed_soft`: NC-LQL's walk with the plain gradient, on levels smoothed
  exactly as its regression smooths, or as the soft policy asks (`analysis.probes.smoothing`).
- `annealed_soft_wide`: the latter on a ladder five times as wide, from 0.5 down.
- `authors`: NC-LQL's walk with the gradient divided by its norm, on `annealed_mean`'s levels.

A step size is that of the finest level; the others follow as NC-LQL's do. Several are run at once,
on the same starts and noise: tensors are (step sizes, chains, action).
"""

import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from algorithms.langevin import (
    Boundary,
    Dynamics,
    annealed_langevin,
    annealed_step_sizes,
    geometric_noise_levels,
    langevin,
)
from algorithms.nc_lql import Configuration
from analysis.probes.landscapes import Gradient, Landscape
from analysis.probes.smoothing import Smoothing

DEFAULTS = Configuration()
LEVELS = DEFAULTS.noise_levels
LADDER = (DEFAULTS.largest_noise, DEFAULTS.smallest_noise)
WIDE = 5.0
SMOOTHINGS: dict[str, Smoothing] = {
    "annealed_mean": "mean",
    "annealed_soft": "soft",
    "annealed_soft_wide": "soft",
    "authors": "mean",
}


def half_decades(smallest: int, count: int = 11) -> tuple[float, ...]:
    """From 10^smallest up, each the square root of 10 times the one before."""
    return tuple(float(f"{10 ** (smallest + k / 2):.3g}") for k in range(count))


STEP_SIZES = {False: half_decades(-6), True: half_decades(-7)}
"""By whether a chain is annealed: equally many, equally far apart, in squared actions. The coarsest
level of an annealed one takes steps 10,000 times as large, from the range of the plain ones to
beyond the box; the authors' 1e-4 is among them."""
COARSEST = 1.0
"""Of epsilon k, where U has curvature k: up to it the variance on a quadratic is at most 4/3 of the
law's, and beyond it a chain says more of its step than of the law (`algorithms.langevin`)."""


class Target(NamedTuple):
    """exp(scale * temperature_factor * U) on the box: Q is scaled by the one, the sampler's inverse
    temperature by the other."""

    landscape: Landscape
    scale: float = 1.0
    temperature_factor: float = 1.0
    boundary: Boundary = "clip"

    @property
    def factor(self) -> float:
        """c of the law exp(c U)."""
        return self.scale * self.temperature_factor


def sampler_configuration(seed: int) -> dict[str, Any]:
    """What a record says of the samplers beside what was measured."""
    names = ("noise_levels", "largest_noise", "smallest_noise", "inverse_temperature")
    return {
        "seed": seed,
        "step_sizes": {"plain": STEP_SIZES[False], "annealed": STEP_SIZES[True]},
        "coarsest": COARSEST,
        "nc_lql": {name: getattr(DEFAULTS, name) for name in names},
    }


def is_annealed(sampler: str) -> bool:
    """Whether it walks a ladder of noise levels."""
    return sampler in SMOOTHINGS


def step_sizes_of(sampler: str) -> tuple[float, ...]:
    """Those that it is tuned over."""
    return STEP_SIZES[is_annealed(sampler)]


def fine_step_sizes_of(sampler: str, landscape: Landscape) -> tuple[float, ...]:
    """Those at which holding the chain can tell the law: of a divided gradient all, since its drift
    knows no curvature."""
    sizes = step_sizes_of(sampler)
    if sampler == "authors":
        return sizes
    return tuple(size for size in sizes if size * landscape.curvature <= COARSEST)


@cache
def smoothed_levels(
    landscape: Landscape, kind: Smoothing, factor: float, ladder: tuple[float, float]
) -> list[Gradient]:
    """Gradients of the smoothed factor * U at each level, coarse to fine."""
    noise_levels = geometric_noise_levels(*ladder, LEVELS)
    return [landscape.smoothed(sigma, kind, factor) for sigma in noise_levels]


class Sampler:
    """One sampler on one target."""

    def __init__(self, name: str, target: Target):
        self.name, self.target = name, target
        temperature = DEFAULTS.inverse_temperature * target.temperature_factor
        self.dynamics = Dynamics(temperature, name == "authors", target.boundary)
        self.conditionings: list[Gradient]
        if is_annealed(name):
            ladder = tuple(WIDE * s for s in LADDER) if name.endswith("wide") else LADDER
            kind = SMOOTHINGS[name]
            # Smoothing as the soft policy asks knows the temperature; the regression does not.
            factor = target.factor if kind == "soft" else target.scale
            self.unit = temperature if kind == "soft" else DEFAULTS.inverse_temperature
            self.conditionings = smoothed_levels(target.landscape, kind, factor, ladder)
        else:
            self.unit = DEFAULTS.inverse_temperature / target.scale
            self.conditionings = [target.landscape.gradient]
        noise_levels = geometric_noise_levels(*LADDER, LEVELS)
        self.ladder_of_steps = annealed_step_sizes(noise_levels, 1.0)

    def gradient(self, x: Tensor, conditioning: Gradient) -> Tensor:
        """Of Q, or of Q at a noise level."""
        return conditioning(x) / self.unit

    def starts(self, chains: int, generators: "Generators") -> Tensor:
        """(1, chains, action): where chains begin."""
        landscape = self.target.landscape
        if self.name == "previous":
            drawn = landscape.draw(chains, generators.numpy, self.target.factor)
            drawn[:, 0] *= -1
            return torch.from_numpy(drawn).float()[None]
        shape = (1, chains, landscape.dimension)
        return torch.rand(shape, generator=generators.torch) * 2 - 1

    def run(
        self, evaluations: int, x: Tensor, step_sizes: Sequence[float], generator: torch.Generator
    ) -> Tensor:
        """(step sizes, chains, action) after so many gradient evaluations from `x`, (1 or as many
        as step sizes, chains, action). Raises ValueError for an annealed one whose levels would not
        have equally many."""
        step_size = torch.tensor(step_sizes)[:, None, None]
        x = x.expand(len(step_sizes), -1, -1)
        if not is_annealed(self.name):
            (landscape,) = self.conditionings
            noise = normals(evaluations, x, generator)
            return langevin(self.gradient, x, landscape, noise, step_size, self.dynamics)
        if evaluations % LEVELS:
            raise ValueError(f"{evaluations} evaluations are no multiple of {LEVELS} levels")
        steps = evaluations // LEVELS
        return annealed_langevin(
            self.gradient,
            x,
            self.conditionings,
            [normals(steps, x, generator) for _ in range(LEVELS)],
            [ratio * step_size for ratio in self.ladder_of_steps],
            self.dynamics,
        )

    def hold(
        self, evaluations: int, x: Tensor, step_sizes: Sequence[float], generator: torch.Generator
    ) -> Tensor:
        """The chain at its finest level, to whose stationary law any walk tends as it is given more
        steps at each level; of a plain chain the chain itself."""
        step_size = torch.tensor(step_sizes)[:, None, None]
        x = x.expand(len(step_sizes), -1, -1)
        noise = normals(evaluations, x, generator)
        return langevin(self.gradient, x, self.conditionings[-1], noise, step_size, self.dynamics)


def normals(steps: int, x: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Noise of one chain's shape at a time, shared by all step sizes: nothing is kept."""
    for _ in range(steps):
        yield torch.randn(x.shape[1:], generator=generator)


class Generators(NamedTuple):
    """Of one purpose."""

    torch: torch.Generator
    numpy: np.random.Generator


def generators(seed: int, *purpose: Any) -> Generators:
    """Independent ones for each purpose, named by any words and numbers."""
    key = tuple(zlib.crc32(str(word).encode()) for word in purpose)
    sequence = np.random.SeedSequence(seed, spawn_key=key)
    numbers, words = sequence.spawn(2)
    torch_seed = int(words.generate_state(1, np.uint64)[0] >> 1)
    return Generators(torch.Generator().manual_seed(torch_seed), np.random.default_rng(numbers))
