"""Diffusion-QL (Wang et al., 2023, arXiv 2208.06193), an online adaptation.

The policy pi draws an action at the end of a chain of T denoising steps (`diffusion.py`) led by a
network e that predicts noise. Twin critics follow plain temporal differences,

    y = r + gamma (1 - terminated) min_i Qbar_i(s', a'),      a' drawn by the actor's average,  (1)
    Q_i(s, a)  ->  y,                                                                           (2)

and the actor clones the actions of the replay while it climbs Q, with gradients through the chain,

    L = w E |e(x_t, t, s) - z|^2 - eta E Q_i(s, a) / E |Q_j(s, a)|,       a drawn by the actor, (3)

with |.|^2 the mean over coordinates, x_t the replay's action corrupted to a uniform level t by
noise z, and (i, j) = (1, 2) or (2, 1) by a fair coin each update; the denominator, without
gradient, only sets the scale. Adam takes one step on (2), then one on (3) with the new critics.
Then the actor's average moves (not at every update, nor among the first ones) and the target
critics do. To act is to draw K candidates from the actor, not from its average, and one of them
with probability softmax(min_i Qbar_i(s, a)).

It is an adaptation. The method was published offline, where the first term of (3) clones a fixed
data set; here the replay fills online with the policy's own actions, so that the term anchors the
policy to its past. A variant without it (w = 0) stands beside. Equations (1) to (3) are the
authors' code (Zhendong-Wang/Diffusion-Policies-for-Offline-RL), update for update;
`paper/differences.md` says where this suite parts from it.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from algorithms.agent import Metrics, NamedNetwork
from algorithms.compilation import compiled_for
from algorithms.denoiser import Denoiser
from algorithms.device import adam
from algorithms.diffusion import corrupt, denoising_chain, variance_preserving_schedule
from algorithms.networks import polyak_update
from algorithms.off_policy import OffPolicyAgent
from algorithms.perceptron import (
    Kernels,
    Perceptrons,
    Shape,
    hidden_shapes,
    layers_of,
    perceptron,
)
from algorithms.replay import Batch


@dataclass(frozen=True)
class Configuration:
    """Hyperparameters of Diffusion-QL."""

    hidden_width: int = 256
    """Units of each hidden layer of denoiser and critics. Source: authors' code."""
    hidden_layers: int = 3
    """Hidden layers of denoiser and critics. Source: authors' code."""
    batch_size: int = 256
    """Transitions an update. Source: authors' code."""
    replay_capacity: int = 1_000_000
    """Transitions kept for replay. Source: ours: the size of the Langevin methods' replay; the
    authors learn from a fixed data set."""
    discount: float = 0.99
    """gamma, in [0, 1). Source: authors' code."""
    target_rate: float = 0.005
    """Share of the online critics that enters the targets at each update, in (0, 1]. Source:
    authors' code."""
    learning_rate: float = 3e-4
    """Adam's step size, in (0, inf), for actor and critics. Source: authors' code."""
    gradient_norm: float = 1.0
    """Largest norm of a gradient, in [0, inf), of actor and critics each; 0 for no limit. Source:
    ours: the authors' default; their locomotion data sets use 1 to 9."""
    denoising_steps: int = 5
    """T, steps of the denoising chain. Source: authors' code."""
    beta_min: float = 0.1
    """b_min, in (0, inf), rate of noising at the clean end of the schedule. Source: authors'
    code."""
    beta_max: float = 10.0
    """b_max, in (0, inf), rate of noising at the noisy end of the schedule. Source: authors'
    code."""
    eta: float = 1.0
    """Weight of the normalised Q in (3), in [0, inf). Source: authors' code, locomotion data
    sets."""
    cloning_weight: float = 1.0
    """w, weight of the denoising loss in (3), in [0, inf); 0 leaves it out. Source: authors'
    code."""
    candidates: int = 50
    """K, actions drawn from the actor for each one taken. Source: authors' code."""
    evaluation_candidates: int | None = None
    """K in evaluation; none for as many as when exploring. Source: authors' code."""
    actor_average_rate: float = 0.995
    """Share of the actor's average that stays when it moves, in [0, 1). Source: authors' code."""
    actor_average_every: int = 5
    """Updates from one move of the average to the next. Source: authors' code."""
    actor_average_after: int = 1000
    """Updates before its first move, with its initial weights until then. Source: authors' code."""


class ChainNoise(NamedTuple):
    """All that one denoising chain draws, standard normal."""

    initial: Tensor
    """(batch, action)"""
    steps: Tensor
    """(T - 1, batch, action), for the noisiest level first."""


