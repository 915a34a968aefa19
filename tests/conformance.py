"""What the checks in `conformance_*.py` share: small agents, vector steps of noise, states.

Works for any algorithm that meets `algorithms/agent.py`; what it raises is written for somebody who
has just added one.
"""

import copy
import dataclasses
import tempfile
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from learners import CPU, random_transition
from torch import Tensor

from algorithms import algorithm
from algorithms.agent import Agent, Metrics, Run, Spaces, Transition
from algorithms.checkpoint import Checkpoints
from algorithms.randomness import agent_generators

SPACES = Spaces(observation_size=3, action_size=2)
SMALL = {
    "hidden_width": 16,
    "batch_size": 16,
    "minibatches": 4,
    "epochs": 2,
    "chain_steps": 3,
    "noise_levels": 3,
    "steps_per_level": 1,
    "candidates": 5,
}
"""Makes tests short where an algorithm has fields of these names."""
TRANSITIONS, WARM_UP, ENVIRONMENTS = 400, 20, 5
UPDATES = 8
"""That are looked at where something may be done at every second, third or fourth."""


class NotConforming(AssertionError):
    """What an algorithm lacks, where, and what to do about it."""


class Subject(NamedTuple):
    """An algorithm under test."""

    name: str
    """As it is registered."""
    file: str
    """Where a newcomer has to look."""
    algorithm: type[Agent]

    def require(self, condition: Any, message: str) -> None:
        """Raise NotConforming unless `condition` holds."""
        if not condition:
            raise NotConforming(f"{self.file}: {message}")

    def known(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Those of `settings` that the configuration has a field for."""
        names = {field.name for field in dataclasses.fields(self.algorithm.Configuration)}
        return {name: value for name, value in settings.items() if name in names}

    def choices(self) -> Iterator[dict[str, Any]]:
        """The defaults, then every other value of every field that has only a few (bool, Literal),
        one at a time."""
        yield {}
        hints = typing.get_type_hints(self.algorithm.Configuration)
        for field in dataclasses.fields(self.algorithm.Configuration):
            hint = hints[field.name]
            values = (True, False) if hint is bool else ()
            if typing.get_origin(hint) is typing.Literal:
                values = typing.get_args(hint)
            yield from ({field.name: value} for value in values if value != field.default)

    def make(
        self,
        *,
        seed: int = 0,
        environments: int = ENVIRONMENTS,
        device: torch.device = CPU,
        compile: bool = False,
        **settings,
    ) -> Agent:
        """A small agent at the start of a short run with one update a vector step."""
        warm_up = WARM_UP if self.algorithm.has_warm_up else 0
        return self.algorithm(
            self.algorithm.Configuration(**self.known(SMALL) | settings),
            SPACES,
            Run(environments, TRANSITIONS, warm_up, updates_per_step=1, compile=compile),
            device,
            agent_generators(device, seed),
        )

    def step(self, agent: Agent, noise: torch.Generator, **changes: Tensor) -> Metrics:
        """A vector step on a transition of noise, with `changes` to it, as the loop takes it."""
        return self.step_on(agent, random_transition(agent, noise)._replace(**changes))

    def step_on(self, agent: Agent, transition: Transition) -> Metrics:
        """A vector step on a transition, but for its action, which is the agent's."""
        action = agent.act(transition.observation, explore=True)
        agent.observe(transition._replace(action=action))
        return agent.learn()

    def step_until_update(self, agent: Agent, noise: torch.Generator) -> Metrics:
        """Vector steps until one learnt; the metrics of that one."""
        before = agent.updates
        for _ in range(TRANSITIONS // agent.run.environments):
            metrics = self.step(agent, noise)
            if agent.updates > before:
                return metrics
        raise NotConforming(
            f"{self.file}: `updates` stood at {before} for {TRANSITIONS} transitions: learn() must "
            "do the updates that are owed and count them in `self.updates`"
        )


def subject(name: str) -> Subject:
    """The algorithm registered under `name`. Raises NotConforming if the registry's line leads
    nowhere."""
    try:
        found = algorithm(name)
    except ImportError as error:
        raise NotConforming(str(error)) from error
    return Subject(name, f"{found.__module__.replace('.', '/')}.py", found)


def noise(seed: int = 0) -> torch.Generator:
    """Where the transitions of a test come from."""
    return torch.Generator().manual_seed(seed)


def kept(state: dict[str, Any], device: torch.device = CPU) -> dict[str, Any]:
    """A state as a checkpoint keeps it and brings it to a device. Raises TypeError where more
    than tensors and plain Python values is in it."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(folder)
        checkpoints.save(state)
        return checkpoints.load(device)[0]


def snapshot(agent: Agent) -> dict[str, Any]:
    """`state_dict` that does not change with the agent."""
    return copy.deepcopy(agent.state_dict())


def vector(module: torch.nn.Module) -> Tensor:
    """A copy of all parameters in a row."""
    return torch.cat([p.detach().reshape(-1).clone() for p in module.parameters()])


def leaves(state: Any, path: str = "") -> dict[str, Any]:
    """Tensors and plain values of a nested state by their path, `components/replay/size`."""
    if isinstance(state, dict):
        items = state.items()
    elif isinstance(state, list | tuple):
        items = enumerate(state)
    else:
        return {path: state}
    found: dict[str, Any] = {}
    for key, value in items:
        found |= leaves(value, f"{path}/{key}".lstrip("/"))
    return found


def differences(first: Any, second: Any) -> list[str]:
    """Paths at which two nested states are not equal to the bit, or which only one of them has."""
    a, b = leaves(first), leaves(second)
    return [path for path in {**a, **b} if not _same(a.get(path, ...), b.get(path, ...))]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same_kind = a.shape == b.shape and a.dtype == b.dtype
        return same_kind and a.cpu().numpy().tobytes() == b.cpu().numpy().tobytes()
    return type(a) is type(b) and a == b
