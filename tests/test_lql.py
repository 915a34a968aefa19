"""LQL: its chain and its update against equations (1) and (2), computed by hand."""

import pytest
import torch

from algorithms.agent import Run, Spaces
from algorithms.device import generator_on
from algorithms.lql import LQL, ChainNoise, Configuration
from algorithms.randomness import AGENT_CONSUMERS
from algorithms.replay import Batch

CPU = torch.device("cpu")


def learner(compile: bool = False, **changes) -> LQL:
    changes = {"hidden_width": 32, "batch_size": 16, "replay_capacity": 100} | changes
    agent = LQL(
        Configuration(**changes),
        Spaces(5, 2),
        Run(environments=1, transitions=100, warm_up=0, updates_per_step=1, compile=compile),
        CPU,
        {name: generator_on(CPU, k) for k, name in enumerate(AGENT_CONSUMERS)},
    )
    with torch.no_grad():  # so that taking one for the other shows
        for p in agent.target_critics.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator_on(CPU, 1)))
    return agent


def batch() -> Batch:
    generator = generator_on(CPU, 2)
    return Batch(
        torch.randn(16, 5, generator=generator),
        torch.rand(16, 2, generator=generator) * 2 - 1,
        torch.randn(16, generator=generator),
        torch.arange(16) % 3 == 0,
        torch.randn(16, 5, generator=generator),
    )


def chain_by_automatic_differentiation(agent, observation, noise) -> torch.Tensor:
    c, a = agent.configuration, noise.initial
    for z in noise.steps:
        a = a.detach().requires_grad_()
        q1, q2 = agent.critics(observation, a)
        (g,) = torch.autograd.grad(((q1 + q2) / 2).sum(), a)
        a = a + 0.5 * c.step_size * c.inverse_temperature * g + c.step_size**0.5 * z
        a = a.clamp(-1, 1)
    return a.detach()


@pytest.mark.parametrize("compile", [False, True], ids=["plain", "compiled"])
@pytest.mark.parametrize("chain_steps", [20, 7])
def test_chain_is_langevin_dynamics_on_the_mean_of_the_online_twins(compile, chain_steps):
    agent = learner(compile, inverse_temperature=100.0, chain_steps=chain_steps)
    observation = batch().next_observation
    noise = agent.draw_chain_noise(16, agent.generators["update"])
    assert noise.steps.shape == (chain_steps, 16, 2)
    expected = chain_by_automatic_differentiation(agent, observation, noise)
    torch.testing.assert_close(agent.sample(observation, noise), expected, atol=1e-5, rtol=0)
    still = ChainNoise(noise.initial, torch.zeros_like(noise.steps))
    assert (agent.sample(observation, still) - expected).abs().max() > 1e-2


def test_update_is_one_adam_step_on_plain_temporal_differences():
    agent, data = learner(), batch()
    noise = agent.draw_chain_noise(16, agent.generators["update"])
    with torch.no_grad():
        next_action = agent.sample(data.next_observation, noise)
        q1, q2 = agent.target_critics(data.next_observation, next_action)
        y = 0.2 * data.reward + 0.99 * (1 - data.terminated.float()) * torch.minimum(q1, q2)
        targets_before = [p.clone() for p in agent.target_critics.parameters()]
        # Each of these would be another target.
        online = agent.critics(data.next_observation, next_action)
        assert (online.amin(0) - torch.minimum(q1, q2)).abs().max() > 1e-2
    reference = learner()
    reference.critics.load_state_dict(agent.critics.state_dict())
    optimiser = torch.optim.Adam(reference.critics.parameters(), 1e-4)
    q = reference.critics(data.observation, data.action)
    loss = ((q[0] - y) ** 2).mean() + ((q[1] - y) ** 2).mean()
    loss.backward()
    optimiser.step()
    metrics = agent.update(data, noise)
    assert metrics["td_loss"].item() == pytest.approx(loss.item() / 2, rel=1e-5)
    for ours, theirs in zip(
        agent.critics.parameters(), reference.critics.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    for before, after, online in zip(
        targets_before,
        agent.target_critics.parameters(),
        agent.critics.parameters(),
        strict=True,
    ):
        torch.testing.assert_close(after, 0.995 * before + 0.005 * online, atol=1e-7, rtol=1e-5)
    assert agent.optimiser_steps == 1


def test_drift_length_is_what_one_step_adds():
    agent, data = learner(), batch()
    action = torch.zeros(16, 2)
    still = ChainNoise(action, torch.zeros(1, 16, 2))
    moved = agent.sample(data.observation, still) - action
    expected = moved.norm(dim=-1).mean().item()
    assert agent.drift_length(data.observation, action).item() == pytest.approx(expected, rel=1e-4)
