"""NC-LQL: noise-conditioned Langevin Q-learning, after the paper's authors' code.

Nothing is trained but twin critics Q_i(s, a, l), where l = 1 ... L indexes a noise level sigma_l,
coarse to fine (the code counts from 0). The finest level is the Q-function; at a coarser one the
critics learn Q(s, a~, l) = E[Q(s, a, L) | a + sigma_l z = a~] over actions a of the replay, which
is Gaussian smoothing where these are spread evenly. Actions are drawn by annealed Langevin
dynamics,

    g    = grad_a [Q_1(s, a, l) + Q_2(s, a, l)],  divided by |g| + 1e-8,                       (1)
    a   <- clip(a + (epsilon_l / 2) w g + sqrt(epsilon_l) z, -1, 1),    z ~ N(0, I),           (2)

T steps at each level, epsilon_l = epsilon (sigma_l / sigma_L)^2, from a uniform in the box. Plain
temporal differences (TD) train the finest level,

    y    = c r + gamma (1 - terminated) min_i Qbar_i(s', a', L),   a' drawn with the online Q, (3)

and the others regress on the mean of the twins at the clean action, before the TD step,

    Q_i(s, a + sigma_l z, l)  ->  [Q_1(s, a, L) + Q_2(s, a, L)] / 2.                           (4)

What (1) samples: with the division, the drift has length epsilon_l w / 2 whatever Q is, so Q and
8 Q give the same actions: no tau fits both, and the drift of one Q is that of exp(Q / tau) only if
|grad Q| is the same everywhere. By default its length goes from 250 half widths of the box at the
coarsest level to 0.025 at the finest, and is above 1 at six of ten: coarse steps throw an action on
the faces that the gradient points to, from where the last four levels can still drift 1.65 half
widths in all. Without the division (the digest's form, `gradient='plain'`) w is 1 / tau of the
twins' sum, so that of their mean tau = 1 / (2 w), in scaled reward.
How far either is from exp(Q / tau) where that is known: `analysis/probes/exactness.py`.
Equations (1) to (4) are the authors' code; `paper/differences.md` says where the digest parts.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from algorithms.agent import Metrics
from algorithms.finite import parameter_norm
from algorithms.langevin import (
    Dynamics,
    annealed_langevin,
    annealed_step_sizes,
    geometric_noise_levels,
)
from algorithms.langevin_agent import Boundary, LangevinAgent, Start
from algorithms.networks import polyak_update
from algorithms.replay import Batch


@dataclass(frozen=True)
class Configuration:
    """Hyperparameters of NC-LQL."""

    hidden_width: int = 256
    """Units of each hidden layer of a critic. Source: authors' code."""
    hidden_layers: int = 3
    """Hidden layers of a critic. Source: authors' code."""
    batch_size: int = 256
    """Transitions an update. Source: authors' code."""
    replay_capacity: int = 1_000_000
    """Transitions kept for replay. Source: authors' code."""
    discount: float = 0.99
    """gamma, in [0, 1). Source: authors' code."""
    target_rate: float = 0.005
    """Share of the online critics that enters the targets at each update, in (0, 1]. Source:
    authors' code."""
    learning_rate: float = 1e-4
    """Adam's step size, in (0, inf). Source: authors' code."""
    reward_scale: float = 0.2
    """c, factor on the reward in the TD target, in (0, inf). Source: authors' code."""
    inverse_temperature: float = 500.0
    """w of (2), in (0, inf), units of 1 / scaled return: 1/tau of the twins' sum where the gradient
    is plain, how far a step drifts where it is divided. Source: authors' code."""
    noise_levels: int = 10
    """L, number of noise levels. Source: authors' code."""
    largest_noise: float = 0.1
    """sigma of the coarsest level, in (0, inf), half widths of the action box. Source: authors'
    code."""
    smallest_noise: float = 0.001
    """sigma of the finest level, in (0, inf), the same unit. Source: authors' code."""
    steps_per_level: int = 2
    """T, Langevin steps at each level. Source: authors' code."""
    finest_step_size: float = 1e-4
    """epsilon, step size at the finest level, in (0, inf), squared actions. Source: authors'
    code."""
    gradient: Literal["normalised", "plain"] = "normalised"
    """Whether (1) divides by the norm; 'plain' is the digest's. Source: authors' code."""
    order: Literal["annealed", "reversed", "constant"] = "annealed"
    """How the chain walks the levels; 'constant' stays at one. Source: authors' code."""
    constant_level: int = 0
    """Index of the level that order 'constant' stays at. Source: ours: read by that order alone."""
    step_ladder: Literal["own", "annealed"] = "own"
    """Whether a step has the size of the level that it is at, or anneals in whatever order the
    levels are walked. Source: authors' code."""
    update_steps: Literal["separate", "joint"] = "separate"
    """TD then smoothing, a step of Adam each, or one step on their sum (digest). Source: authors'
    code."""
    conditioning: bool = True
    """False: no level input and no (4), the same ladder of steps. Source: authors' code."""
    start: Start = "uniform"
    """Where chains begin in training; 'previous': at the action before, in an update at the
    replayed one. Evaluation begins afresh. Source: authors' code."""
    boundary: Boundary = "clip"
    """What keeps the chain in the box. Source: authors' code."""
    sampling_precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Precision of the chain's products in hidden layers; 'auto' is bfloat16 where the processor
    has it. Source: authors' code."""


