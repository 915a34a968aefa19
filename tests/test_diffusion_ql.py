"""Diffusion-QL against three updates computed by its authors' code, and facts of its parts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from algorithms.agent import Run, Spaces
from algorithms.device import generator_on
from algorithms.diffusion_ql import ChainNoise, Configuration, DiffusionQL, UpdateNoise
from algorithms.randomness import AGENT_CONSUMERS
from algorithms.replay import Batch

DATA = np.load(Path(__file__).parent / "data" / "diffusion_ql_reference.npz")
CPU = torch.device("cpu")
SPACES = Spaces(5, 2)
NETWORKS = {
    "actor": ("actor",),
    "actor_average": ("actor_average",),
    "critics": ("q1", "q2"),
    "target_critics": ("target_q1", "target_q2"),
}


def tensor(key: str) -> torch.Tensor:
    return torch.from_numpy(DATA[key])


def reference_parameters(when: str, name: str) -> torch.Tensor:
    """The networks of one name in the reference as rows of our matrix of parameters."""
    return torch.stack([reference_vector(f"{when}/{network}") for network in NETWORKS[name]])


def reference_vector(prefix: str) -> torch.Tensor:
    first, output = (tensor(f"{prefix}/{layer}/weight") for layer in ("hidden_0", "output"))
    if "actor" in prefix:  # its first layer reads action, embedding, observation
        action, level, observation = first.split([2, 16, 5])
        head = [
            *(tensor(f"{prefix}/time_{k}/{part}") for k in (0, 1) for part in ("weight", "bias")),
            *(action, level, observation),
        ]
    else:
        head = list(first.split([5, 2]))  # observation, action
    parts = [*head, tensor(f"{prefix}/hidden_0/bias")]
    parts += [tensor(f"{prefix}/hidden_{k}/{part}") for k in (1, 2) for part in ("weight", "bias")]
    parts += [output.T, tensor(f"{prefix}/output/bias")]
    return torch.cat([part.reshape(-1) for part in parts])


def reference_agent(compile: bool = False, agent_class=DiffusionQL) -> DiffusionQL:
    agent = agent_class(
        Configuration(
            hidden_width=32,
            batch_size=16,
            replay_capacity=100,
            actor_average_every=2,
            actor_average_after=0,
        ),
        SPACES,
        Run(environments=1, transitions=100, warm_up=0, updates_per_step=1, compile=compile),
        CPU,
        {name: generator_on(CPU, 0) for name in AGENT_CONSUMERS},
    )
    for name, network in agent.networks().items():
        with torch.no_grad():
            network.module.vectors.copy_(reference_parameters("before", name))
    return agent


def reference_update(k: int) -> tuple[Batch, UpdateNoise]:
    def of(name):
        return tensor(f"update_{k}/{name}")

    # The noise of the last denoising step, drawn by their code, has no effect.
    target = ChainNoise(of("target_initial"), of("target_noise")[:-1])
    actor = ChainNoise(of("actor_initial"), of("actor_noise")[:-1])
    noise = UpdateNoise(target, actor, of("loss_step"), of("loss_noise"), of("swap"))
    fields = ("observation", "action", "reward", "terminated", "next_observation")
    return Batch(*map(of, fields)), noise


def largest_differences(agent: DiffusionQL) -> dict[str, float]:
    """Do the three updates: largest relative error of a loss, largest error of a parameter."""
    losses = []
    for k in range(3):
        metrics = agent.update(*reference_update(k))
        agent.updates += 1
        for ours, theirs in (("cloning", "bc"), ("value", "ql"), ("actor",) * 2, ("critic",) * 2):
            expected = tensor(f"update_{k}/expected_{theirs}_loss")
            losses.append(((metrics[f"{ours}_loss"] - expected) / expected).abs().item())
    errors = {
        name: (network.module.vectors - reference_parameters("after", name)).abs().max().item()
        for name, network in agent.networks().items()
    }
    return {"losses": max(losses), **errors}


@pytest.mark.parametrize("compile", [False, True], ids=["plain", "compiled"])
def test_three_updates_equal_the_authors_code(compile):
    for name, error in largest_differences(reference_agent(compile)).items():
        assert error < 1e-5, name


class FromOnlineActor(DiffusionQL):
    """a' of (1) from the actor instead of its average."""

    def target(self, *arguments):
        self.actor_average, kept = self.actor, self.actor_average
        try:
            return super().target(*arguments)
        finally:
            self.actor_average = kept


class OtherSideOfTheCoin(DiffusionQL):
    """(i, j) of (3) exchanged."""

    def actor_loss(self, *arguments):
        return super().actor_loss(*arguments[:-1], 1 - arguments[-1])


