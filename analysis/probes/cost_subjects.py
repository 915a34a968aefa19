"""What the probe of costs measures: every registered algorithm, one size changed at a time."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from algorithms import algorithm
from algorithms.agent import Agent, Spaces
from analysis.probes import subjects
from analysis.probes.live_bytes import live_bytes
from analysis.probes.timing import Case

TRAINED_IN = "HalfCheetah-v4"
"""Whose sizes all have where nothing else is said."""
STEP_SETTINGS: dict[str, Callable[[int], dict[str, int]]] = {
    "nc_lql": subjects.steps_of_ladder,
    "lql": lambda steps: {"chain_steps": steps},
    "diffusion_ql": lambda steps: {"denoising_steps": steps},
}
"""How a method is told its number of Langevin or denoising steps; others have none."""


class Grid(NamedTuple):
    """Values of each size; those that an algorithm has by default are measured once."""

    langevin_steps: tuple[int, ...]
    denoising_steps: tuple[int, ...]
    candidates: tuple[int, ...]
    """Actions drawn for each one taken, beside the default; at every number of steps."""
    critic_layers: tuple[int, ...]
    action_dimension: tuple[int, ...]
    batch: tuple[int, ...]
    """Of an update."""
    acting: tuple[int, ...]
    """Observations acted upon at once, beyond one."""
    environments: tuple[int, ...]
    """Side by side in training."""

    def steps(self, name: str) -> tuple[int, ...]:
        """Of the chain of an algorithm; none for one that has no chain."""
        if name not in STEP_SETTINGS:
            return ()
        return self.denoising_steps if name == "diffusion_ql" else self.langevin_steps


FULL = Grid(
    langevin_steps=(5, 10, 20, 40, 80),
    denoising_steps=(1, 2, 5, 10, 20, 50, 100),
    candidates=(1,),
    critic_layers=(2, 3, 4, 6, 8),
    # Of Swimmer, Hopper, HalfCheetah and Walker2d, Ant, Humanoid, and beyond.
    action_dimension=(2, 3, 6, 8, 17, 100),
    batch=(64, 256, 1024),
    acting=(4, 16, 64, 256, 1024, 4096),
    environments=(1, 5, 20, 80),
)
QUICK = Grid((5, 20), (5, 20), (1,), (2, 3), (6,), (128, 256), (16, 64), (1, 5))
SIZES_COMPILED = 3
"""Batches acted upon by one agent, so that each is compiled (`compilation.MOST_SIZES`)."""


class Variation(NamedTuple):
    """An algorithm with one size changed, and what is measured of it."""

    algorithm: str
    label: str
    """`base`, or the size and its value."""
    settings: dict[str, Any]
    spaces: Spaces = subjects.HALF_CHEETAH
    learns: bool = True
    """Whether updates are timed."""
    is_weighed: bool = True
    """Whether the live bytes of an update are measured, if it learns."""
    acts_on: tuple[int, ...] = (1,)
    """Batches on which acting is timed."""
    is_latency: bool = False
    """Whether calls at batch 1 are timed one by one, often enough for a percentile."""

    @property
    def name(self) -> str:
        """Of its cases, after the quantity."""
        return f"{self.algorithm}/{self.label}"

    @property
    def size(self) -> str:
        """The size that was changed, `base` where none was."""
        return self.label.partition("=")[0]


def variations(name: str, grid: Grid) -> Iterator[Variation]:
    """Every variation of an algorithm, its default sizes first."""
    kind = algorithm(name).Configuration
    common = subjects.settings_for(name, "float32")
    default = kind(**common)

    def has(field: str) -> bool:
        return hasattr(default, field)

    def differs(settings: dict[str, Any]) -> bool:
        return dataclasses.replace(default, **settings) != default

    yield Variation(name, "base", common, is_latency=True)
    chains = {f"steps={n}": STEP_SETTINGS[name](n) for n in grid.steps(name)}
    chains = {label: settings for label, settings in chains.items() if differs(settings)}
    for label, settings in chains.items():
        yield Variation(name, label, common | settings, is_latency=True)
    if has("candidates"):
        for n in grid.candidates:
            for label, settings in {"base": {}, **chains}.items():
                of_few = common | settings | {"candidates": n}
                label = f"candidates={n}" + (f"/{label}" if settings else "")
                yield Variation(name, label, of_few, learns=False, is_latency=True)
    if has("hidden_layers"):
        for n in grid.critic_layers:
            if n != default.hidden_layers:
                yield Variation(name, f"critic_layers={n}", common | {"hidden_layers": n})
    for n in grid.action_dimension:
        if n != subjects.HALF_CHEETAH.action_size:
            spaces = Spaces(subjects.HALF_CHEETAH.observation_size, n)
            yield Variation(name, f"action_dimension={n}", common, spaces, is_weighed=False)
    if has("batch_size"):
        for n in grid.batch:
            if n != default.batch_size:
                yield Variation(name, f"batch={n}", common | {"batch_size": n}, acts_on=())
    for k in range(0, len(grid.acting), SIZES_COMPILED):
        rows = grid.acting[k : k + SIZES_COMPILED]
        yield Variation(name, f"acting={rows[0]}", common, learns=False, acts_on=rows)


def sizes(agent: Agent, name: str, batch: int | None) -> dict[str, int | None]:
    """The sizes of a case, as columns of the table; none for what a method does not have."""
    counted, c = subjects.sizes_of(agent, name), agent.configuration
    return {
        "steps": counted.steps or None,
        "candidates": getattr(c, "candidates", None),
        "critic_layers": getattr(c, "hidden_layers", None),
        "action_dimension": agent.spaces.action_size,
        "batch": batch,
        "environments": agent.run.environments,
    }


class Subject:
    """A variation as an agent, with its cases."""

    def __init__(self, variation: Variation, device: torch.device, compile: bool, **more: Any):
        """`more` settings that no case speaks of."""
        self.variation = variation
        name, settings = variation.algorithm, variation.settings
        self.agent = subjects.make(
            name, device, variation.spaces, compile=compile, **settings, **more
        )
        self.run = self.prepare = None
        self.updates = 0
        """Of one `learn`."""
        if variation.learns:
            self.run, self.prepare = subjects.learner(self.agent, name)
            self.learn_once()
            before = self.agent.updates
            self.learn_once()
            self.updates = max(self.agent.updates - before, 1)

    def learn_once(self) -> None:
        """As the probe times it."""
        if self.prepare:
            self.prepare()
        self.run()

    def about(self, quantity: str, batch: int | None, **more: Any) -> dict[str, Any]:
        """What the record says of a case."""
        return {
            "quantity": quantity,
            "algorithm": self.variation.algorithm,
            "precision": "float32",
            "compiled": self.agent.run.compile,
            "env": "",
            "is_base": self.variation.label == "base",
            "sizes": sizes(self.agent, self.variation.algorithm, batch),
            **more,
        }

    def batch(self) -> int | None:
        """Rows of an update."""
        return subjects.sizes_of(self.agent, self.variation.algorithm).batch or None

    def update_cases(self) -> list[Case]:
        """`learn`, where it is timed."""
        if self.run is None:
            return []
        about = self.about("update", self.batch(), units=self.updates)
        return [Case(f"update/{self.variation.name}", about, self.run, self.prepare)]

    def acting_cases(self, calls: int, is_latency: bool) -> list[Case]:
        """Exploring actions, either those whose calls are timed one by one or the others."""
        if is_latency != self.variation.is_latency:
            return []
        cases = []
        for rows in self.variation.acts_on:
            observation = subjects.normal_observations(self.agent, rows)
            quantity = "latency" if is_latency else "action"
            case = Case(
                f"{quantity}/{self.variation.name}/{rows}",
                self.about("action", rows, units=rows, is_latency=is_latency),
                lambda observation=observation: self.agent.act(observation, explore=True),
            )
            case.single_calls = calls if is_latency else 0
            cases.append(case)
        return cases

    def live_bytes(self) -> tuple[str, dict[str, Any], dict[str, int]]:
        """(case, what it is, bytes by part) of an update."""
        about = self.about("live_bytes", self.batch())
        name = f"live_bytes/{self.variation.name}"
        return name, about, live_bytes(self.agent, self.run, self.prepare)
