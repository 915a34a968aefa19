"""What the Langevin methods share: twin critics, and a policy that is a chain on them.

A method writes `sample` (the chain, from noise that it is given), `draw_chain_noise`, `value` (what
the chain climbs) and `update`. Its configuration has `hidden_width`, `hidden_layers`,
`learning_rate`, `sampling_precision` and `start`.
"""

from abc import abstractmethod
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from algorithms.agent import NamedNetwork, Transition
from algorithms.compilation import compiled_for
from algorithms.device import adam, sampling_dtype
from algorithms.langevin import langevin
from algorithms.networks import Critics
from algorithms.off_policy import OffPolicyAgent

Boundary = Literal["clip", "reflect"]
"""What keeps a chain in the box; an agent's actions have to lie there."""
Start = Literal["uniform", "previous"]
"""Where chains begin in training: afresh, uniformly in the box, or at the action before."""


class Noise(Protocol):
    """All that one chain draws; `initial` (batch, action) is where it begins."""

    initial: Tensor

    def _replace(self, **changes: Any) -> "Noise": ...


class PreviousActions(torch.nn.Module):
    """The last action of each environment, none where an episode has just begun."""

    def __init__(self, environments: int, action_size: int, device: torch.device):
        super().__init__()
        self.register_buffer("action", torch.zeros(environments, action_size, device=device))
        self.register_buffer(
            "is_first", torch.ones(environments, 1, dtype=torch.bool, device=device)
        )

    def keep(self, transition: Transition) -> None:
        self.action.copy_(transition.action)
        self.is_first.copy_((transition.terminated | transition.truncated)[:, None])

    def starts(self, uniform: Tensor) -> Tensor:
        """(environments, action): the previous action, or `uniform` where there is none."""
        return torch.where(self.is_first, uniform, self.action)


class LangevinAgent(OffPolicyAgent):
    """Twin critics with targets and one optimiser."""

    def __init__(self, configuration, spaces, run, device, generators, levels: int = 0):
        """`levels`: noise levels that the critics are told, 0 for none."""
        super().__init__(configuration, spaces, run, device, generators)
        c = configuration

        def critics() -> Critics:
            return Critics(
                *spaces,
                width=c.hidden_width,
                layers=c.hidden_layers,
                levels=levels,
                device=device,
                generator=generators["network"],
            )

        self.critics, self.target_critics = critics(), critics()
        self.target_critics.load_state_dict(self.critics.state_dict())
        self.optimiser = adam(self.critics.parameters(), c.learning_rate)
        self.precision = sampling_dtype(c.sampling_precision, device)
        self.compiled = compiled_for(None, run.compile, device)
        self.chain = self.compiled(langevin)
        self.previous = None
        if c.start == "previous":
            self.previous = PreviousActions(run.environments, spaces.action_size, device)

    @abstractmethod
    def sample(self, observation: Tensor, noise: Noise) -> Tensor:
        """The chain on the online critics: (batch, action)."""

    @abstractmethod
    def draw_chain_noise(self, batch: int, generator: torch.Generator) -> Noise:
        """For `batch` chains that begin afresh."""

    @abstractmethod
    def value(self, observation: Tensor, action: Tensor) -> Tensor:
        """What the chain climbs, (batch,)."""

    def policy(self, observation: Tensor, explore: bool) -> Tensor:
        """One fresh draw of the chain for each observation."""
        generator = self.generators["actions" if explore else "evaluation"]
        return self.sample(observation, self.draw_chain_noise(observation.shape[0], generator))

    @torch.no_grad()
    def act(self, observation: Tensor, explore: bool) -> Tensor:
        """As `policy`; exploring, a chain begins at the previous action where `start` says so and
        the rows are the run's environments. Evaluation, which leaves no trace, begins afresh."""
        is_of_run = observation.shape[0] == self.run.environments
        is_warm = self.transitions >= self.run.warm_up
        if self.previous is None or not (explore and is_warm and is_of_run):
            return super().act(observation, explore)
        noise = self.draw_chain_noise(observation.shape[0], self.generators["actions"])
        initial = self.previous.starts(noise.initial)
        return self.sample(observation, noise._replace(initial=initial))

    def observe(self, transition: Transition) -> None:
        super().observe(transition)
        if self.previous is not None:
            self.previous.keep(transition)

    def begun(self, noise: Noise, action: Tensor) -> Noise:
        """The noise of a chain at s', begun at the replayed action at s where `start` says so."""
        return noise if self.previous is None else noise._replace(initial=action)

    def step(self, loss: Tensor) -> Tensor:
        """One step of Adam on the critics; the gradient's norm."""
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.optimiser_steps += 1
        return torch.nn.utils.get_total_norm([p.grad for p in self.critics.parameters()])

    def networks(self) -> dict[str, NamedNetwork]:
        return {
            "critics": NamedNetwork(self.critics, 2, True),
            "target_critics": NamedNetwork(self.target_critics, 2, False),
        }

    def resolved(self) -> dict:
        return {"sampling_precision": str(self.precision).removeprefix("torch.")}

    def components(self) -> dict:
        kept = {} if self.previous is None else {"previous": self.previous}
        return {
            "critics": self.critics,
            "target_critics": self.target_critics,
            "optimiser": self.optimiser,
            "replay": self.replay,
            **kept,
        }
