"""Proximal policy optimisation (Schulman et al., 2017), the standard continuous-control recipe.

A Gaussian policy pi and a value V are fitted to a rollout of the policy before them, pi_old:

    d_t  = r_t + gamma (1 - terminated_t) V(s_t+1) - V(s_t)                                     (1)
    A_t  = d_t + gamma lambda (1 - ended_t) A_t+1,                 R_t = A_t + V(s_t)           (2)
    L    = -E min(rho A, clip(rho, 1 - epsilon, 1 + epsilon) A),   rho = pi(a|s) / pi_old(a|s)  (3)
           + c_V E (V(s) - R)^2 - c_H E [entropy of pi(.|s)]

with A standardised over each minibatch, and Adam's step size falling linearly to zero. An episode
ends at a time limit too, but (1) goes on through it by the value of the true final observation.

Where implementations differ this follows Stable-Baselines3: where the options agree, one fit to a
rollout equals one call of its `train`. `paper/differences.md` has the rest.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from algorithms.agent import Agent, Metrics, NamedNetwork, Transition
from algorithms.compilation import compiled_for
from algorithms.device import adam
from algorithms.normalisation import RewardScale, RunningMoments
from algorithms.policies import (
    DiagonalGaussianPolicy,
    FlatParameters,
    gradient_of,
    normal_entropy,
    normal_log_probability,
    orthogonal_perceptron,
)


@dataclass(frozen=True)
class Configuration:
    """Hyperparameters of PPO."""

    rollout_transitions: int = 2050
    """Transitions between updates, over all environments. Source: CleanRL's and
    Stable-Baselines3's 2,048, made a multiple of 5 environments."""
    fewest_rollouts: int = 20
    """A run too short for as many rollouts gets as many shorter ones. Source: ours: a smoke run is
    few full rollouts long, too few to learn from; runs above 41,000 transitions are not touched."""
    minibatches: int = 32
    """Nearly equal parts that a rollout is cut into. Source: CleanRL's ppo_continuous_action."""
    smallest_minibatch: int = 50
    """Transitions below which a rollout is cut into fewer parts, in [2, inf): one has no deviation.
    Source: ours: shorter rollouts keep about the 64 transitions of a full one's minibatches."""
    epochs: int = 10
    """Passes over a rollout. Source: Schulman et al. (2017), table 3."""
    discount: float = 0.99
    """gamma, of future rewards, in [0, 1). Source: Schulman et al. (2017), table 3."""
    trace_decay: float = 0.95
    """lambda, of generalised advantage estimation, in [0, 1]. Source: Schulman et al. (2017),
    table 3."""
    clip_range: float = 0.2
    """epsilon, half-width of the interval around 1 beyond which the probability ratio earns
    nothing, in (0, inf). Source: Schulman et al. (2017), table 1."""
    learning_rate: float = 3e-4
    """Adam's, in (0, inf), at the start of the run; falls linearly to 0. Source: Schulman et al.
    (2017), table 3; annealed as in CleanRL."""
    annealing_transitions: int | None = None
    """Transitions at which the learning rate is 0; none for the run's own end. Source: CleanRL's,
    the end; more is for a run that stands for the beginning of a longer one."""
    adam_epsilon: float = 1e-5
    """Added to Adam's denominator, in (0, inf). Source: Huang et al. (2022), detail 3."""
    max_gradient_norm: float = 0.5
    """Gradients of policy and value together are scaled down to this norm, in (0, inf). Source:
    Huang et al. (2022), detail 11."""
    value_coefficient: float = 0.5
    """c_V, weight of the value's mean squared error, in [0, inf). Source: Stable-Baselines3's
    default."""
    entropy_coefficient: float = 0.0
    """c_H, weight of the entropy bonus, in [0, inf). Source: Schulman et al. (2017), section 6.1:
    none for continuous control."""
    hidden_width: int = 64
    """Units of each of the two hidden layers of policy and value. Source: Schulman et al. (2017),
    section 6.1."""
    observation_limit: float = 10.0
    """Standardised observations are clipped to this many deviations, in (0, inf). Source: Huang et
    al. (2022), continuous-control detail 7."""
    reward_limit: float = 10.0
    """Scaled rewards are clipped to this, in (0, inf). Source: Huang et al. (2022),
    continuous-control detail 9."""
    is_normalised: bool = True
    """Whether observations and rewards are normalised. Source: Huang et al. (2022),
    continuous-control details 6 and 8."""


