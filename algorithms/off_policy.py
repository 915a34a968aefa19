"""What every method that learns from replay shares: warm-up, replay and updates owed."""

from abc import abstractmethod

import torch
from torch import Tensor

from algorithms.agent import Agent, Metrics, Transition
from algorithms.replay import Batch, Replay


class OffPolicyAgent(Agent):
    """Random actions for the warm-up, then `run.updates_per_step` updates a vector step.

    A method writes `policy` (how it acts) and `update` (one update from a batch). Its configuration
    has `replay_capacity` and `batch_size`.
    """

    def __init__(self, configuration, spaces, run, device, generators):
        super().__init__(configuration, spaces, run, device, generators)
        for name in ("replay_capacity", "batch_size"):
            if not hasattr(configuration, name):
                raise TypeError(
                    f"{type(self).__name__} learns from replay: its Configuration needs {name}"
                )
        if configuration.replay_capacity < run.environments:
            raise ValueError(
                f"replay_capacity {configuration.replay_capacity} is less than a step of "
                f"{run.environments} environments"
            )
        self.replay = Replay(
            min(configuration.replay_capacity, run.transitions + run.environments),
            spaces.observation_size,
            spaces.action_size,
            device,
        )

    @abstractmethod
    def policy(self, observation: Tensor, explore: bool) -> Tensor:
        """Actions (n, action) in [-1, 1]; draws from `generators['actions']` when exploring and
        from `generators['evaluation']` otherwise. Any n: `propose` asks for more than one action at
        an observation, exploring too."""

    @abstractmethod
    def update(self, batch: Batch) -> Metrics:
        """One update; adds to `optimiser_steps` what its optimisers stepped, and shows losses and
        gradient norms to `self.finite`. `self.updates` counts those before it, which a policy that
        is trained at every second one wants to know. A metric is averaged over the updates that
        return it."""

    @torch.no_grad()
    def act(self, observation: Tensor, explore: bool) -> Tensor:
        if explore and self.transitions < self.run.warm_up:
            return self.uniform_action(observation.shape[0], self.generators["warm_up"])
        return self.policy(observation, explore)

    @torch.no_grad()
    def propose(self, observation: Tensor, count: int) -> Tensor:
        """Candidate actions (n, count, action) at observations (n, observation): independent draws
        of the exploring policy, trained or not.

        For the Langevin methods these are `count` chains on one fixed Q: diverse actions of high
        value, such as data sets of logged transitions could be augmented with, a use that the
        digest suggests (`analysis.probes.proposals` measures it). Draws from
        `generators['actions']`, so a call amid training moves what comes after.
        """
        repeated = observation.repeat_interleave(count, dim=0)
        return self.policy(repeated, explore=True).view(len(observation), count, -1)

    def uniform_action(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, action), uniform in the box."""
        shape = (count, self.spaces.action_size)
        return torch.rand(shape, generator=generator, device=self.device) * 2 - 1

    def observe(self, transition: Transition) -> None:
        self.replay.add(
            Batch(
                transition.observation,
                transition.action,
                transition.reward,
                transition.terminated,
                transition.next_observation,
            )
        )
        self.transitions += transition.reward.shape[0]

    def learn(self) -> Metrics:
        if self.transitions <= self.run.warm_up:
            return {}
        history = []
        for _ in range(self.run.updates_per_step):
            batch = self.replay.sample(self.configuration.batch_size, self.generators["replay"])
            history.append(self.update(batch))
            self.updates += 1
        # A policy that is trained at every second update has no loss in between.
        names = dict.fromkeys(name for metrics in history for name in metrics)
        return {
            name: torch.stack([m[name].detach() for m in history if name in m]).mean()
            for name in names
        }
