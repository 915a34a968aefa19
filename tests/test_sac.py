"""SAC: the squashed Gaussian, the order and rates of an update, time limits and small tasks."""

import math

import numpy as np
import pytest
import torch
from learners import CPU, make_agent, train, truncation_taken_for_an_end

from algorithms.actor_critic import rectified
from algorithms.agent import Spaces
from algorithms.evaluation import evaluate, evaluation_seeds
from algorithms.policies import normal_log_probability, squashed_log_probability
from algorithms.replay import Batch
from algorithms.sac import SAC
from envs.point import Point

SPACES = Spaces(3, 2)
SMALL = {"hidden_width": 16, "batch_size": 32, "replay_capacity": 10_000}


def random_batch(size: int = 32, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    ends = torch.rand(size, generator=generator) < 0.2
    return Batch(normal(size, 3), normal(size, 2).tanh(), normal(size), ends, normal(size, 3))


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1.0, 0.3), (-0.5, 2.0)])
def test_squashed_density_integrates_to_one(mean, deviation):
    # By quadrature over the drawn value x, of the density of tanh(x) times its slope.
    x = torch.linspace(-12, 12, 20_001, dtype=torch.float64)[:, None]
    mean = torch.tensor([mean], dtype=torch.float64)
    log_deviation = torch.tensor([math.log(deviation)], dtype=torch.float64)
    slope = 1 / torch.cosh(x[:, 0]) ** 2
    density = squashed_log_probability(x, mean, log_deviation).exp() * slope
    assert np.trapezoid(density, x[:, 0]) == pytest.approx(1, abs=1e-6)
    uncorrected = normal_log_probability(x, mean, log_deviation).exp() * slope
    assert np.trapezoid(uncorrected, x[:, 0]) < 0.9


def test_squashed_density_is_finite_where_tanh_is_one():
    x = torch.tensor([[40.0]], requires_grad=True)
    log_probability = squashed_log_probability(x, torch.zeros(1), torch.zeros(1))
    log_probability.backward()
    assert x.detach().tanh() == 1
    # -x^2 / 2 - log sqrt(2 pi) + 2 x - 2 log 2, far out.
    expected = -(40**2) / 2 - 0.5 * math.log(2 * math.pi) + 80 - 2 * math.log(2)
    assert log_probability.item() == pytest.approx(expected)
    assert x.grad.item() == pytest.approx(-40 + 2)


def test_rectified_is_relu():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0), requires_grad=True)
    y = rectified(x)
    assert y.equal(x.relu())
    assert torch.autograd.grad(y.sum(), x)[0].equal((x > 0).float())


def test_policy_is_bounded_and_evaluates_at_the_mean():
    agent = make_agent(SAC, SPACES, **SMALL)
    observation = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    before = {name: g.get_state() for name, g in agent.generators.items()}
    evaluated = agent.act(observation, explore=False)
    assert all(g.get_state().equal(before[name]) for name, g in agent.generators.items())
    mean, _ = agent.actor(observation)
    assert evaluated.equal(mean.tanh())
    draws = torch.stack([agent.act(observation, explore=True) for _ in range(200)])
    assert draws.abs().max() <= 1
    assert draws.std(0).min() > 0.1


def test_targets_move_by_exactly_the_target_rate():
    agent = make_agent(SAC, SPACES, **SMALL, target_rate=0.25)
    agent.update(random_batch())  # so that online and target differ
    before = [p.clone() for p in agent.target_critics.parameters()]
    agent.update(random_batch(seed=1))
    for target, old, online in zip(
        agent.target_critics.parameters(), before, agent.critics.parameters(), strict=True
    ):
        torch.testing.assert_close(target, 0.75 * old + 0.25 * online, rtol=1e-6, atol=1e-7)
        assert not torch.allclose(target, 0.25 * old + 0.75 * online, rtol=1e-6, atol=1e-7)


def test_td_target_by_hand():
    agent = make_agent(SAC, SPACES, **SMALL, discount=0.9)
    batch, alpha = random_batch(), torch.tensor(0.5)
    noise = torch.randn(32, 2, generator=torch.Generator().manual_seed(1))
    target = agent.target(batch, noise, alpha)
    action, log_probability = agent.actor.sample(batch.next_observation, noise)
    first, second = agent.target_critics(batch.next_observation, action)
    assert batch.terminated.any() and not batch.terminated.all()
    for i in range(32):
        value = min(first[i].item(), second[i].item()) - 0.5 * log_probability[i].item()
        future = 0.0 if batch.terminated[i] else 0.9 * value
        assert target[i].item() == pytest.approx(batch.reward[i].item() + future, rel=1e-5)