class ActorCritic(nn.Module):
    """Policy and value, which share an optimiser but no weights."""

    def __init__(self, policy: nn.Module, value: nn.Module):
        super().__init__()
        self.policy, self.value = policy, value

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, observation) -> mean (n, action), log standard deviation (action,), value (n,)."""
        return *self.policy(observation), self.value(observation).squeeze(-1)


class Samples(NamedTuple):
    """A rollout, or a minibatch of it, as the losses need it."""

    observation: Tensor
    """(n, observation), standardised as it was acted upon"""
    action: Tensor
    """(n, action), as drawn: before it was clipped to the box"""
    log_probability: Tensor
    """(n,), under the policy that drew the action"""
    advantage: Tensor
    """(n,)"""
    value_target: Tensor
    """(n,)"""

    def at(self, index: Tensor) -> "Samples":
        """The rows of an index."""
        return Samples(*(tensor[index] for tensor in self))


class PPO(Agent):
    """Collects a rollout, then fits policy and value to it; learns nothing in between.

    `updates` and `optimiser_steps` both count gradient steps, one a minibatch.
    """

    Configuration = Configuration
    has_warm_up = False

    def __init__(self, configuration, spaces, run, device, generators):
        super().__init__(configuration, spaces, run, device, generators)
        observation_size, width = spaces.observation_size, configuration.hidden_width
        generator = generators["network"]
        policy = DiagonalGaussianPolicy(
            observation_size, spaces.action_size, width, device, generator
        )
        value = orthogonal_perceptron((observation_size, width, width, 1), 1.0, device, generator)
        self.network = ActorCritic(policy, value)
        self.parameters = FlatParameters(self.network)
        self.optimiser = adam(
            [self.parameters.vector], configuration.learning_rate, configuration.adam_epsilon
        )
        self.observation_moments = RunningMoments(observation_size, device)
        self.reward_scale = RewardScale(run.environments, configuration.discount, device)
        transitions = min(
            configuration.rollout_transitions, run.transitions // configuration.fewest_rollouts
        )
        # At least two, since advantages are divided by their deviation.
        self.rollout_steps = math.ceil(max(transitions, 2) / run.environments)
        """Vector steps of a rollout."""
        self.annealing_transitions = configuration.annealing_transitions or run.transitions
        if self.annealing_transitions < run.transitions:
            raise ValueError(
                f"annealing_transitions {self.annealing_transitions} are fewer than the run's "
                f"{run.transitions}: the learning rate would fall below 0"
            )
        most = self.rollout_steps * run.environments // configuration.smallest_minibatch
        self.parts = max(1, min(configuration.minibatches, most))
        """Minibatches of a rollout."""
        self.rollout = Rollout()
        self.drawn: Tensor | None = None
        """(n, action): the last exploring actions before clipping, until they are observed."""
        compiled = compiled_for(None, run.compile, device)
        self.loss_gradient = compiled(self._loss_gradient)

    @torch.no_grad()
    def act(self, observation: Tensor, explore: bool) -> Tensor:
        """A draw of the Gaussian, or its mean, clipped to the box."""
        mean, log_deviation = self.network.policy(self.standardise(observation))
        if not explore:
            return mean.clamp(-1, 1)
        noise = torch.randn(mean.shape, generator=self.generators["actions"], device=self.device)
        self.drawn = torch.addcmul(mean, log_deviation.exp(), noise)
        return self.drawn.clamp(-1, 1)

    def standardise(self, observation: Tensor) -> Tensor:
        """(n, observation), by the moments of all observations acted upon so far."""
        if not self.configuration.is_normalised:
            return observation
        return self.observation_moments.standardise(
            observation, self.configuration.observation_limit
        )

    def observe(self, transition: Transition) -> None:
        # The likelihood is that of the action as it was drawn; clipping belongs to the environment.
        action = transition.action if self.drawn is None else self.drawn
        self.drawn = None
        observation = self.standardise(transition.observation)
        self.rollout.append(transition._replace(observation=observation, action=action))
        self.observation_moments.update(transition.observation)
        self.transitions += transition.reward.shape[0]

    def learn(self) -> Metrics:
        if len(self.rollout) < self.rollout_steps:
            return {}
        rollout = self.rollout.stacked()
        self.rollout.clear()
        self.finite.check(self.updates, reward=rollout.reward)
        return self.fit(self.samples(rollout), self.minibatch_indices(rollout.reward.numel()))

    @torch.no_grad()
    def samples(self, rollout: Transition) -> Samples:
        """Advantages and value targets of a rollout (steps, n, ·), flattened to (steps n, ·)."""
        configuration = self.configuration
        mean, log_deviation, value = self.network(rollout.observation)
        log_probability = normal_log_probability(rollout.action, mean, log_deviation)
        # The next value is that of the next row, but where an episode ended the true final
        # observation's: a time limit cuts the episode, not its value.
        ended = rollout.terminated | rollout.truncated
        final_value = self.network.value(self.standardise(rollout.next_observation)).squeeze(-1)
        next_value = final_value.clone()
        next_value[:-1] = torch.where(ended[:-1], final_value[:-1], value[1:])
        advantage = generalised_advantage(
            self.scaled_reward(rollout.reward, ended),
            value,
            next_value,
            rollout.terminated,
            ended,
            configuration.discount,
            configuration.trace_decay,
        )
        rows = Samples(
            rollout.observation, rollout.action, log_probability, advantage, advantage + value
        )
        return Samples(*(tensor.flatten(0, 1) for tensor in rows))

    def scaled_reward(self, reward: Tensor, ended: Tensor) -> Tensor:
        """Rewards (steps, n) in standard deviations of the return; one scale for a rollout."""
        if not self.configuration.is_normalised:
            return reward
        self.reward_scale.update(reward, ended)
        return self.reward_scale.apply(reward, self.configuration.reward_limit)

    def minibatch_indices(self, size: int) -> list[Tensor]:
        """Every epoch's minibatches: indices into a rollout of `size` transitions, each once an
        epoch, in parts that differ by at most one."""
        order = {"generator": self.generators["update"], "device": self.device}
        return [
            index
            for _ in range(self.configuration.epochs)
            for index in torch.randperm(size, **order).tensor_split(self.parts)
        ]

    def fit(self, samples: Samples, minibatches: list[Tensor]) -> Metrics:
        """One gradient step for each minibatch, an index into `samples`."""
        self.anneal(samples.advantage.shape[0])
        history = []
        for index in minibatches:
            gradient, diagnostics = self.loss_gradient(*samples.at(index))
            self.parameters.vector.grad = gradient
            self.optimiser.step()
            history.append(diagnostics)
        columns = dict(zip(DIAGNOSTICS, torch.stack(history).unbind(1), strict=True))
        self.finite.check_history(self.updates, **columns)
        self.updates += len(minibatches)
        self.optimiser_steps += len(minibatches)
        self.finite.check(self.updates, network=self.parameters.vector)
        return {name: column.mean() for name, column in columns.items()}

    def anneal(self, rollout_transitions: int) -> None:
        """Learning rate in proportion to what was left to its end when the rollout began."""
        done = (self.transitions - rollout_transitions) / self.annealing_transitions
        self.optimiser.param_groups[0]["lr"] = self.configuration.learning_rate * (1 - done)

    def _loss_gradient(self, *minibatch: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient of the loss on the tensors of `Samples`, scaled down to the largest norm
        allowed, and the diagnostics (len(DIAGNOSTICS),)."""
        gradient, diagnostics = gradient_of(
            self.loss, self.parameters.vector.detach(), Samples(*minibatch)
        )
        norm = gradient.norm()
        scale = (self.configuration.max_gradient_norm / (norm + 1e-6)).clamp(max=1.0)
        return gradient * scale, torch.stack([*diagnostics, norm])

    def loss(self, parameters: Tensor, minibatch: Samples) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Clipped surrogate, value error and entropy as one loss (), (3), and diagnostics."""
        configuration = self.configuration
        mean, log_deviation, value = functional_call(
            self.network, self.parameters.named(parameters), (minibatch.observation,)
        )
        log_probability = normal_log_probability(minibatch.action, mean, log_deviation)
        log_ratio = log_probability - minibatch.log_probability
        advantage = standardised(minibatch.advantage)
        policy_loss = clipped_surrogate_loss(log_ratio, advantage, configuration.clip_range)
        value_loss = (value - minibatch.value_target).square().mean()
        entropy = normal_entropy(log_deviation)
        loss = (
            policy_loss
            + configuration.value_coefficient * value_loss
            - configuration.entropy_coefficient * entropy
        )
        # Schulman's estimate of the Kullback-Leibler divergence from the policy that acted.
        divergence = (log_ratio.exp() - 1 - log_ratio).mean()
        return loss, (policy_loss, value_loss, entropy, divergence)

    def networks(self) -> dict[str, NamedNetwork]:
        return {
            "policy": NamedNetwork(self.network.policy, copies=1, trained=True),
            "value": NamedNetwork(self.network.value, copies=1, trained=True),
        }

    def components(self) -> dict:
        return {
            "network": self.network,
            "optimiser": self.optimiser,
            "observation_moments": self.observation_moments,
            "reward_scale": self.reward_scale,
            "rollout": self.rollout,
        }


DIAGNOSTICS = ("policy_loss", "value_loss", "entropy", "divergence", "gradient_norm")
"""Columns of what `loss_gradient` reports of a minibatch, in the order of computation."""


class Rollout:
    """Vector steps in order, with standardised observations and actions as they were drawn."""

    def __init__(self):
        self.steps: list[Transition] = []

    def __len__(self) -> int:
        return len(self.steps)

    def append(self, step: Transition) -> None:
        """Add one vector step."""
        self.steps.append(step)

    def clear(self) -> None:
        """Forget every step."""
        self.steps = []

    def stacked(self) -> Transition:
        """All steps along a new leading dimension."""
        return Transition(*map(torch.stack, zip(*self.steps, strict=True)))

    def state_dict(self) -> dict:
        return self.stacked()._asdict() if self.steps else {}

    def load_state_dict(self, state: dict) -> None:
        columns = [state[name].unbind() for name in Transition._fields] if state else []
        self.steps = [Transition(*step) for step in zip(*columns, strict=True)]


def generalised_advantage(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    ended: Tensor,
    discount: float,
    trace_decay: float,
) -> Tensor:
    """(1) and (2): advantages (steps, n) of a rollout, from tensors of that shape (Schulman et al.,
    2016).

    `next_value` is the true next observation's. It counts unless the task `terminated`; the sum of
    later errors stops wherever the episode `ended`, by a time limit too.
    """
    error = reward + discount * ~terminated * next_value - value
    decay = discount * trace_decay * ~ended
    advantage = torch.zeros_like(error[-1])
    advantages = []
    for step_error, step_decay in zip(
        reversed(error.unbind()), reversed(decay.unbind()), strict=True
    ):
        advantage = torch.addcmul(step_error, step_decay, advantage)
        advantages.append(advantage)
    return torch.stack(advantages[::-1])


def standardised(advantage: Tensor) -> Tensor:
    """(n,), with mean 0 and standard deviation 1 over the minibatch."""
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)


def clipped_surrogate_loss(log_ratio: Tensor, advantage: Tensor, clip_range: float) -> Tensor:
    """Loss () of the policy, first line of (3): equation 7 of Schulman et al. (2017), negated."""
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -torch.min(ratio * advantage, clipped * advantage).mean()
