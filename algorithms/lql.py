"""LQL: Langevin Q-learning. A Q-function is trained and nothing else; it is also the policy.

Actions are drawn from the soft policy pi(a|s) ~ exp(Q(s, a) / tau) by Langevin dynamics on the mean
of the online twins, K steps from a uniform in the box,

    a   <- clip(a + (epsilon / 2) w g + sqrt(epsilon) z, -1, 1),   z ~ N(0, I),                (1)
    g    = grad_a [Q_1(s, a) + Q_2(s, a)] / 2,                     w = 1 / tau,

and the twins follow plain temporal differences,

    y    = c r + gamma (1 - terminated) min_i Qbar_i(s', a'),      a' drawn by (1) at s'.      (2)

Three things to know before trusting the name "soft policy". The digest prints (1) without w, but
only with it is exp(Q / tau) the stationary law. K steps of size epsilon are neither stationary nor
exact: the chain forgets its start over about 2 / (epsilon w k) steps where Q has curvature k. And
(2) has no entropy term, so its fixed point is, but for the lesser of two being chosen, the value of
the policy that (1) draws, exp(Q / tau) / Z were it exact, not the maximum-entropy optimum. Where
|Q| grows in training, as NC-LQL's does on MuJoCo, a fixed w goes from inert to saturated. The
defaults are the pair of best return in `sweep_lql`, where the chain ended saturated: a chain in
curvature k of Q is stable only while epsilon w k < 4. `drift_length` and `next_action_on_face` show
where a run stands.

Source: the digest, with the constants of the authors' NC-LQL code where the digest has none.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from algorithms.agent import Metrics
from algorithms.finite import parameter_norm
from algorithms.langevin import Dynamics
from algorithms.langevin_agent import Boundary, LangevinAgent, Start
from algorithms.networks import Conditioning, polyak_update
from algorithms.replay import Batch

STEPS_A_CALL = 2
"""Langevin steps in one compiled call; noise is handed over in pieces of this many."""
ROWS_OF_DRIFT = 16
"""Rows of a batch on which the drift's length is measured: a whole batch costs a step's time."""


@dataclass(frozen=True)
class Configuration:
    """Hyperparameters of LQL."""

    hidden_width: int = 256
    """Units of each hidden layer of a critic. Source: authors' code (NC-LQL)."""
    hidden_layers: int = 3
    """Hidden layers of a critic. Source: authors' code (NC-LQL)."""
    batch_size: int = 256
    """Transitions an update. Source: authors' code (NC-LQL)."""
    replay_capacity: int = 1_000_000
    """Transitions kept for replay. Source: authors' code (NC-LQL)."""
    discount: float = 0.99
    """gamma, in [0, 1). Source: authors' code (NC-LQL)."""
    target_rate: float = 0.005
    """Share of the online critics that enters the targets at each update, in (0, 1]. Source:
    authors' code (NC-LQL)."""
    learning_rate: float = 1e-4
    """Adam's step size, in (0, inf). Source: authors' code (NC-LQL)."""
    reward_scale: float = 0.2
    """c, factor on the reward in the TD target, in (0, inf). Source: authors' code (NC-LQL)."""
    inverse_temperature: float = 100.0
    """w = 1/tau, in (0, inf), units of 1 / scaled return. Source: ours: chosen by the study
    sweep_lql."""
    step_size: float = 0.1
    """epsilon, in (0, inf), squared actions. Source: ours: chosen by the study sweep_lql."""
    chain_steps: int = 20
    """K, Langevin steps an action. Source: authors' code (NC-LQL's 10 levels of 2 steps)."""
    start: Start = "uniform"
    """Where chains begin in training; 'previous': at the action before, in an update at the
    replayed one. Evaluation begins afresh. Source: authors' code (NC-LQL)."""
    boundary: Boundary = "clip"
    """What keeps the chain in the box. Source: authors' code (NC-LQL)."""
    sampling_precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Precision of the chain's products in hidden layers; 'auto' is bfloat16 where the processor
    has it. Source: authors' code (NC-LQL)."""


