"""A bandit with two best actions: the denoising policy of Diffusion-QL holds both."""

import numpy as np
import torch
from learners import CPU, make_agent

from algorithms.agent import Spaces, Transition
from algorithms.device import generator_on
from algorithms.diffusion_ql import ChainNoise, DiffusionQL
from envs.bandit import Landscape

MODES = np.array([[-0.6, 0.0], [0.6, 0.0]])
WIDTH = 0.2
LANDSCAPE = Landscape(MODES, heights=[1.0, 1.0], widths=[WIDTH, WIDTH])
KNOWN, DRAWN = 4_000, 500


def trained_on_both_modes() -> DiffusionQL:
    """From replay alone, as the method was published: half of the actions around each mode."""
    agent = make_agent(
        DiffusionQL,
        Spaces(1, 2),
        environments=KNOWN,
        hidden_width=32,
        hidden_layers=2,
        learning_rate=3e-3,
        target_rate=0.05,
        eta=0.1,
    )
    generator = generator_on(CPU, 3)
    centre = torch.tensor(MODES, dtype=torch.float32)[torch.arange(KNOWN) % 2]
    action = (centre + 0.1 * torch.randn(KNOWN, 2, generator=generator)).clamp(-1, 1)
    reward = torch.from_numpy(LANDSCAPE.reward(action.numpy())).float()
    ended, observation = torch.ones(KNOWN, dtype=torch.bool), torch.zeros(KNOWN, 1)
    agent.observe(Transition(observation, action, reward, ended, ~ended, observation))
    for _ in range(400):
        batch = agent.replay.sample(256, agent.generators["replay"])
        agent.update(batch)
        agent.updates += 1
    return agent


def shares(action: torch.Tensor) -> np.ndarray:
    """(2,): of actions (n, 2), those within two widths of each mode."""
    distance = np.linalg.norm(action.numpy()[:, None] - MODES, axis=-1)
    return (distance < 2 * WIDTH).mean(0)


def test_diffusion_ql_finds_both_modes():
    agent = trained_on_both_modes()
    observation = torch.zeros(DRAWN, 1)
    found = shares(agent.act(observation, explore=True))
    assert found.min() > 0.2 and found.sum() > 0.6
    # Not so without the noise that the chain begins with and draws: it then ends in one place.
    steps = agent.configuration.denoising_steps - 1
    silence = ChainNoise(torch.zeros(DRAWN, 2), torch.zeros(steps, DRAWN, 2))
    with torch.no_grad():
        alone = shares(agent.sample(agent.actor, observation, silence))
    assert alone.min() == 0