class UpdateNoise(NamedTuple):
    """All that one update draws."""

    target: ChainNoise
    """For a' of (1)."""
    actor: ChainNoise
    """For a of (3)."""
    level: Tensor
    """(batch,), t of (3), uniform over the levels."""
    corruption: Tensor
    """(batch, action), z of (3), standard normal."""
    coin: Tensor
    """(), uniform in [0, 1): above one half, (i, j) is (1, 2)."""


class DiffusionQL(OffPolicyAgent):
    """Equations (1) to (3), with targets, the actor's average and replay."""

    Configuration = Configuration

    def __init__(self, configuration, spaces, run, device, generators):
        super().__init__(configuration, spaces, run, device, generators)
        c = self.configuration
        shape = {"width": c.hidden_width, "layers": c.hidden_layers}
        where = {"device": device, "generator": generators["network"]}
        # A processor runs fastest with its hidden layers compiled, and CUDA with whole losses.
        compiled = compiled_for(None, run.compile, device)

        def kernels() -> Kernels:
            return Kernels.of(compiled) if device.type == "cpu" else Kernels.of()

        of_actor, of_critics = kernels(), kernels()
        self.actor, self.actor_average = (
            Denoiser(*spaces, levels=c.denoising_steps, kernels=of_actor, **shape, **where)
            for _ in range(2)
        )
        self.critics, self.target_critics = (
            TwinCritics(*spaces, kernels=of_critics, **shape, **where) for _ in range(2)
        )
        self.actor_average.load_state_dict(self.actor.state_dict())
        self.target_critics.load_state_dict(self.critics.state_dict())

        self.actor_optimiser, self.critic_optimiser = (
            adam(network.parameters(), c.learning_rate) for network in (self.actor, self.critics)
        )
        self.schedule = variance_preserving_schedule(
            c.denoising_steps, c.beta_min, c.beta_max, device
        )
        if device.type == "cuda":
            self.target = compiled(self.target)
            self.critic_loss = compiled(self.critic_loss)
            self.actor_loss = compiled(self.actor_loss)

    def policy(self, observation: Tensor, explore: bool) -> Tensor:
        """One of the candidates, by the softmax of the lesser target critic: a draw of it is the
        largest sum of a value and a Gumbel variable."""
        c, n = self.configuration, observation.shape[0]
        generator = self.generators["actions" if explore else "evaluation"]
        count = c.candidates if explore else c.evaluation_candidates or c.candidates
        noise = self.draw_chain_noise(n * count, generator)
        uniform = torch.rand(n, count, generator=generator, device=self.device)
        repeated = observation.repeat_interleave(count, dim=0)
        action = self.sample(self.actor, repeated, noise)
        value = self.target_critics(repeated, action).amin(0).view(n, count)
        chosen = (value - (-uniform.log()).log()).argmax(1)
        return action.view(n, count, -1)[torch.arange(n, device=self.device), chosen]

    def sample(self, actor: Denoiser, observation: Tensor, noise: ChainNoise) -> Tensor:
        """Actions (batch, action) at the end of an actor's denoising chain, differentiable."""
        return denoising_chain(actor.at(observation), *noise, self.schedule)

    def update(self, batch: Batch, noise: UpdateNoise | None = None) -> Metrics:
        """Critics, then actor, a step of Adam each; then the average and the targets."""
        c = self.configuration
        noise = noise or self.draw_noise(batch.reward.shape[0])
        networks = {n: part.module.vectors.detach().norm() for n, part in self.networks().items()}
        with torch.no_grad():
            target, next_action = self.target(*batch[2:], *noise.target)
        critic_loss, value = self.critic_loss(batch.observation, batch.action, target)
        critic_norm = self.step(self.critic_optimiser, self.critics, critic_loss)
        actor_loss, terms = self.actor_loss(
            batch.observation, batch.action, *noise.actor, noise.level, noise.corruption, noise.coin
        )
        actor_norm = self.step(self.actor_optimiser, self.actor, actor_loss)
        if self.updates >= c.actor_average_after and self.updates % c.actor_average_every == 0:
            polyak_update(self.actor_average, self.actor, 1 - c.actor_average_rate)
        polyak_update(self.target_critics, self.critics, c.target_rate)
        metrics = {
            "next_action_on_face": (next_action.abs() >= 1).float().mean(),
            "critic_loss": critic_loss.detach(),
            "q_mean": value.mean(),
            "q_absolute": value.abs().mean(),
            "critic_gradient_norm": critic_norm,
            "cloning_loss": terms[0],
            "value_loss": terms[1],
            "actor_loss": actor_loss.detach(),
            "actor_gradient_norm": actor_norm,
        }
        self.finite.check(self.updates, **networks, **metrics)
        return metrics

    def target(self, reward, terminated, next_observation, initial, steps):
        """y of (1), (batch,), and a' (batch, action)."""
        noise = ChainNoise(initial, steps)
        next_action = self.sample(self.actor_average, next_observation, noise)
        value = self.target_critics(next_observation, next_action).amin(0)
        return reward + self.configuration.discount * (~terminated) * value, next_action

    def critic_loss(self, observation, action, target) -> tuple[Tensor, Tensor]:
        """Mean squared error of (2), summed over the twins, and Q (2, batch)."""
        value = self.critics(observation, action)
        return (value - target).square().mean(1).sum(), value.detach()

    def actor_loss(self, observation, action, initial, steps, level, corruption, coin):
        """L of (3), and its two terms unweighted, (2,)."""
        c = self.configuration
        predict = self.actor.at(observation)
        # Without its weight the first term is only looked at.
        with torch.set_grad_enabled(c.cloning_weight > 0):
            corrupted = corrupt(action, corruption, level, self.schedule)
            cloning_loss = (predict(corrupted, level) - corruption).square().mean()
        drawn = denoising_chain(predict, initial, steps, self.schedule)
        order = torch.stack([coin <= 0.5, coin > 0.5]).long()
        value, scale = self.critics.in_order(order, observation, drawn)
        value_loss = -value.mean() / scale.abs().mean()
        loss = c.cloning_weight * cloning_loss + c.eta * value_loss
        return loss, torch.stack([cloning_loss, value_loss]).detach()

    def step(self, optimiser: torch.optim.Optimizer, network: Perceptrons, loss: Tensor) -> Tensor:
        """One step of an optimiser on a network's clipped gradient; its norm before clipping."""
        (network.vectors.grad,) = torch.autograd.grad(loss, network.vectors)
        limit = self.configuration.gradient_norm or math.inf
        norm = nn.utils.clip_grad_norm_(network.vectors, limit)
        optimiser.step()
        self.optimiser_steps += 1
        return norm

    def draw_chain_noise(self, batch: int, generator: torch.Generator) -> ChainNoise:
        shape = (self.configuration.denoising_steps, batch, self.spaces.action_size)
        normal = torch.randn(shape, generator=generator, device=self.device)
        return ChainNoise(normal[0], normal[1:])

    def draw_noise(self, batch: int) -> UpdateNoise:
        generator, device = self.generators["update"], self.device
        levels, size = self.configuration.denoising_steps, self.spaces.action_size
        return UpdateNoise(
            self.draw_chain_noise(batch, generator),
            self.draw_chain_noise(batch, generator),
            torch.randint(levels, (batch,), generator=generator, device=device),
            torch.randn(batch, size, generator=generator, device=device),
            torch.rand((), generator=generator, device=device),
        )

    def networks(self) -> dict[str, NamedNetwork]:
        return {
            "actor": NamedNetwork(self.actor, 1, True),
            "actor_average": NamedNetwork(self.actor_average, 1, False),
            "critics": NamedNetwork(self.critics, 2, True),
            "target_critics": NamedNetwork(self.target_critics, 2, False),
        }

    def components(self) -> dict:
        return {
            "actor": self.actor,
            "actor_average": self.actor_average,
            "critics": self.critics,
            "target_critics": self.target_critics,
            "actor_optimiser": self.actor_optimiser,
            "critic_optimiser": self.critic_optimiser,
            "replay": self.replay,
        }


