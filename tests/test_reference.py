"""NC-LQL against three updates and four chains computed by its authors' code."""

from pathlib import Path

import numpy as np
import pytest
import torch

from algorithms.agent import Run, Spaces
from algorithms.device import generator_on
from algorithms.langevin import Dynamics
from algorithms.nc_lql import NCLQL, ChainNoise, Configuration, UpdateNoise
from algorithms.randomness import AGENT_CONSUMERS
from algorithms.replay import Batch

DATA = np.load(Path(__file__).parent / "data" / "nclql_reference.npz")
CPU = torch.device("cpu")


def tensor(key: str) -> torch.Tensor:
    return torch.from_numpy(DATA[key])


def load_critics(critics, when: str, prefix: str = "") -> None:
    """Put the reference's two networks into the stacked module."""

    def stacked(layer: str, part: str) -> torch.Tensor:
        return torch.stack([tensor(f"{when}/{prefix}q{i}/{layer}/{part}") for i in (1, 2)])

    first = stacked("hidden_0", "weight").split([5, 2, 16], dim=1)
    state = {
        "observation_layer.weight": first[0],
        "action_weight": first[1],
        "level_weight": first[2],
        "observation_layer.bias": stacked("hidden_0", "bias")[:, None],
    }
    layers = {"time_0": "time_0", "time_1": "time_1", "output": "output"}
    layers |= {"hidden_1": "hidden.0", "hidden_2": "hidden.1"}
    for theirs, ours in layers.items():
        state[f"{ours}.weight"] = stacked(theirs, "weight")
        state[f"{ours}.bias"] = stacked(theirs, "bias")[:, None]
    critics.load_state_dict(state)


def reference_agent(compile: bool = False, **changes) -> NCLQL:
    agent = NCLQL(
        Configuration(hidden_width=32, batch_size=16, replay_capacity=100, **changes),
        Spaces(5, 2),
        Run(environments=1, transitions=100, warm_up=0, updates_per_step=1, compile=compile),
        CPU,
        {name: generator_on(CPU, 0) for name in AGENT_CONSUMERS},
    )
    load_critics(agent.critics, "before")
    load_critics(agent.target_critics, "before", "target_")
    return agent


def reference_update(k: int) -> tuple[Batch, UpdateNoise]:
    def of(name):
        return tensor(f"update_{k}/{name}")

    fields = ("observation", "action", "reward", "terminated", "next_observation")
    chain = ChainNoise(of("chain_initial"), of("chain_noise"))
    noise = UpdateNoise(chain, of("level").long(), of("perturbation"))
    return Batch(*map(of, fields)), noise


@pytest.mark.parametrize("compile", [False, True], ids=["plain", "compiled"])
def test_three_updates_equal_the_authors_code(compile):
    agent = reference_agent(compile)
    for k in range(3):
        batch, noise = reference_update(k)
        next_action = agent.sample(batch.next_observation, noise.chain)
        torch.testing.assert_close(
            next_action, tensor(f"update_{k}/expected_next_action"), atol=1e-5, rtol=0
        )
        metrics = agent.update(batch, noise)
        for ours, theirs in (("td_loss", "td_q"), ("smoothing_loss", "qt")):
            expected = np.mean([DATA[f"update_{k}/expected_{theirs}{i}_loss"] for i in (1, 2)])
            assert metrics[ours].item() == pytest.approx(expected, rel=1e-5)
    for ours, prefix in ((agent.critics, ""), (agent.target_critics, "target_")):
        got = {name: p.clone() for name, p in ours.state_dict().items()}
        load_critics(ours, "after", prefix)
        for name, expected in ours.state_dict().items():
            torch.testing.assert_close(got[name], expected, atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize("inverse_temperature", [10, 500])
@pytest.mark.parametrize("gradient", ["normalised", "plain"])
def test_chains_equal_the_authors_code(gradient, inverse_temperature):
    agent = reference_agent(gradient=gradient, inverse_temperature=inverse_temperature)
    noise = ChainNoise(tensor("chain/initial"), tensor("chain/noise"))
    expected = tensor(f"chain/expected_{gradient}_w{inverse_temperature}")
    action = agent.sample(tensor("chain/observation"), noise)
    torch.testing.assert_close(action, expected, atol=1e-5, rtol=0)
    # The other kind of gradient is another sampler altogether.
    agent.dynamics = Dynamics(inverse_temperature, gradient == "plain", "clip")
    assert (agent.sample(tensor("chain/observation"), noise) - expected).abs().max() > 1e-2
