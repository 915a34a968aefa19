"""The contract every algorithm meets, and nothing else.

One loop (`loop.py`) serves on-policy and off-policy methods alike, because the algorithm decides
when it learns. Tensors in and out are float32 on the agent's device; only the loop converts.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms.finite import FiniteLatch


class Spaces(NamedTuple):
    """Sizes of a flat box of observations and a box of actions scaled to [-1, 1]."""

    observation_size: int
    action_size: int


class Run(NamedTuple):
    """What an algorithm may know of the run it is in."""

    environments: int
    """Parallel environments, the leading dimension of every transition."""
    transitions: int
    """Environment transitions of the whole run, warm-up included."""
    warm_up: int
    """Transitions of uniformly random actions before learning; counted."""
    updates_per_step: int
    """Updates owed for each vector step after the warm-up (off-policy methods)."""
    compile: bool
    """Whether hot code may be compiled (for fixed shapes)."""


class Transition(NamedTuple):
    """One vector step of `n` environments; `next_observation` is the true final one at an end."""

    observation: Tensor
    """(n, observation)"""
    action: Tensor
    """(n, action), in [-1, 1]"""
    reward: Tensor
    """(n,)"""
    terminated: Tensor
    """(n,) bool: the task ended; nothing follows."""
    truncated: Tensor
    """(n,) bool: a time limit cut the episode; its value goes on."""
    next_observation: Tensor
    """(n, observation)"""


class NamedNetwork(NamedTuple):
    """A network as it is counted in the tables."""

    module: torch.nn.Module
    copies: int
    """How many networks the module holds (2 for stacked twins)."""
    trained: bool
    """False for targets and averages, which no optimiser touches."""


Metrics = dict[str, Tensor]
Generators = dict[str, torch.Generator]


class Agent(ABC):
    """A learner. Subclasses set `Configuration` and write, in this order, their configuration,
    state, `act`, `observe`, `learn` (off-policy methods: `policy` and `update`, see
    `off_policy.py`)."""

    Configuration: ClassVar[type]
    """Frozen dataclass of hyperparameters; each field's docstring names its source."""
    revision: ClassVar[int] = 1
    """Raised when the arithmetic changes, which makes older records stale."""
    has_warm_up: ClassVar[bool] = True
    """Whether the method begins with uniformly random actions."""

    def __init__(
        self,
        configuration: Any,
        spaces: Spaces,
        run: Run,
        device: torch.device,
        generators: Generators,
    ):
        """`generators` holds one generator on `device` for each of `randomness.AGENT_CONSUMERS`."""
        self.configuration = configuration
        self.spaces = spaces
        self.run = run
        self.device = device
        self.generators = generators
        self.finite = FiniteLatch(device)
        self.transitions = 0
        """Environment transitions observed."""
        self.updates = 0
        """Updates done, as the method counts them."""
        self.optimiser_steps = 0
        """Steps of any optimiser (NC-LQL takes two an update)."""

    @abstractmethod
    def act(self, observation: Tensor, explore: bool) -> Tensor:
        """Actions (n, action) in [-1, 1] for observations (n, observation).

        With `explore=False` the method's own evaluation policy: it draws from the `evaluation`
        generator only and leaves no trace in the agent. For a method with a warm-up,
        `explore=True` is uniformly random until `run.warm_up` transitions were observed.
        """

    @abstractmethod
    def observe(self, transition: Transition) -> None:
        """Keep what the method needs of a vector step; adds to `transitions`."""

    @abstractmethod
    def learn(self) -> Metrics:
        """Do the updates that are owed, maybe none; called once a vector step.

        Returns scalar tensors on the device (the mean over the updates done), or {} for none.
        Nothing here may wait for the device (`.item()`, `.cpu()`, a truth value).
        """

    @abstractmethod
    def networks(self) -> dict[str, NamedNetwork]:
        """Every network by name, trained or target."""

    @abstractmethod
    def components(self) -> dict[str, Any]:
        """Everything beside counters and generators that the next step depends on, by name: objects
        with `state_dict` and `load_state_dict` (networks, optimisers, replay, normalisers)."""

    def resolved(self) -> dict[str, Any]:
        """What the machine made of settings such as `auto`, for the record; plain values. A run
        does not go on where it would be something else."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nested dictionaries and lists of tensors and plain Python values."""
        return {
            "counters": {
                "transitions": self.transitions,
                "updates": self.updates,
                "optimiser_steps": self.optimiser_steps,
            },
            "generators": {name: g.get_state() for name, g in self.generators.items()},
            "components": {name: part.state_dict() for name, part in self.components().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`; the next step is then the same to the bit."""
        for name, value in state["counters"].items():
            setattr(self, name, value)
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name])
        for name, part in self.components().items():
            part.load_state_dict(state["components"][name])