class TwinCritics(Perceptrons):
    """Q_1 and Q_2: `layers` hidden layers of Mish on observation and action."""

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        width: int,
        layers: int,
        kernels: Kernels,
        device: torch.device,
        generator: torch.Generator,
    ):
        """`layers` hidden layers of `width`."""
        fan_in = observation_size + action_size
        shapes = {
            "observation/weight": Shape((observation_size, width), fan_in),
            "action/weight": Shape((action_size, width), fan_in),
            "first/bias": Shape((width,), fan_in),
            **hidden_shapes(width, layers, 1),
        }
        super().__init__(2, shapes, kernels, device, generator)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Q (2, batch) at observations (batch, observation) and actions (batch, action)."""
        return torch.stack([self.value(v, observation, action) for v in self.vectors.unbind()])

    def in_order(self, order: Tensor, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Q_i and Q_j (batch,) for `order` (i, j) of integers from 0, both with their parameters
        held fixed, and only Q_i differentiable in the action."""
        chosen, other = self.vectors.detach().index_select(0, order).unbind()
        value = self.value(chosen, observation, action)
        return value, self.value(other, observation, action.detach())

    def value(self, vector: Tensor, observation: Tensor, action: Tensor) -> Tensor:
        """Q (batch,) of the network with these parameters."""
        p = self.parts(vector)
        first = [p["action/weight"], p["observation/weight"], p["first/bias"][None]]
        further = torch.cat([observation, observation.new_ones(observation.shape[0], 1)], dim=1)
        return perceptron(action, further, layers_of(first, p), self.kernels)[:, 0]