class MeanOfTargets(DiffusionQL):
    """The mean of the target critics in (1), not the lesser."""

    def target(self, reward, terminated, next_observation, initial, steps):
        noise = ChainNoise(initial, steps)
        next_action = self.sample(self.actor_average, next_observation, noise)
        value = self.target_critics(next_observation, next_action).mean(0)
        return reward + self.configuration.discount * (~terminated) * value, next_action


class ThroughTermination(DiffusionQL):
    """Bootstraps where the task ended."""

    def target(self, reward, terminated, *arguments):
        return super().target(reward, torch.zeros_like(terminated), *arguments)


@pytest.mark.parametrize(
    "wrong", [FromOnlineActor, OtherSideOfTheCoin, MeanOfTargets, ThroughTermination]
)
def test_a_wrong_variant_differs(wrong):
    assert max(largest_differences(reference_agent(agent_class=wrong)).values()) > 1e-4


def test_values_are_divided_by_the_mean_size_of_q_not_by_the_size_of_its_mean():
    """With Q of both signs, which the reference does not have."""
    agent = reference_agent()
    batch, noise = reference_update(0)
    with torch.no_grad():
        drawn = agent.sample(agent.actor, batch.observation, noise.actor)
        for vector, value in zip(
            agent.critics.vectors, agent.critics(batch.observation, drawn), strict=True
        ):
            agent.critics.parts(vector)["output/bias"].sub_(value.mean() - 0.3 * value.std())
        value = agent.critics(batch.observation, drawn)
    i, j = (0, 1) if noise.coin > 0.5 else (1, 0)
    _, (_, value_loss) = agent.actor_loss(
        batch.observation, batch.action, *noise.actor, noise.level, noise.corruption, noise.coin
    )
    assert value_loss == pytest.approx((-value[i].mean() / value[j].abs().mean()).item(), rel=1e-5)
    assert abs(value[j].mean()) < 0.5 * value[j].abs().mean()


# Acting -----------------------------------------------------------------------------------------


def candidates(agent: DiffusionQL, observation: torch.Tensor, count: int, generator):
    """What a policy draws: actions (n, count, 2) and the Gumbel variables (n, count)."""
    noise = agent.draw_chain_noise(len(observation) * count, generator)
    uniform = torch.rand(len(observation), count, generator=generator)
    repeated = observation.repeat_interleave(count, dim=0)
    action = agent.sample(agent.actor, repeated, noise)
    return repeated, action, -(-uniform.log()).log()


def of_target(observation: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    return 3 * action.T + observation[:, 0]


def of_online(observation: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    return 3 * action.square().T


@torch.no_grad()
def test_an_action_is_drawn_by_the_softmax_of_the_lesser_target_critic(monkeypatch):
    agent, observation = reference_agent(), torch.randn(100, 5, generator=generator_on(CPU, 1))
    monkeypatch.setattr(agent, "target_critics", of_target)
    monkeypatch.setattr(agent, "critics", of_online)
    repeated, action, gumbel = candidates(agent, observation, 50, generator_on(CPU, 0))
    acted = agent.act(observation, explore=True)

    def chosen_by(value: torch.Tensor) -> torch.Tensor:
        index = (value.view(100, 50) + gumbel).argmax(1)
        return action.view(100, 50, 2)[torch.arange(100), index]

    value = of_target(repeated, action)
    assert acted.equal(chosen_by(value.amin(0)))
    wrong = {
        "no Q": torch.zeros(100 * 50),
        "the least": -value.amin(0),
        "the mean of the twins": value.mean(0),
        "the greater": value.amax(0),
        "online critics": of_online(repeated, action).amin(0),
    }
    for name, other in wrong.items():
        assert not acted.equal(chosen_by(other)), name


@torch.no_grad()
def test_evaluation_may_have_candidates_of_its_own():
    agent, observation = reference_agent(), torch.randn(20, 5, generator=generator_on(CPU, 1))
    _, many, _ = candidates(agent, observation, 50, generator_on(CPU, 0))
    agent.configuration = replace(agent.configuration, evaluation_candidates=1)
    _, one, _ = candidates(agent, observation, 1, generator_on(CPU, 0))
    evaluated = agent.act(observation, explore=False)
    assert evaluated.equal(one), "a draw of the actor alone"
    explored = agent.act(observation, explore=True)
    among = (explored[:, None] == many.view(20, 50, 2)).all(-1).any(1)
    assert among.all() and not explored.equal(one)


def test_the_actors_average_stays_until_its_first_move():
    agent = reference_agent()
    agent.configuration = replace(agent.configuration, actor_average_after=4)
    moved = []
    for k in range(7):
        average = agent.networks()["actor_average"].module.vectors
        before = average.clone()
        agent.update(*reference_update(k % 3))
        agent.updates += 1
        moved.append(not average.equal(before))
    assert moved == [False] * 4 + [True, False, True], "then every second update"
