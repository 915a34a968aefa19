"""The bandits' soft policies against closed forms and against each other."""

import numpy as np
import pytest

from envs import VectorEnvironment
from envs.bandit import FAR_MODE, MULTIMODAL, Landscape

LANDSCAPES = {"MultimodalBandit-v0": MULTIMODAL, "FarModeBandit-v0": FAR_MODE}


@pytest.fixture(params=LANDSCAPES.values(), ids=LANDSCAPES.keys())
def landscape(request):
    return request.param


def lattice(grid):
    """(grid, grid, 2), midpoints of the cells of the box."""
    axis = (np.arange(grid) + 0.5) * (2 / grid) - 1
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)


@pytest.mark.parametrize("env_id", LANDSCAPES)
def test_one_step_pays_the_landscapes_reward(env_id):
    environment = VectorEnvironment(env_id, [0, 1])
    action = np.random.default_rng(0).uniform(-1, 1, (30, 2, 2)).astype(np.float32)
    for a in action:
        before = environment.observation
        step = environment.step(a)
        assert step.terminated.all() and not step.truncated.any()
        assert (step.episode_length == 1).all()
        assert (step.reward == np.float32(LANDSCAPES[env_id].reward(a))).all()
        assert (environment.observation == before).all()


def test_gradient_is_that_of_the_reward(landscape):
    action = np.random.default_rng(0).uniform(-1, 1, (100, 2))
    for k, shift in enumerate(np.eye(2) * 1e-6):
        difference = (landscape.reward(action + shift) - landscape.reward(action - shift)) / 2e-6
        assert np.allclose(difference, landscape.gradient(action)[:, k], atol=1e-8)


def test_modes_are_maxima_inside_the_box_and_nothing_is_higher(landscape):
    assert (np.abs(landscape.modes) < 1).all()
    assert np.abs(landscape.gradient(landscape.modes)).max() < 1e-12
    # The wrong variant: the bumps' centres, which the neighbours' tails shift.
    assert np.abs(landscape.gradient(landscape.centres)).max() > 1e-3
    around = landscape.modes[:, None] + 0.01 * np.random.default_rng(0).normal(size=(9, 2))
    assert (landscape.reward(around) < landscape.reward(landscape.modes)[:, None]).all()
    assert landscape.reward(lattice(801)).max() <= landscape.best_reward


def test_optimal_modes_are_equal_and_worse_ones_lower():
    assert len(MULTIMODAL.optimal_modes) == 4 and len(MULTIMODAL.worse_modes) == 5
    assert np.ptp(MULTIMODAL.reward(MULTIMODAL.optimal_modes)) < 1e-12
    assert MULTIMODAL.reward(MULTIMODAL.worse_modes).max() < 0.75 * MULTIMODAL.best_reward
    assert len(FAR_MODE.optimal_modes) == 1 and len(FAR_MODE.worse_modes) == 3
    assert np.linalg.norm(FAR_MODE.optimal_modes[0]) > 1
    assert FAR_MODE.reward(FAR_MODE.worse_modes).max() < 0.65 * FAR_MODE.best_reward


def test_bumps_that_flow_together_are_an_error():
    with pytest.raises(ValueError, match="one maximum"):
        Landscape([(0, 0), (0.1, 0)], [1, 1], [0.2, 0.2])


def test_at_temperature_without_end_the_policy_is_uniform(landscape):
    policy = landscape.soft_policy(0.0, grid=100)
    assert np.allclose(policy.density, 0.25)
    assert policy.log_normaliser == pytest.approx(np.log(4))


def test_at_low_temperature_the_policy_is_laplaces_normal(landscape):
    """exp(w reward) around a mode is a normal with the inverse of -w times the Hessian."""
    w = 500.0
    policy = landscape.soft_policy(w, grid=801)
    expected = 0.0
    for mode in landscape.optimal_modes:
        shifts = np.eye(2) * 1e-5
        hessian = np.stack(
            [landscape.gradient(mode + s) - landscape.gradient(mode - s) for s in shifts]
        )
        determinant = np.linalg.det(-w * hessian / 2e-5)
        expected += 2 * np.pi / np.sqrt(determinant)
    assert np.exp(policy.log_normaliser - w * landscape.best_reward) == pytest.approx(
        expected, rel=0.01
    )
    best = len(landscape.optimal_modes)
    assert np.allclose(policy.mass[:best], 1 / best, atol=1e-6)


@pytest.mark.parametrize("inverse_temperature", [1.0, 10.0, 30.0])
def test_quadrature_and_exact_draws_agree(landscape, inverse_temperature):
    policy = landscape.soft_policy(inverse_temperature)
    assert policy.density.mean() * 4 == pytest.approx(1)
    coarse = landscape.soft_policy(inverse_temperature, grid=401)
    assert policy.log_normaliser == pytest.approx(coarse.log_normaliser, abs=1e-5)
    assert np.allclose(policy.mass, coarse.mass, atol=2e-3)
    count = 20_000
    draws = landscape.draw(inverse_temperature, count, np.random.default_rng(0))
    assert draws.shape == (count, 2) and (np.abs(draws) <= 1).all()
    share = np.bincount(landscape.nearest_mode(draws), minlength=len(policy.mass)) / count
    deviation = np.sqrt(policy.mass * (1 - policy.mass) / count)
    assert (np.abs(share - policy.mass) < 4.5 * deviation + 1e-9).all()
    mean = (policy.density * landscape.reward(lattice(len(policy.axis)))).mean() * 4
    rewards = landscape.reward(draws)
    assert abs(rewards.mean() - mean) < 4.5 * rewards.std() / np.sqrt(count)
    # The wrong variant: a policy of twice the temperature.
    hot = landscape.soft_policy(inverse_temperature / 2)
    mean = (hot.density * landscape.reward(lattice(len(hot.axis)))).mean() * 4
    assert abs(rewards.mean() - mean) > 10 * rewards.std() / np.sqrt(count)


def test_draws_follow_the_generator_they_are_given():
    first, second, other = (
        MULTIMODAL.draw(5.0, 100, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert (first == second).all() and (first != other).any()
