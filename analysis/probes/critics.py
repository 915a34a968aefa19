"""Measures how far the methods' own chains are from the soft policy of critics that they trained.

    python -m analysis.probes.critics [--scale desk|smoke] [--output DIR]

The distances of `analysis.probes.exactness`, on critics that are frozen. Records of runs hold no
networks, so that this is measured where runs were made: of the first run of each Langevin method
and environment that has left a `policy.pt`; each case of the record names it. No record is replaced
by one that lacks a critic of it. The soft policy of a critic at one observation is what the
method's own chain should draw from: exp(w (Q_1 + Q_2)) for NC-LQL, whose twins are summed,
exp(w (Q_1 + Q_2) / 2) for LQL, on the box. On a bandit, of two actions, the reference is drawn by
quadrature. Elsewhere it is Metropolis-adjusted Langevin from uniform starts, and a critic on which
split R-hat over its chains is above 1.01 is left out, its R-hat named. Chains are the agent's own,
with its own step sizes, given more steps.

Leaves a record in `results/probes/critics` (desk) or `build/probes/critics` (smoke), whose rows
`analysis.exactness` takes into its table.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from torch import Tensor

from algorithms import lql, nc_lql
from algorithms.agent import Agent
from algorithms.langevin import mala
from algorithms.options import configuration_hash
from algorithms.record import POLICY, read_document, read_policy
from analysis.artefacts import RESULTS
from analysis.probes import distances
from analysis.probes.exactness import QUANTITIES
from analysis.probes.laboratory import measured_command
from analysis.probes.policies import exact_draws
from analysis.probes.quantities import Measurement
from analysis.probes.samplers import Generators, generators
from envs.bandit import landscape_of

RUNS = RESULTS / "runs"
METHODS = ("lql", "nc_lql")
SEED = 0
MALA_STEP_SIZES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
TARGET_ACCEPTANCE = 0.574
"""Optimal in high dimension. Source: Roberts and Rosenthal (1998)."""
HIGHEST_R_HAT = 1.01


class Sizes(NamedTuple):
    """How much is measured."""

    repeats: int = 8
    chains: int = 64
    budgets: tuple[int, ...] = (20, 100, 1000)
    pilot_steps: int = 100
    reference_steps: int = 4000
    trace_length: int = 100


SIZES = {"desk": Sizes(), "smoke": Sizes(5, 16, (20,), 20, 400, 50)}


def frozen_runs(root: Path = RUNS) -> list[Path]:
    """Folders of the first run of each environment and method that left a policy: of the method as
    it is where there is one, and not of a variant; then by name. None of a smoke scale."""
    found: dict[tuple[str, str], Path] = {}
    files = root.glob(f"**/{POLICY}")
    for file in sorted(files, key=lambda file: (file.parts[-3] not in METHODS, file)):
        document = read_document(file.parent)
        configuration = document["configuration"] if document else {}
        key = configuration.get("env"), configuration.get("algorithm")
        is_smoke = file.relative_to(root).parts[0].startswith("smoke")
        if key[1] in METHODS and document["status"] == "complete" and not is_smoke:
            found.setdefault(key, file.parent)
    return list(found.values())


def landscape_name(env: str, algorithm: str) -> str:
    """Of a critic, in a record."""
    return f"critic of {algorithm} on {env}"


def landscape_of_run(folder: Path) -> str:
    """The landscape's name of the critic that a run has left in a folder."""
    configuration = read_document(folder)["configuration"]
    return landscape_name(configuration["env"], configuration["algorithm"])


def measure_run(folder: Path, scale: str) -> list[Measurement]:
    """Everything of the critic that a run has left in a folder."""
    return list(Frozen(folder, SIZES[scale]).measure())


