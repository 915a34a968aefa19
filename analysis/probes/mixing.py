"""Measures how many gradient evaluations samplers need to weigh two modes, against the dimension.

    python -m analysis.probes.mixing [--scale desk|smoke] [--processes N] [--output DIR]

Chains start from uniform actions, half of them nearer to either mode, where the modes have 0.2 and
0.8 of the mass. The error of the second mode's weight is recorded at budgets that double; an
annealed walk is run anew for each, since its levels divide the budget, and a plain chain goes on.
A sampler's step size is the one whose pilot chains, which are not measured again, come
below the threshold and stay there first.

- `mixture`: equal widths, coordinates independent. What the plain chain does along the first axis
  knows nothing of the others, so that a dimension can slow down only what couples them: a divided
  gradient.
- `unequal_widths`: the barrier between the modes grows with the dimension.

Thresholds are declared here, before any data. Leaves a record in `results/probes/mixing` (desk) or
`build/probes/mixing` (smoke), from which `analysis.mixing` derives the table.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from analysis.probes.crossing import evaluations_to
from analysis.probes.laboratory import Place, measured_command
from analysis.probes.landscapes import landscape
from analysis.probes.quantities import Measurement
from analysis.probes.samplers import (
    LEVELS,
    Sampler,
    Target,
    generators,
    is_annealed,
    sampler_configuration,
    step_sizes_of,
)

SEED = 0
QUANTITIES = ("mode_weight_error",)
SAMPLERS = ("plain", "annealed_mean", "annealed_soft", "annealed_soft_wide", "authors")
LANDSCAPES = ("mixture", "unequal_widths")
THRESHOLD_BY_DISTANCE = {0.5: 0.1, 1.0: 0.1}
"""Absolute error of the mode's weight, a third of what uniform starts have; the same in every
dimension, so that only the work to get there can differ."""


class Sizes(NamedTuple):
    """How much is measured."""

    repeats: int
    chains: int
    """A repeat."""
    pilot_chains: int
    """At each step size, to choose one."""
    dimensions: tuple[int, ...]
    doublings: int
    """Of a budget of one evaluation at each level; the last one is the largest."""

    @property
    def budgets(self) -> list[int]:
        return [LEVELS * 2**k for k in range(self.doublings + 1)]


SIZES = {
    "desk": Sizes(8, 64, 192, (1, 2, 6, 17, 50, 100, 200), 8),
    "smoke": Sizes(5, 32, 64, (1, 2, 100, 200), 4),
}


def threshold(place: Place) -> float:
    """Declared error of a place's mode weight."""
    return THRESHOLD_BY_DISTANCE[place.distance]


class Cell:
    """One landscape at one dimension and distance."""

    def __init__(self, place: Place, sizes: Sizes):
        self.place, self.sizes, self.threshold = place, sizes, threshold(place)
        self.landscape = landscape(*place)
        self.exact = self.landscape.share_above_split()

    def errors(
        self, sampler: Sampler, budgets: Sequence[int], chains: int, step_sizes: Sequence[float]
    ) -> Iterator[np.ndarray]:
        """(step sizes, chains), by budget: 1 less the exact weight for a chain on the second mode's
        side, its negative for one on the first's."""
        purpose = "pilot" if len(step_sizes) > 1 else "main"
        streams = generators(SEED, *self.place, sampler.name, purpose)
        x, done = sampler.starts(chains, streams), 0
        for budget in budgets:
            if is_annealed(sampler.name):
                x = sampler.starts(chains, streams)
                ends = sampler.run(budget, x, step_sizes, streams.torch)
            else:
                ends = x = sampler.run(budget - done, x, step_sizes, streams.torch)
                done = budget
            yield self.signed(ends)

    def signed(self, ends: Tensor) -> np.ndarray:
        return (ends[..., 0] > self.landscape.split).double().numpy() - self.exact

    def tuned(self, sampler: Sampler) -> float:
        """The step size whose pilot crosses first; of several that do not, the least wrong."""
        sizes, budgets = step_sizes_of(sampler.name), self.sizes.budgets[::2]
        chains = self.sizes.pilot_chains
        found = [part.mean(1) for part in self.errors(sampler, budgets, chains, sizes)]
        by_size = np.stack(found, 1)
        order = [
            (evaluations_to(errors, budgets, self.threshold) or np.inf, np.abs(errors).mean())
            for errors in by_size
        ]
        return sizes[min(range(len(sizes)), key=order.__getitem__)]

    def measured(self, name: str) -> Iterator[Measurement]:
        """By budget, all of them: who is below the threshold early may not stay there."""
        sampler = Sampler(name, Target(self.landscape))
        step_size = self.tuned(sampler)
        chains = self.sizes.repeats * self.sizes.chains
        parts = self.errors(sampler, self.sizes.budgets, chains, [step_size])
        for budget, (signed,) in zip(self.sizes.budgets, parts, strict=True):
            errors = signed.reshape(self.sizes.repeats, -1).mean(1)
            case = {"sampler": name, **self.place._asdict(), "evaluations": budget}
            case |= {"step_size": step_size, "threshold": self.threshold}
            case |= {"chains": self.sizes.chains, "budget": self.sizes.budgets[-1]}
            yield Measurement(case, [{"mode_weight_error": float(error)} for error in errors])


def measure_place(place: Place, scale: str) -> list[Measurement]:
    """Everything of a place."""
    cell = Cell(place, SIZES[scale])
    return [found for name in SAMPLERS for found in cell.measured(name)]


def places(scale: str) -> list[Place]:
    """Of a scale; the largest first, so that processes end together."""
    return [
        Place(name, dimension, distance)
        for dimension in sorted(SIZES[scale].dimensions, reverse=True)
        for name in LANDSCAPES
        for distance in THRESHOLD_BY_DISTANCE
    ]


def configuration(scale: str) -> dict[str, Any]:
    """What the record of a scale is measured with."""
    thresholds = {str(distance): value for distance, value in THRESHOLD_BY_DISTANCE.items()}
    return {**SIZES[scale]._asdict(), "thresholds": thresholds, **sampler_configuration(SEED)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return measured_command(
        "mixing",
        __doc__,
        arguments,
        places=places,
        measure=measure_place,
        quantities=QUANTITIES,
        configuration=configuration,
    )


if __name__ == "__main__":
    sys.exit(main())