class ChainNoise(NamedTuple):
    """All that one chain draws."""

    initial: Tensor
    """(batch, action), uniform in the box."""
    steps: Tensor
    """(K, batch, action), standard normal."""


class LQL(LangevinAgent):
    """Equations (1) and (2) on twin critics, with targets and replay."""

    Configuration = Configuration

    def __init__(self, configuration, spaces, run, device, generators):
        super().__init__(configuration, spaces, run, device, generators)
        own = self.configuration
        self.step_size = torch.tensor(own.step_size, device=device)
        self.dynamics = Dynamics(own.inverse_temperature, boundary=own.boundary)
        self.regression_loss = self.compiled(self._regression_loss)

    @torch.no_grad()
    def sample(self, observation: Tensor, noise: ChainNoise) -> Tensor:
        """Langevin dynamics (1) on the mean of the online critics: (batch, action)."""
        # What stays as it is along the chain: the observation's part of the first layer, once,
        # since there are no noise levels here.
        (conditioning,) = self.critics.conditioning(observation, self.precision)
        action = noise.initial
        for z in noise.steps.split(STEPS_A_CALL):
            action = self.chain(
                self.gradient, action, conditioning, z, self.step_size, self.dynamics
            )
        return action

    @torch.no_grad()
    def value(self, observation: Tensor, action: Tensor) -> Tensor:
        """Q that (1) climbs, (batch,): the mean of the online twins."""
        return self.critics(observation, action).mean(0)

    def gradient(self, action: Tensor, conditioning: Conditioning) -> Tensor:
        """g of (1), (batch, action)."""
        return self.critics.action_gradient(action, conditioning) / self.critics.copies

    def update(self, batch: Batch, noise: ChainNoise | None = None) -> Metrics:
        """TD (2), then the targets."""
        noise = noise or self.draw_chain_noise(batch.reward.shape[0], self.generators["update"])
        critics = {
            "critics": parameter_norm(self.critics),
            "target_critics": parameter_norm(self.target_critics),
        }
        next_action = self.sample(batch.next_observation, self.begun(noise, batch.action))
        target = self.temporal_difference_target(batch, next_action)
        loss, value = self.regression_loss(batch.observation, batch.action, target)
        # The loss of a twin, on average; the step is on the sum.
        metrics = {"td_loss": loss / 2, "q_mean": value.mean(), "q_absolute": value.abs().mean()}
        metrics["gradient_norm"] = self.step(loss)
        polyak_update(self.target_critics, self.critics, self.configuration.target_rate)
        metrics["drift_length"] = self.drift_length(batch.next_observation, next_action)
        metrics["next_action_on_face"] = (next_action.abs() >= 1).float().mean()
        self.finite.check(self.updates, **critics, **metrics)
        return metrics

    @torch.no_grad()
    def temporal_difference_target(self, batch: Batch, next_action: Tensor) -> Tensor:
        """y of (2), (batch,): the lesser of the two target critics, none after a true end."""
        value = self.target_critics(batch.next_observation, next_action).amin(0)
        future = self.configuration.discount * (~batch.terminated) * value
        return self.configuration.reward_scale * batch.reward + future

    def _regression_loss(self, observation, action, target) -> tuple[Tensor, Tensor]:
        """Mean squared error of Q_i(s, a) to (2), summed over the twins, and Q (2, batch)."""
        value = self.critics(observation, action)
        return ((value - target) ** 2).mean(1).sum(), value.detach()

    @torch.no_grad()
    def drift_length(self, observation: Tensor, action: Tensor) -> Tensor:
        """(epsilon / 2) w |g|, the length of one step's drift, in actions; the mean over rows."""
        rows = slice(0, ROWS_OF_DRIFT)
        (conditioning,) = self.critics.conditioning(observation[rows], torch.float32)
        length = self.gradient(action[rows], conditioning).norm(dim=-1).mean()
        return 0.5 * self.step_size * self.configuration.inverse_temperature * length

    def draw_chain_noise(self, batch: int, generator: torch.Generator) -> ChainNoise:
        steps = (self.configuration.chain_steps, batch, self.spaces.action_size)
        return ChainNoise(
            self.uniform_action(batch, generator),
            torch.randn(steps, generator=generator, device=self.device),
        )