def test_actor_step_leaves_no_gradient_on_the_critics():
    agent = make_agent(SAC, SPACES, **SMALL)
    agent.update(random_batch())
    gradients = [p.grad.clone() for p in agent.critics.parameters()]
    assert all(p.requires_grad for p in agent.critics.parameters())
    # What is left there is the gradient of the critics' own loss, from before their step.
    again = make_agent(SAC, SPACES, **SMALL)
    batch, noise = random_batch(), again.draw_update_noise(32)
    target = again.target(batch, noise.next_action, torch.tensor(1.0)).detach()
    again.critic_loss(batch.observation, batch.action, target)[0].backward()
    for gradient, p in zip(gradients, again.critics.parameters(), strict=True):
        torch.testing.assert_close(gradient, p.grad)


@pytest.mark.parametrize(("log_deviation", "direction"), [(-4.0, 1), (0.0, -1)])
def test_entropy_coefficient_rises_below_the_target_entropy_and_falls_above(
    log_deviation, direction
):
    agent = make_agent(SAC, SPACES, **SMALL)
    with torch.no_grad():  # mean 0; tanh of a standard normal has more entropy than -1
        agent.actor.network[-1].weight.zero_()
        agent.actor.network[-1].bias.copy_(torch.tensor([0.0, 0.0, log_deviation, log_deviation]))
    metrics = agent.update(random_batch())
    assert direction * (agent.target_entropy - metrics["entropy"].item()) > 0
    assert direction * agent.temperature.log_alpha.item() == pytest.approx(3e-4, rel=1e-3)


def test_a_fixed_entropy_coefficient_stays():
    settings = {"entropy_coefficient": 0.2, "is_entropy_coefficient_tuned": False}
    agent = make_agent(SAC, SPACES, **SMALL, **settings)
    for seed in range(3):
        assert agent.update(random_batch(seed=seed))["entropy_coefficient"].item() == (
            pytest.approx(0.2)
        )
    assert agent.optimiser_steps == 6


def test_an_update_that_is_not_finite_is_named():
    agent = make_agent(SAC, SPACES, **SMALL)
    agent.update(random_batch())
    assert agent.finite.describe(agent.finite.flag.tolist()) is None
    agent.updates = 17
    batch = random_batch()
    batch.reward[3] = math.nan
    agent.update(batch)
    update, name = agent.finite.describe(agent.finite.flag.tolist())
    assert (update, name) == (17, "critic_loss")


def value_in_the_one_state(**settings) -> float:
    agent = train(
        SAC,
        "OneState-v0",
        transitions=1_400,
        environments=4,
        discount=0.9,
        learning_rate=3e-3,
        target_rate=0.2,
        entropy_coefficient=1e-3,
        is_entropy_coefficient_tuned=False,
        **SMALL | {"replay_capacity": 1_000},
        **settings,
    )
    state = torch.zeros(1, 1)  # at the policy's own action: the others are soon out of the data
    return agent.critics(state, agent.act(state, explore=False)).mean().item()


def test_truncation_is_not_termination():
    endless = 1 / (1 - 0.9)
    assert value_in_the_one_state() == pytest.approx(endless, rel=0.02)
    mishandled = value_in_the_one_state(seen_as=truncation_taken_for_an_end)
    assert mishandled < 0.8 * endless


def test_point_is_solved():
    settings = {"warm_up": 500, "learning_rate": 3e-3} | SMALL
    agent = train(SAC, "Point-v0", transitions=2_500, **settings)
    episodes = evaluate(agent, "Point-v0", evaluation_seeds(0, 0, 20), CPU)
    assert sum(episode.return_ for episode in episodes) / 20 > Point.SOLVED_RETURN


def test_the_seed_decides():
    settings = {"transitions": 150, "warm_up": 100} | SMALL
    weights = [
        next(train(SAC, "Point-v0", seed=seed, **settings).actor.parameters()) for seed in (0, 0, 1)
    ]
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


@pytest.mark.long
def test_compiled_updates_equal_eager_ones():
    eager, compiled = (make_agent(SAC, SPACES, compile=c, **SMALL) for c in (False, True))
    for seed in range(5):
        expected, found = (a.update(random_batch(seed=seed)) for a in (eager, compiled))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for name, network in eager.networks().items():
        torch.testing.assert_close(
            list(compiled.networks()[name].module.parameters()),
            list(network.module.parameters()),
            rtol=0,
            atol=1e-5,
        )
