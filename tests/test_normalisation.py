"""Running moments and the scale of rewards, against NumPy."""

import numpy as np
import torch
from learners import make_agent, random_transition

from algorithms.agent import Spaces
from algorithms.normalisation import RewardScale, RunningMoments
from algorithms.ppo import PPO

CPU = torch.device("cpu")


def test_moments_merged_batch_by_batch_are_those_of_all_rows():
    rows = np.random.default_rng(0).normal(1e3, [1e-2, 1.0, 1e3], (1000, 3)).astype(np.float32)
    moments = RunningMoments(3, CPU)
    for part in np.split(rows, [1, 6, 300, 999]):
        moments.update(torch.from_numpy(part))
    rows = rows.astype(np.float64)
    np.testing.assert_allclose(moments.mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.sum_of_squares / moments.count, rows.var(0), rtol=1e-9)
    # In float32 a sum of squares has lost the first column's variance altogether.
    narrow = rows.astype(np.float32)
    lost = np.square(narrow).mean(0) - np.square(narrow.mean(0))
    assert abs(lost[0] / rows.var(0)[0] - 1) > 0.5


def test_standardising_before_the_first_row_changes_nothing():
    rows = torch.tensor([[1.0, -20.0]])
    standardised = RunningMoments(2, CPU).standardise(rows, limit=10.0)
    torch.testing.assert_close(standardised, torch.tensor([[1.0, -10.0]]))


def test_rewards_are_scaled_by_the_deviation_of_the_discounted_return():
    reward = torch.tensor([[1.0, 0.0], [2.0, 4.0], [3.0, 8.0]])
    ended = torch.tensor([[False, False], [True, False], [False, False]])
    scale = RewardScale(2, 0.5, CPU)
    scale.update(reward, ended)
    returns = [1.0, 2.5, 3.0, 0.0, 4.0, 10.0]  # 3.0 and not 4.25: an episode ended before it
    torch.testing.assert_close(
        scale.apply(reward, limit=2.0), (reward / np.std(returns)).clamp(max=2.0)
    )
    # In two pieces as in one: the returns run on.
    pieces = RewardScale(2, 0.5, CPU)
    for part in (slice(0, 1), slice(1, 3)):
        pieces.update(reward[part], ended[part])
    torch.testing.assert_close(pieces.moments.scale, scale.moments.scale)


def test_evaluating_leaves_the_normalisers_alone():
    agent = make_agent(PPO, Spaces(3, 2), transitions=600)
    generator = torch.Generator().manual_seed(0)
    agent.observe(random_transition(agent, generator))
    before = agent.observation_moments.state_dict()
    first = agent.act(torch.full((7, 3), 5.0), explore=False)
    assert agent.act(torch.full((7, 3), 5.0), explore=False).equal(first)
    assert agent.observation_moments.state_dict() == before
    agent.observe(random_transition(agent, generator))
    assert not agent.act(torch.full((7, 3), 5.0), explore=False).equal(first)
