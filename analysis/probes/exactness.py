"""Measures how far samplers are from the soft policy, on landscapes where it is known.

    python -m analysis.probes.exactness [--scale desk|smoke] [--processes N] [--output DIR]

Every sampler of `analysis.probes.samplers` at 20, 100, 1,000 and 10,000 gradient evaluations, on
every landscape in 1 to 200 dimensions, at the best of its step sizes: the one with the least total
variation to quadrature in one and two dimensions, the least energy distance to exact draws above,
in chains that are not measured again. In one and two dimensions also at stationarity: chains from
exact draws and from uniform ones are held at the finest level for 200,000 evaluations, and are
called stationary if split R-hat over both is at most 1.01. Only steps that are fine beside the
landscape's curvature are held: on two modes a coarse one becomes stationary alone, by overshooting
what lies between them, and then shows the bias of its step. Beside these `main` cases, on a
quadratic and a mixture in one and two dimensions,

- `step_size`: each step size by itself;
- `scale`, `temperature`: Q or the inverse temperature times 1/8, 1, 8, tuned anew;
- `boundary`: clipped, reflected and free, tuned anew;
- `unchanged`: the share of actions that stay within 1e-3 of where they were when Q is scaled, on
  the same starts and noise.

Sampler `exact` is as many independent exact draws: the floor of every distance. Repeats are
independent chains. Leaves a record in `results/probes/exactness` (desk) or
`build/probes/exactness` (smoke), from which `analysis.exactness` derives the table.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from analysis.probes import distances
from analysis.probes.laboratory import Place, measured_command
from analysis.probes.landscapes import landscape
from analysis.probes.quantities import Measurement
from analysis.probes.samplers import (
    Generators,
    Sampler,
    Target,
    fine_step_sizes_of,
    generators,
    sampler_configuration,
    step_sizes_of,
)

SEED = 0
QUANTITIES = (
    *("mode_weight_error", "face_share", "energy_distance", "sliced_wasserstein"),
    *("total_variation", "total_variation_of_others", "unchanged_share"),
)
LANDSCAPES = ("quadratic", "mixture", "unequal_widths", "ring", "rugged")
SAMPLERS = ("plain", "previous", "annealed_mean", "annealed_soft", "authors")
STUDIED = ("quadratic", "mixture")
FACTORS = (0.125, 1.0, 8.0)
STATIONARY = "stationary"
HIGHEST_R_HAT = 1.01
"""Source: Vehtari et al. (2021)."""
TRACED_CHAINS = 64
TRACE_LENGTH = 100
SAME_ACTION = 1e-3


class Sizes(NamedTuple):
    """How much is measured."""

    repeats: int
    low_chains: int
    """Chains a repeat in one and two dimensions, where histograms are made of them."""
    high_chains: int
    """Above."""
    pilot_chains: int
    """At each step size, to choose one; `high_chains` of them above two dimensions."""
    dimensions: tuple[int, ...]
    budgets: tuple[int, ...]
    studied_budgets: tuple[int, ...]
    stationary_evaluations: int
    """For how long chains are held. A smaller step is less biased and mixes later, so a short hold
    leaves only large steps stationary, and blames their bias on the sampler."""
    references: int
    """Exact draws that energy distances are taken to."""


DESK = Sizes(
    8, 500, 32, 250, (1, 2, 6, 17, 50, 100, 200), (20, 100, 1000, 10_000), (20, 1000), 200_000, 1024
)
SMOKE = Sizes(5, 100, 24, 50, (1, 2, 6), (20, 100), (20,), 400, 256)


SIZES = {"desk": DESK, "smoke": SMOKE}


class Cell:
    """One landscape in one dimension."""

    def __init__(self, place: Place, sizes: Sizes):
        self.place, self.sizes = place, sizes
        self.landscape = landscape(*place)
        self.is_low = place.dimension <= 2
        self.chains = sizes.low_chains if self.is_low else sizes.high_chains
        self.pilot_chains = sizes.pilot_chains if self.is_low else sizes.high_chains
        self._floors: dict[float, Measurement] = {}

    def generators(self, *purpose: Any) -> Generators:
        return generators(SEED, *self.place, *purpose)

    def reference(self, factor: float) -> Tensor:
        """Exact draws (references, d), the same for all that are held against them."""
        numpy = self.generators("reference", factor).numpy
        return torch.from_numpy(self.landscape.draw(self.sizes.references, numpy, factor)).float()

    # What is measured of draws -----------------------------------------------------------------

    def case(self, study: str, sampler: str, target: Target, **more: Any) -> dict[str, Any]:
        return {
            "study": study,
            "sampler": sampler,
            **self.place._asdict(),
            "scale": target.scale,
            "temperature_factor": target.temperature_factor,
            "boundary": target.boundary,
            "chains": self.chains,
            **more,
        }

    def quantities(self, draws: Tensor, factor: float, purpose: str) -> list[dict[str, float]]:
        """By repeat, of (repeats * chains, d)."""
        reference, found = self.reference(factor), []
        parts = draws.reshape(self.sizes.repeats, -1, self.place.dimension)
        streams = self.generators("against", purpose, factor)
        cells = distances.cell_probabilities(self.landscape, factor) if self.is_low else None
        for number, part in enumerate(parts):
            few, values = part[: self.sizes.references], part.double().numpy()
            exact = self.landscape.draw(len(few), streams.numpy, factor)
            exact = torch.from_numpy(exact).float()
            row = {
                "face_share": distances.face_share(values),
                "energy_distance": distances.energy_distance(few, reference),
                "sliced_wasserstein": distances.sliced_wasserstein(few, exact, streams.torch),
            }
            if self.landscape.split is not None:
                share = distances.share_above(values, self.landscape.split)
                row["mode_weight_error"] = share - self.landscape.share_above_split(factor)
            if cells is not None:
                others = torch.cat([*parts[:number], *parts[number + 1 :]]).double().numpy()
                row["total_variation"] = distances.total_variation(values, cells)
                row["total_variation_of_others"] = distances.total_variation(others, cells)
            found.append(row)
        return found

    def floor(self, factor: float) -> Measurement:
        """The same of as many exact draws."""
        if factor not in self._floors:
            count = self.sizes.repeats * self.chains
            drawn = self.landscape.draw(count, self.generators("floor", factor).numpy, factor)
            case = self.case("floor", "exact", Target(self.landscape, factor))
            drawn = torch.from_numpy(drawn).float()
            self._floors[factor] = Measurement(case, self.quantities(drawn, factor, "floor"))
        return self._floors[factor]

    # Tuning ------------------------------------------------------------------------------------

    def criterion(self, draws: Tensor, factor: float) -> float:
        """What a step size is chosen by, of (chains, d)."""
        if self.is_low:
            cells = distances.cell_probabilities(self.landscape, factor)
            return distances.total_variation(draws.double().numpy(), cells)
        return distances.energy_distance(draws, self.reference(factor))

    def tuned(self, study: str, name: str, target: Target, evaluations: int) -> Measurement:
        """A sampler at the best of its step sizes."""
        sampler, purpose = Sampler(name, target), (name, *target[1:], evaluations)
        self.floor(target.factor)
        streams = self.generators("pilot", *purpose)
        starts = sampler.starts(self.pilot_chains, streams)
        sizes = step_sizes_of(name)
        ends = sampler.run(evaluations, starts, sizes, streams.torch)
        scores = [self.criterion(end, target.factor) for end in ends]
        best = sizes[int(np.argmin(scores))]
        (drawn,) = self.run(sampler, evaluations, [best], "main", *purpose)
        case = self.case(study, name, target, steps=evaluations, step_size=best)
        return Measurement(case, self.quantities(drawn, target.factor, name))

    def run(self, sampler: Sampler, evaluations: int, step_sizes, *purpose: Any) -> Tensor:
        """(step sizes, repeats * chains, d)."""
        streams = self.generators(*purpose)
        starts = sampler.starts(self.sizes.repeats * self.chains, streams)
        return sampler.run(evaluations, starts, step_sizes, streams.torch)

    # Stationarity ------------------------------------------------------------------------------

    def held(
        self, sampler: Sampler, chains: int, step_sizes: Sequence[float], streams: Generators
    ) -> tuple[Tensor, list[float]]:
        """Last actions (step sizes, chains, d) and split R-hat by step size, of chains every other
        one of which starts from an exact draw, the others from a uniform one."""
        exact = self.landscape.draw(chains, streams.numpy)
        x = Sampler("plain", sampler.target).starts(chains, streams)
        x[0, ::2] = torch.from_numpy(exact[::2]).float()
        total, trace = self.sizes.stationary_evaluations, []
        x = sampler.hold(total // 2, x, step_sizes, streams.torch)
        for _ in range(TRACE_LENGTH):
            x = sampler.hold(total // 2 // TRACE_LENGTH, x, step_sizes, streams.torch)
            trace.append(x[:, :TRACED_CHAINS].double())
        traced = torch.stack(trace, 2)  # (step sizes, chains, times, d)
        heights = self.landscape.log_density(traced)[..., None]
        quantities = torch.cat([traced, heights], -1).movedim(-1, 1).numpy()
        return x, [distances.largest_r_hat(list(at)) for at in quantities]

    def stationary(self, name: str) -> Measurement:
        """A sampler's finest level, held; at the best fine step size of those that are stationary,
        and of all fine ones where none is."""
        target = Target(self.landscape)
        sampler, sizes = Sampler(name, target), fine_step_sizes_of(name, self.landscape)
        streams = self.generators("stationary pilot", name)
        ends, r_hats = self.held(sampler, self.pilot_chains, sizes, streams)
        scores = np.array([self.criterion(end, 1.0) for end in ends])
        mixed = np.array(r_hats) <= HIGHEST_R_HAT
        best = sizes[int(np.argmin(np.where(mixed | ~mixed.any(), scores, np.inf)))]
        streams = self.generators("stationary", name)
        (drawn,), (r_hat,) = self.held(sampler, self.sizes.repeats * self.chains, [best], streams)
        case = self.case("main", name, target, steps=STATIONARY, step_size=best)
        case |= {"r_hat": round(min(r_hat, 1e3), 4), "is_stationary": r_hat <= HIGHEST_R_HAT}
        return Measurement(case, self.quantities(drawn, 1.0, name))

    # Studies -----------------------------------------------------------------------------------

    def by_step_size(self, name: str, evaluations: int) -> Iterator[Measurement]:
        """Each step size by itself, on the same starts and noise."""
        target, sizes = Target(self.landscape), step_sizes_of(name)
        ends = self.run(Sampler(name, target), evaluations, sizes, "step_size", name, evaluations)
        for step_size, drawn in zip(sizes, ends, strict=True):
            case = self.case("step_size", name, target, steps=evaluations, step_size=step_size)
            yield Measurement(case, self.quantities(drawn, 1.0, name))

    def unchanged(self, name: str, step_size: float, evaluations: int) -> Iterator[Measurement]:
        """Actions when Q is scaled, beside those when it is not."""
        ends = {
            scale: self.run(
                Sampler(name, Target(self.landscape, scale)), evaluations, [step_size], "unchanged"
            )[0]
            for scale in FACTORS
        }
        for scale in (FACTORS[0], FACTORS[-1]):
            same = ((ends[scale] - ends[1.0]).abs() < SAME_ACTION).all(-1).float()
            shares = same.reshape(self.sizes.repeats, -1).mean(1).tolist()
            target = Target(self.landscape, scale)
            case = self.case("unchanged", name, target, steps=evaluations, step_size=step_size)
            yield Measurement(case, [{"unchanged_share": share} for share in shares])

    def studies(self, name: str, evaluations: int) -> Iterator[Measurement]:
        yield from self.by_step_size(name, evaluations)
        for factor in FACTORS:
            yield self.tuned("scale", name, Target(self.landscape, factor), evaluations)
            target = Target(self.landscape, 1.0, factor)
            yield self.tuned("temperature", name, target, evaluations)
        for boundary in ("clip", "reflect", "none"):
            target = Target(self.landscape, boundary=boundary)
            yield self.tuned("boundary", name, target, evaluations)

    def measure(self) -> Iterator[Measurement]:
        """Everything of this landscape in this dimension."""
        is_studied = self.is_low and self.place.landscape in STUDIED
        for name in SAMPLERS:
            main = [
                self.tuned("main", name, Target(self.landscape), evaluations)
                for evaluations in self.sizes.budgets
            ]
            yield from main
            if name == "previous":
                continue
            if self.is_low:
                yield self.stationary(name)
            if is_studied:
                for evaluations in self.sizes.studied_budgets:
                    yield from self.studies(name, evaluations)
                yield from self.unchanged(name, main[0].case["step_size"], self.sizes.budgets[0])
        yield from self._floors.values()


def measure_place(place: Place, scale: str) -> list[Measurement]:
    """Everything of a place."""
    return list(Cell(place, SIZES[scale]).measure())


def places(scale: str) -> list[Place]:
    """Of a scale; the largest first, so that processes end together."""
    return [
        Place(name, dimension, 1.0 if name in ("mixture", "unequal_widths") else None)
        for dimension in sorted(SIZES[scale].dimensions, reverse=True)
        for name in LANDSCAPES
    ]


def configuration(scale: str) -> dict[str, Any]:
    """What the record of a scale is measured with."""
    return {**SIZES[scale]._asdict(), **sampler_configuration(SEED)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return measured_command(
        "exactness",
        __doc__,
        arguments,
        places=places,
        measure=measure_place,
        quantities=QUANTITIES,
        configuration=configuration,
    )


if __name__ == "__main__":
    sys.exit(main())
