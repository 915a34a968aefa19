"""NC-LQL beyond its reference: what it draws, what it learns, and its named variants."""

import math

import pytest
import torch

from algorithms.agent import Run, Spaces, Transition
from algorithms.device import generator_on
from algorithms.nc_lql import NCLQL, ChainNoise, Configuration
from algorithms.randomness import AGENT_CONSUMERS

CPU = torch.device("cpu")


def learner(action_size: int = 1, observation_size: int = 2, **changes) -> NCLQL:
    changes = {"hidden_width": 32, "batch_size": 64, "replay_capacity": 20_000} | changes
    return NCLQL(
        Configuration(**changes),
        Spaces(observation_size, action_size),
        Run(environments=64, transitions=20_000, warm_up=0, updates_per_step=1, compile=False),
        CPU,
        {name: generator_on(CPU, k) for k, name in enumerate(AGENT_CONSUMERS)},
    )


def fill(agent: NCLQL, reward, count: int = 20_000) -> None:
    """Replay of one-step episodes under uniform actions."""
    generator = generator_on(CPU, 99)
    action = torch.rand(count, agent.spaces.action_size, generator=generator) * 2 - 1
    observation = torch.ones(count, agent.spaces.observation_size)
    ended, running = torch.ones(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
    agent.observe(Transition(observation, action, reward(action), ended, running, observation))


def test_noise_levels_are_drawn_over_all_but_the_finest():
    agent = learner()
    levels = torch.cat([agent.draw_update_noise(1000).level for _ in range(10)])
    counts = torch.bincount(levels, minlength=10)
    assert counts[9] == 0 and counts[:9].min() > 900
    assert agent.sigmas[levels].min() > agent.sigmas[9]


def test_coarse_levels_learn_the_smoothed_q():
    """One-step task with reward cos(omega a): Q is 0.2 cos(omega a) at the finest level and
    0.2 exp(-sigma^2 omega^2 / 2) cos(omega a) at the level of sigma, away from the ends."""
    omega = 4.0
    agent = learner(
        largest_noise=0.3, smallest_noise=0.001, noise_levels=3, steps_per_level=1,
        learning_rate=2e-3, reward_scale=1.0, hidden_layers=2,
    )  # fmt: skip
    fill(agent, lambda action: torch.cos(omega * action[:, 0]))
    for _ in range(700):
        agent.learn()
    action = torch.linspace(-0.1, 0.1, 21)[:, None]
    observation = torch.ones(21, 2)

    def value(level):
        return agent.critics(observation, action, torch.full((21,), level)).mean(0).detach()

    clean = torch.cos(omega * action[:, 0])
    smoothed = math.exp(-(0.3**2) * omega**2 / 2) * clean
    torch.testing.assert_close(value(2), clean, atol=0.15, rtol=0)
    torch.testing.assert_close(value(0), smoothed, atol=0.15, rtol=0)
    assert (value(0) - clean).abs().min() > 0.25


@pytest.mark.parametrize(
    ("changes", "steps"),
    [({}, 2), ({"update_steps": "joint"}, 1), ({"conditioning": False}, 1)],
    ids=["separate", "joint", "unconditioned"],
)
def test_optimiser_steps_of_an_update(changes, steps):
    agent = learner(**changes)
    fill(agent, lambda action: action[:, 0])
    before = [p.clone() for p in agent.critics.parameters()]
    metrics = agent.learn()
    assert agent.optimiser_steps == steps
    assert ("smoothing_loss" in metrics) == agent.configuration.conditioning
    for old, new in zip(before, agent.critics.parameters(), strict=True):
        assert not torch.equal(old, new)


def test_joint_step_follows_the_sum_of_both_losses():
    """Adam's first step has the sign of the gradient: of the sum when joint."""
    agent = learner(update_steps="joint")
    fill(agent, lambda action: action[:, 0])
    batch = agent.replay.sample(64, agent.generators["replay"])
    noise = agent.draw_update_noise(64)
    target = agent.temporal_difference_target(
        batch, agent.sample(batch.next_observation, noise.chain)
    )
    finest = torch.full_like(noise.level, 9)
    loss, value = agent.regression_loss(batch.observation, batch.action, finest, target)
    noisy = batch.action + agent.sigmas[noise.level, None] * noise.perturbation
    smoothing, _ = agent.regression_loss(batch.observation, noisy, noise.level, value.mean(0))
    weight = agent.critics.output.weight
    gradient = torch.autograd.grad(loss + smoothing, weight)[0]
    before = weight.detach().clone()
    agent.update(batch, noise)
    moved = before - weight.detach()
    clear = gradient.abs() > 1e-4
    torch.testing.assert_close(moved[clear], 1e-4 * gradient[clear].sign(), atol=1e-6, rtol=1e-2)


@pytest.mark.parametrize("order", ["annealed", "reversed", "constant"])
def test_orders_walk_the_levels_as_named(order):
    agent = learner(order=order, constant_level=4)
    walk = {"annealed": [*range(10)], "reversed": [*range(9, -1, -1)], "constant": [4] * 10}
    assert agent.walk == walk[order]
    # The last step is taken at the last level's size: with no drift to speak of, and no noise but
    # there, the action moves by its root.
    agent.dynamics = agent.dynamics._replace(inverse_temperature=0.0)
    steps = torch.zeros(10, 2, 1, 1)
    steps[-1, -1] = 0.1
    moved = agent.sample(torch.zeros(1, 2), ChainNoise(torch.zeros(1, 1), steps)).item()
    assert moved == pytest.approx(0.1 * agent.step_sizes[walk[order][-1]].sqrt().item())


def test_a_constant_level_is_one_of_the_levels():
    with pytest.raises(ValueError, match="constant_level 10 is none of 10 noise levels"):
        learner(order="constant", constant_level=10)


def test_one_level_may_be_asked_in_steps_that_anneal():
    agent = learner(order="constant", constant_level=4, step_ladder="annealed")
    assert agent.walk == [4] * 10 and agent.walked_step_sizes.equal(learner().step_sizes)
    asked = []
    gradient = agent.critics.action_gradient
    agent.critics.action_gradient = lambda a, told: asked.append(told.level) or gradient(a, told)
    agent.sample(torch.zeros(1, 2), agent.draw_chain_noise(1, torch.Generator()))
    level = agent.critics.conditioning(torch.zeros(1, 2), torch.float32)[4].level
    assert len(asked) == 20 and all(map(level.equal, asked))
    own = learner(order="constant", constant_level=4)
    assert len(own.walked_step_sizes.unique()) == 1


def test_coarse_steps_overshoot_the_box_as_the_docstring_says():
    agent = learner()
    lengths = agent.step_sizes * agent.configuration.inverse_temperature / 2
    assert lengths[0].item() == pytest.approx(250, rel=1e-3)
    assert lengths[-1].item() == pytest.approx(0.025, rel=1e-3)
    assert (lengths > 1).sum() == 6 and (lengths > 2).sum() == 5, "half a box, and a whole one"
    assert 2 * lengths[-4:].sum().item() == pytest.approx(1.65, rel=5e-3), "two steps a level"


def test_unconditioned_critics_know_no_level():
    agent = learner(conditioning=False)
    assert agent.critics.levels == 0 and not hasattr(agent.critics, "time_0")
    fewer = sum(p.numel() for p in agent.critics.parameters())
    assert fewer < sum(p.numel() for p in learner().critics.parameters())