class Frozen:
    """A critic at the first observation of an episode."""

    def __init__(self, folder: Path, sizes: Sizes):
        self.sizes, self.agent = sizes, read_policy(folder, torch.device("cpu"))
        configuration = read_document(folder)["configuration"]
        self.env, self.algorithm = configuration["env"], configuration["algorithm"]
        self.run = "/".join(folder.parts[-4:])
        self.configuration_hash = configuration_hash(configuration)
        environment = gymnasium.make(self.env)
        observation, _ = environment.reset(seed=SEED)
        environment.close()
        self.observation = torch.as_tensor(np.asarray(observation, np.float32))
        self.dimension = self.agent.spaces.action_size
        self.count = sizes.repeats * sizes.chains
        if landscape_of(self.env) is not None:
            self.reference, self.r_hat = self.by_quadrature(), None
        else:
            self.reference, self.r_hat = self.by_mala()
        self.has_reference = self.r_hat is None or self.r_hat <= HIGHEST_R_HAT

    def streams(self, *purpose: Any) -> Generators:
        return generators(SEED, self.env, self.algorithm, *purpose)

    def log_density(self, action: Tensor) -> Tensor:
        """w times the Q that the method samples by, (chains, d) -> (chains,); -inf off the box."""
        critics, c = self.agent.critics, self.agent.configuration
        repeated = self.observation.expand(len(action), -1)
        level = None
        if self.algorithm == "nc_lql" and c.conditioning:
            level = torch.full((len(action),), self.agent.finest)
        value = critics(repeated, action, level)
        total = value.sum(0) if self.algorithm == "nc_lql" else value.mean(0)
        inside = (action.abs() <= 1).all(-1)
        return torch.where(inside, c.inverse_temperature * total, -torch.inf)

    def by_quadrature(self) -> Tensor:
        """(3 * count, 2) independent draws; which third is for what, `by_mala` says."""
        return exact_draws(
            lambda _, action: self.log_density(action),
            1.0,
            3 * self.count,
            self.streams("quadrature").torch,
        )

    def by_mala(self) -> tuple[Tensor, float]:
        """(3 * count, d) actions, the last of as many chains, and split R-hat over them: one third
        is held against another by each distance, and a third by the floor."""
        streams = self.streams("mala")
        x = torch.rand(3 * self.count, self.dimension, generator=streams.torch) * 2 - 1

        def walk(x: Tensor, steps: int, step_size: float) -> tuple[Tensor, Tensor]:
            noise = (torch.randn(x.shape, generator=streams.torch) for _ in range(steps))
            uniform = (torch.rand(len(x), generator=streams.torch) for _ in range(steps))
            return mala(self.log_density, x, noise, uniform, step_size)

        step_size = min(
            MALA_STEP_SIZES,
            key=lambda size: abs(
                float(walk(x, self.sizes.pilot_steps, size)[1].mean()) - TARGET_ACCEPTANCE
            ),
        )
        half = self.sizes.reference_steps // 2
        x, _ = walk(x, half, step_size)
        trace = []
        for _ in range(self.sizes.trace_length):
            x, _ = walk(x, half // self.sizes.trace_length, step_size)
            trace.append(x[: 2 * self.sizes.chains])
        traced = torch.stack(trace, 1).double().numpy()
        return x, distances.largest_r_hat(list(np.moveaxis(traced, -1, 0)))

    def sample(self, agent: Agent, evaluations: int, streams: Generators) -> Tensor:
        """(count, d) of the agent's own chain."""
        shape = (self.count, self.dimension)
        initial = torch.rand(shape, generator=streams.torch) * 2 - 1
        repeated = self.observation.expand(self.count, -1)
        if self.algorithm == "lql":
            steps = torch.randn(evaluations, *shape, generator=streams.torch)
            return agent.sample(repeated, lql.ChainNoise(initial, steps))
        levels = len(agent.walk)
        steps = torch.randn(levels, evaluations // levels, *shape, generator=streams.torch)
        return agent.sample(repeated, nc_lql.ChainNoise(initial, steps))

    def quantities(self, draws: Tensor) -> list[dict[str, float]]:
        first, second = self.reference[: self.count], self.reference[self.count : 2 * self.count]
        streams, found = self.streams("directions"), []
        for part, beside in zip(
            draws.split(self.sizes.chains), second.split(self.sizes.chains), strict=True
        ):
            found.append(
                {
                    "face_share": distances.face_share(part.double().numpy()),
                    "energy_distance": distances.energy_distance(part, first),
                    "sliced_wasserstein": distances.sliced_wasserstein(part, beside, streams.torch),
                }
            )
        return found

    def case(self, sampler: str, **more: Any) -> dict[str, Any]:
        place = {"landscape": landscape_name(self.env, self.algorithm), "distance": None}
        study = "floor" if sampler == "exact" else "main"
        place |= {"dimension": self.dimension, "chains": self.sizes.chains, "scale": 1.0}
        place |= {"temperature_factor": 1.0, "boundary": self.agent.configuration.boundary}
        of = {"run": self.run, "configuration_hash": self.configuration_hash}
        return {"study": study, "sampler": sampler, **place, "r_hat": self.r_hat, **of, **more}

    def measure(self) -> Iterator[Measurement]:
        """The method's chain at each budget: as trained, and of NC-LQL also in the other form of
        its gradient. Where the reference has not mixed, a case that says so and
        has no repeats."""
        if not self.has_reference:
            yield Measurement(self.case("exact") | {"study": "left out"}, [])
            return
        floor = self.reference[2 * self.count :]
        yield Measurement(self.case("exact"), self.quantities(floor))
        forms = {"plain": False}
        if self.algorithm == "nc_lql":
            forms = {"authors": True, "annealed_learned": False}
        own = self.agent.dynamics
        for sampler, normalise in forms.items():
            self.agent.dynamics = own._replace(normalise=normalise)
            for evaluations in self.sizes.budgets:
                drawn = self.sample(self.agent, evaluations, self.streams(sampler, evaluations))
                yield Measurement(self.case(sampler, steps=evaluations), self.quantities(drawn))
        self.agent.dynamics = own


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, 1 where no run has left a policy."""
    runs = frozen_runs()
    if not runs:
        print(f"no run of {' or '.join(METHODS)} under {RUNS} has left a {POLICY}", file=sys.stderr)
        return 1
    return measured_command(
        "critics",
        __doc__,
        arguments,
        places=lambda scale: runs,
        measure=measure_run,
        quantities=QUANTITIES,
        configuration=lambda scale: {**SIZES[scale]._asdict(), "seed": SEED},
        landscapes=landscape_of_run,
    )


if __name__ == "__main__":
    sys.exit(main())