class ChainNoise(NamedTuple):
    """All that one annealed chain draws."""

    initial: Tensor
    """(batch, action), uniform in the box."""
    steps: Tensor
    """(L, T, batch, action), standard normal."""


class UpdateNoise(NamedTuple):
    """All that one update draws."""

    chain: ChainNoise
    level: Tensor
    """(batch,), uniform over all levels but the finest, unless it is the only one."""
    perturbation: Tensor
    """(batch, action), standard normal."""


class NCLQL(LangevinAgent):
    """Equations (1) to (4) on twin critics, with targets and replay."""

    Configuration = Configuration

    def __init__(self, configuration, spaces, run, device, generators):
        levels = configuration.noise_levels if configuration.conditioning else 0
        super().__init__(configuration, spaces, run, device, generators, levels)
        own = self.configuration
        if own.constant_level >= own.noise_levels:
            raise ValueError(
                f"constant_level {own.constant_level} is none of {own.noise_levels} noise levels"
            )
        if own.smallest_noise > own.largest_noise:
            raise ValueError(
                f"smallest_noise {own.smallest_noise} is above largest_noise {own.largest_noise}"
            )
        sigmas = geometric_noise_levels(own.largest_noise, own.smallest_noise, own.noise_levels)
        self.sigmas = torch.tensor(sigmas, device=device)
        self.step_sizes = torch.tensor(
            annealed_step_sizes(sigmas, own.finest_step_size), device=device
        )
        self.walk = {
            "annealed": list(range(own.noise_levels)),
            "reversed": list(reversed(range(own.noise_levels))),
            "constant": [own.constant_level] * own.noise_levels,
        }[own.order]
        is_own = own.step_ladder == "own"
        self.walked_step_sizes = self.step_sizes[self.walk] if is_own else self.step_sizes
        is_normalised = own.gradient == "normalised"
        self.dynamics = Dynamics(own.inverse_temperature, is_normalised, own.boundary)
        self.finest = own.noise_levels - 1 if own.conditioning else 0
        self.regression_loss = self.compiled(self._regression_loss)

    @torch.no_grad()
    def sample(self, observation: Tensor, noise: ChainNoise) -> Tensor:
        """Annealed Langevin dynamics on the sum of the online critics: (batch, action)."""
        levels = self.critics.conditioning(observation, self.precision)
        return annealed_langevin(
            self.critics.action_gradient,
            noise.initial,
            [levels[level if self.configuration.conditioning else 0] for level in self.walk],
            noise.steps,
            self.walked_step_sizes,
            self.dynamics,
            self.chain,
        )

    @torch.no_grad()
    def value(self, observation: Tensor, action: Tensor) -> Tensor:
        """Q that (1) climbs, (batch,): the sum of the online twins at the finest level."""
        finest = torch.full((len(action),), self.finest, device=self.device)
        return self.critics(observation, action, finest).sum(0)

    def update(self, batch: Batch, noise: UpdateNoise | None = None) -> Metrics:
        """TD (3) at the finest level, smoothing (4) at the others, then the targets."""
        own = self.configuration
        noise = noise or self.draw_update_noise(batch.reward.shape[0])
        critics = {
            "critics": parameter_norm(self.critics),
            "target_critics": parameter_norm(self.target_critics),
        }
        chain = self.begun(noise.chain, batch.action)
        next_action = self.sample(batch.next_observation, chain)
        target = self.temporal_difference_target(batch, next_action)
        finest = torch.full_like(noise.level, self.finest)
        loss, value = self.regression_loss(batch.observation, batch.action, finest, target)
        # The loss of a twin, on average; steps are on sums.
        metrics = {"td_loss": loss / 2, "q_mean": value.mean(), "q_absolute": value.abs().mean()}
        if own.conditioning:
            noisy_action = batch.action + self.sigmas[noise.level, None] * noise.perturbation
            clean_value = value.mean(0)  # before the TD step
        if own.update_steps == "separate":
            metrics["td_gradient_norm"] = self.step(loss)
        if own.conditioning:
            smoothing, _ = self.regression_loss(
                batch.observation, noisy_action, noise.level, clean_value
            )
            metrics["smoothing_loss"] = smoothing / 2
            loss = loss + smoothing if own.update_steps == "joint" else smoothing
        if own.conditioning or own.update_steps == "joint":
            # Of smoothing where steps are separate, of the sum where they are joint.
            metrics["gradient_norm"] = self.step(loss)
        polyak_update(self.target_critics, self.critics, own.target_rate)
        metrics["next_action_on_face"] = (next_action.abs() >= 1).float().mean()
        self.finite.check(self.updates, **critics, **metrics)
        return metrics

    @torch.no_grad()
    def temporal_difference_target(self, batch: Batch, next_action: Tensor) -> Tensor:
        """y of (3), (batch,): the lesser of the two target critics, none after a true end."""
        finest = torch.full_like(batch.reward, self.finest, dtype=torch.long)
        value = self.target_critics(batch.next_observation, next_action, finest).amin(0)
        future = self.configuration.discount * (~batch.terminated) * value
        return self.configuration.reward_scale * batch.reward + future

    def _regression_loss(self, observation, action, level, target) -> tuple[Tensor, Tensor]:
        """Mean squared error of Q_i(s, a, l) to a target (batch,), summed over the twins, and
        Q (2, batch). Both (3) and (4) have this form; in (4) the noisy action is not clipped."""
        value = self.critics(observation, action, level)
        return ((value - target) ** 2).mean(1).sum(), value.detach()

    def draw_chain_noise(self, batch: int, generator: torch.Generator) -> ChainNoise:
        steps = (len(self.walk), self.configuration.steps_per_level, batch, self.spaces.action_size)
        return ChainNoise(
            self.uniform_action(batch, generator),
            torch.randn(steps, generator=generator, device=self.device),
        )

    def draw_update_noise(self, batch: int) -> UpdateNoise:
        generator, device = self.generators["update"], self.device
        coarse = max(self.configuration.noise_levels - 1, 1)
        return UpdateNoise(
            self.draw_chain_noise(batch, generator),
            torch.randint(coarse, (batch,), generator=generator, device=device),
            torch.randn(batch, self.spaces.action_size, generator=generator, device=device),
        )
