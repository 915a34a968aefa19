"""Soft actor-critic (Haarnoja et al., 2018, arXiv 1812.05905), as Stable-Baselines3 has it.

A squashed Gaussian policy, twin critics with targets, and an entropy coefficient alpha that is
tuned so that the policy keeps an entropy of minus the action dimension:

    y = r + gamma (1 - terminated) [min_i Qbar_i(s', a') - alpha log pi(a'|s')],  a' ~ pi(.|s')  (1)
    Q_i(s, a)  ->  y                                                                            (2)
    pi: maximise  E [min_i Q_i(s, a) - alpha log pi(a|s)],  a ~ pi(.|s)                          (3)
    log alpha: minimise  -log alpha E [log pi(a|s) + target entropy]                             (4)

The one difference from Stable-Baselines3 in an update: its guard of 1e-6 in the logarithm of the
change of variables is not needed here.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from algorithms.actor_critic import ReLUCritics, frozen
from algorithms.agent import Metrics, NamedNetwork
from algorithms.compilation import compiled_for
from algorithms.device import adam
from algorithms.networks import polyak_update
from algorithms.off_policy import OffPolicyAgent
from algorithms.policies import SquashedGaussianPolicy
from algorithms.replay import Batch


@dataclass(frozen=True)
class Configuration:
    """Hyperparameters of SAC."""

    hidden_width: int = 256
    """Units of each hidden layer of policy and critics. Source: Haarnoja et al. (2018), table 1."""
    hidden_layers: int = 2
    """Hidden layers of policy and critics. Source: Haarnoja et al. (2018), table 1."""
    batch_size: int = 256
    """Transitions an update. Source: Haarnoja et al. (2018), table 1."""
    replay_capacity: int = 1_000_000
    """Transitions kept for replay. Source: Haarnoja et al. (2018), table 1."""
    discount: float = 0.99
    """gamma, in [0, 1). Source: Haarnoja et al. (2018), table 1."""
    target_rate: float = 0.005
    """Share of the online critics that enters the targets at each update, in (0, 1]. Source:
    Haarnoja et al. (2018), table 1."""
    learning_rate: float = 3e-4
    """Adam's step size, in (0, inf), for policy, critics and log alpha. Source: Haarnoja et al.
    (2018), table 1."""
    entropy_coefficient: float = 1.0
    """alpha, at first or throughout, in (0, inf), units of reward. Source: Stable-Baselines3's
    default."""
    is_entropy_coefficient_tuned: bool = True
    """Whether (4) tunes alpha; False keeps it. Source: Haarnoja et al. (2018), section 5."""
    entropy_per_dimension: float = -1.0
    """Target entropy for each dimension of the action, in nats. Source: Haarnoja et al. (2018),
    table 1."""


class UpdateNoise(NamedTuple):
    """All that one update draws, standard normal."""

    action: Tensor
    """(batch, action), for the actions of (3) and (4)."""
    next_action: Tensor
    """(batch, action), for those of (1)."""


class SAC(OffPolicyAgent):
    """Equations (1) to (4), with targets and replay."""

    Configuration = Configuration

    def __init__(self, configuration, spaces, run, device, generators):
        super().__init__(configuration, spaces, run, device, generators)
        c = self.configuration
        shape = {"width": c.hidden_width, "layers": c.hidden_layers}
        where = {"device": device, "generator": generators["network"]}
        self.actor = SquashedGaussianPolicy(*spaces, **shape, **where)
        self.critics = ReLUCritics(sum(spaces), **shape, **where)
        self.target_critics = ReLUCritics(sum(spaces), **shape, **where)
        self.target_critics.load_state_dict(self.critics.state_dict())
        self.temperature = Temperature(c.entropy_coefficient, device)
        self.target_entropy = c.entropy_per_dimension * spaces.action_size
        self.actor_optimiser = adam(self.actor.parameters(), c.learning_rate)
        self.critic_optimiser = adam(self.critics.parameters(), c.learning_rate)
        self.temperature_optimiser = adam(self.temperature.parameters(), c.learning_rate)
        compiled = compiled_for(c.batch_size, run.compile, device)
        self.target = compiled(self._target)
        self.critic_loss = compiled(self._critic_loss)
        self.actor_loss = compiled(self._actor_loss)

    def policy(self, observation: Tensor, explore: bool) -> Tensor:
        """A draw of the policy, or tanh of its mean."""
        if not explore:
            return self.actor(observation)[0].tanh()
        shape = (observation.shape[0], self.spaces.action_size)
        noise = torch.randn(shape, generator=self.generators["actions"], device=self.device)
        return self.actor.sample(observation, noise)[0]

    def update(self, batch: Batch, noise: UpdateNoise | None = None) -> Metrics:
        """Critics, then policy, then alpha, a step of Adam each; then the targets."""
        noise = noise or self.draw_update_noise(batch.reward.shape[0])
        alpha = self.temperature().detach()
        with torch.no_grad():
            target = self.target(batch, noise.next_action, alpha)
        critic_loss, value = self.critic_loss(batch.observation, batch.action, target)
        critic_norm = self.step(self.critic_optimiser, critic_loss)
        with frozen(self.critics):
            actor_loss, log_probability = self.actor_loss(batch.observation, noise.action, alpha)
        actor_norm = self.step(self.actor_optimiser, actor_loss)
        if self.configuration.is_entropy_coefficient_tuned:
            excess = (log_probability + self.target_entropy).mean()
            self.step(self.temperature_optimiser, -self.temperature.log_alpha * excess)
        polyak_update(self.target_critics, self.critics, self.configuration.target_rate)
        metrics = {
            "critic_loss": critic_loss,
            "q_mean": value.mean(),
            "critic_gradient_norm": critic_norm,
            "actor_loss": actor_loss,
            "entropy": -log_probability.mean(),
            "actor_gradient_norm": actor_norm,
            "entropy_coefficient": alpha,
        }
        self.finite.check(self.updates, **metrics)
        return metrics

    def _target(self, batch: Batch, noise: Tensor, alpha: Tensor) -> Tensor:
        """y of (1), (batch,)."""
        action, log_probability = self.actor.sample(batch.next_observation, noise)
        value = self.target_critics(batch.next_observation, action).amin(0)
        future = ~batch.terminated * (value - alpha * log_probability)
        return batch.reward + self.configuration.discount * future

    def _critic_loss(self, observation, action, target) -> tuple[Tensor, Tensor]:
        """Half the mean squared error of (2), summed over the twins, and Q (2, batch)."""
        value = self.critics(observation, action)
        return 0.5 * (value - target).square().mean(1).sum(), value.detach()

    def _actor_loss(self, observation, noise, alpha) -> tuple[Tensor, Tensor]:
        """Minus the objective of (3), and log pi(a|s) (batch,)."""
        action, log_probability = self.actor.sample(observation, noise)
        value = self.critics(observation, action).amin(0)
        return (alpha * log_probability - value).mean(), log_probability.detach()

    def step(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> Tensor:
        """One step of an optimiser; the gradient's norm."""
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        self.optimiser_steps += 1
        return torch.nn.utils.get_total_norm([p.grad for p in optimiser.param_groups[0]["params"]])

    def draw_update_noise(self, batch: int) -> UpdateNoise:
        shape, generator = (2, batch, self.spaces.action_size), self.generators["update"]
        return UpdateNoise(*torch.randn(shape, generator=generator, device=self.device))

    def networks(self) -> dict[str, NamedNetwork]:
        return {
            "actor": NamedNetwork(self.actor, 1, True),
            "critics": NamedNetwork(self.critics, 2, True),
            "target_critics": NamedNetwork(self.target_critics, 2, False),
        }

    def components(self) -> dict:
        return {
            "actor": self.actor,
            "critics": self.critics,
            "target_critics": self.target_critics,
            "temperature": self.temperature,
            "actor_optimiser": self.actor_optimiser,
            "critic_optimiser": self.critic_optimiser,
            "temperature_optimiser": self.temperature_optimiser,
            "replay": self.replay,
        }


class Temperature(nn.Module):
    """The entropy coefficient alpha, kept positive by its logarithm."""

    def __init__(self, alpha: float, device: torch.device):
        super().__init__()
        self.log_alpha = nn.Parameter(torch.tensor(math.log(alpha), device=device))

    def forward(self) -> Tensor:
        """alpha ()."""
        return self.log_alpha.exp()
