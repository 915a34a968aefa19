"""Chains of training that begin at the previous action, of both Langevin methods."""

import copy

import pytest
import torch

from algorithms import lql, nc_lql
from algorithms.agent import Run, Spaces, Transition
from algorithms.device import generator_on
from algorithms.randomness import AGENT_CONSUMERS
from algorithms.replay import Batch

CPU = torch.device("cpu")
STILL = {
    lql.LQL: {"step_size": 1e-12},
    nc_lql.NCLQL: {"finest_step_size": 1e-12, "largest_noise": 0.002},
}
"""With steps next to none a chain ends where it began."""
ENVIRONMENTS = 3


def learner(method, start: str):
    settings = {"hidden_width": 16, "batch_size": 8, "replay_capacity": 100, "start": start}
    return method(
        method.Configuration(**settings, **STILL[method]),
        Spaces(5, 2),
        Run(ENVIRONMENTS, transitions=100, warm_up=0, updates_per_step=1, compile=False),
        CPU,
        {name: generator_on(CPU, k) for k, name in enumerate(AGENT_CONSUMERS)},
    )


def vector_step(action: torch.Tensor, terminated=(), truncated=()) -> Transition:
    def flags(which) -> torch.Tensor:
        return torch.tensor([k in which for k in range(ENVIRONMENTS)])

    state = torch.zeros(ENVIRONMENTS, 5)
    reward = torch.zeros(ENVIRONMENTS)
    return Transition(state, action, reward, flags(terminated), flags(truncated), state)


@pytest.mark.parametrize("method", STILL)
def test_a_chain_begins_at_the_action_before_and_afresh_after_any_end(method):
    agent, state = learner(method, "previous"), torch.zeros(ENVIRONMENTS, 5)
    own = torch.tensor([[0.3, -0.7], [0.9, 0.1], [-0.2, -0.4]])

    def stayed(explore: bool = True) -> list[bool]:
        return ((agent.act(state, explore) - own).abs().amax(1) < 1e-3).tolist()

    assert stayed() == [False] * 3, "a first action has none before it"
    agent.observe(vector_step(own))
    assert stayed() == [True] * 3
    assert stayed(explore=False) == [False] * 3, "evaluation leaves no trace, and has none"
    assert agent.act(state[:1], explore=True).shape == (1, 2), "other rows than the run's"
    saved = copy.deepcopy(agent.state_dict())
    agent.observe(vector_step(own, terminated=[0], truncated=[2]))
    assert stayed() == [False, True, False]
    agent.load_state_dict(saved)
    assert stayed() == [True] * 3, "the action before is part of the state"
    agent = learner(method, "uniform")
    agent.observe(vector_step(own))
    assert stayed() == [False] * 3


@pytest.mark.parametrize("start", ["previous", "uniform"])
@pytest.mark.parametrize("method", STILL)
def test_the_next_action_of_an_update_begins_at_the_replayed_one(method, start):
    agent, found, generator = learner(method, start), [], generator_on(CPU, 9)
    keep = agent.temporal_difference_target
    agent.temporal_difference_target = lambda batch, a: (found.append(a), keep(batch, a))[1]
    state = torch.randn(8, 5, generator=generator)
    action = torch.rand(8, 2, generator=generator) * 2 - 1
    agent.update(Batch(state, action, torch.zeros(8), torch.zeros(8, dtype=torch.bool), state))
    is_replayed = bool((found[0] - action).abs().max() < 1e-3)
    assert is_replayed == (start == "previous")
