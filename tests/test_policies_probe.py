"""Probes of trained policies: proposals, exact draws from a critic, and visited states."""

import math

import numpy as np
import pytest
import torch
from custom_environments import CUSTOM

from algorithms import algorithm
from algorithms.agent import Run, Spaces
from algorithms.langevin import bounded
from algorithms.metrics import Progress
from algorithms.options import resolve_configuration
from algorithms.randomness import agent_generators
from algorithms.record import read_policy, write_policy
from analysis.bandit import SAMPLES
from analysis.probes import policies, visits
from analysis.probes.policies import draw_samples, exact_draws, propose
from envs.bandit import MULTIMODAL

CPU = torch.device("cpu")
BANDIT = "MultimodalBandit-v0"


def configuration(name, **more):
    settings = {"hidden_width": 16} | ({} if name == "ppo" else {"batch_size": 16})
    if "inverse_temperature" in more:
        settings["inverse_temperature"] = more.pop("inverse_temperature")
    run = {"transitions": 200, "num_envs": 5, "warm_up": 50, "evaluation_episodes": 2} | more
    return resolve_configuration(name, run.pop("env", BANDIT), 0, settings=settings, **run)


def agent_of(configuration):
    kind = algorithm(configuration["algorithm"])
    settings = kind.Configuration(**configuration["settings"])
    return kind(settings, Spaces(1, 2), Run(5, 200, 50, 1, False), CPU, agent_generators(CPU, 0))


@pytest.mark.parametrize("name", ["lql", "nc_lql"])
def test_value_is_what_the_chain_climbs(name):
    agent = agent_of(configuration(name))
    observation, action = torch.zeros(7, 1), torch.rand(7, 2) * 1.6 - 0.8
    *_, finest = agent.critics.conditioning(observation, torch.float32)
    climbed = agent.critics.action_gradient(action, finest)
    if name == "lql":
        climbed = agent.gradient(action, finest)
    offset = 1e-2 * torch.eye(2)
    found = torch.stack(
        [
            (agent.value(observation, action + e) - agent.value(observation, action - e)) / 2e-2
            for e in offset
        ],
        1,
    )
    torch.testing.assert_close(found, climbed, rtol=0.02, atol=2e-4)
    other = 2 if name == "lql" else 0.5  # the sum of the twins for the mean, or the reverse
    assert not torch.allclose(found * other, climbed, rtol=0.1, atol=2e-4)


@pytest.mark.parametrize("name", ["lql", "nc_lql", "sac"])
def test_proposals_are_independent_draws_at_each_observation(name):
    agent = agent_of(configuration(name))
    state = agent.generators["actions"].get_state()
    proposed = agent.propose(torch.tensor([[0.0], [1.0], [-1.0]]), 4)
    assert proposed.shape == (3, 4, 2) and proposed.abs().max() <= 1
    # Not all: a chain that overshoots ends in a corner of the box, as others do.
    assert all(len(torch.unique(own, dim=0)) > 1 for own in proposed)
    agent.generators["actions"].set_state(state)
    repeated = torch.tensor([0.0, 1.0, -1.0]).repeat_interleave(4)[:, None]
    assert torch.equal(proposed.flatten(0, 1), agent.policy(repeated, explore=True))


def bandit_value(observation, action):
    return torch.tensor(MULTIMODAL.reward(action.numpy()), dtype=torch.float32)


def test_draws_from_a_known_q_are_those_of_its_soft_policy():
    generator = torch.Generator().manual_seed(0)
    drawn = exact_draws(bandit_value, 8.0, 20_000, generator).numpy()
    exact = MULTIMODAL.soft_policy(8.0)
    counts = np.bincount(MULTIMODAL.nearest_mode(drawn), minlength=9) / len(drawn)
    np.testing.assert_allclose(counts, exact.mass, atol=5 * math.sqrt(0.25 / len(drawn)))
    wrong = exact_draws(bandit_value, 4.0, 20_000, generator).numpy()
    counts = np.bincount(MULTIMODAL.nearest_mode(wrong), minlength=9) / len(wrong)
    assert np.abs(counts - exact.mass).max() > 0.02
    assert np.abs(drawn).max() <= 1


def test_another_temperature_changes_how_a_policy_acts_and_nothing_of_its_critic(tmp_path):
    asked = configuration("lql")
    agent = agent_of(asked)
    write_policy(tmp_path, agent, asked)
    same, cold = read_policy(tmp_path, CPU), read_policy(
        tmp_path, CPU, settings={"inverse_temperature": 300.0}
    )  # fmt: skip
    observation = torch.zeros(50, 1)
    action = bounded(torch.randn(50, 2), "clip")
    assert torch.equal(cold.value(observation, action), agent.value(observation, action))
    drawn = [each.propose(torch.zeros(1, 1), 200)[0] for each in (same, cold)]
    values = [agent.value(torch.zeros(200, 1), each).mean() for each in drawn]
    assert values[1] > values[0]


@pytest.fixture
def few(monkeypatch):
    """Proposals, batches of uniform draws, and cells."""
    for name, number in (("PROPOSALS", 50), ("BATCHES", 2), ("GRID", 64)):
        monkeypatch.setattr(policies, name, number)


def test_proposals_of_a_policy_are_a_row_a_temperature_and_none_without_one(tmp_path, few):
    asked = configuration("lql", inverse_temperature=10.0)
    write_policy(tmp_path, agent_of(asked), asked)
    with torch.no_grad():
        table = propose(tmp_path, asked)
        again = propose(tmp_path, asked)
    assert table.equals(again)
    assert table["factor"].tolist() == list(policies.FACTORS)
    assert (table["best_of_uniform_value"] > table["uniform_value"]).all()
    warm, cold = table["exact_distance"].iloc[0], table["exact_distance"].iloc[-1]
    assert warm == pytest.approx(1.0426, abs=0.1)  # of uniform points in the box: 0.5214 times 2
    assert cold < warm
    coldest = table.iloc[-1]
    assert coldest["uniform_value"] < coldest["exact_value"] < coldest["best_of_uniform_value"]
    assert propose(tmp_path, configuration("ppo")) is None
    assert propose(tmp_path, configuration("lql", env="Point-v0")) is None


def test_value_and_spread_of_proposals_are_those_of_the_chain_at_each_temperature(
    tmp_path, few, monkeypatch
):
    monkeypatch.setattr(policies, "generator_on", lambda *_: torch.Generator().manual_seed(0))
    asked = configuration("lql", inverse_temperature=10.0)
    agent = agent_of(asked)
    write_policy(tmp_path, agent, asked)
    generator = torch.Generator().manual_seed(0)
    torch.rand(2 * policies.UNIFORM, 2, generator=generator)  # what they are held against
    with torch.no_grad():
        table = propose(tmp_path, asked)
        for row in table.itertuples():
            settings = {"inverse_temperature": 10.0 * row.factor}
            assert row.inverse_temperature == settings["inverse_temperature"]
            chain = read_policy(tmp_path, CPU, settings=settings)
            chain.generators["actions"] = generator
            (proposed,) = chain.propose(torch.zeros(1, 1), 50)
            value = agent.value(torch.zeros(50, 1), proposed).mean().item()
            assert row.proposal_value == pytest.approx(value, abs=1e-6)
            apart = np.linalg.norm(proposed[:, None].numpy() - proposed.numpy(), axis=-1)
            assert row.proposal_distance == pytest.approx(apart.sum() / (50 * 49), rel=1e-5)
            exact_draws(agent.value, row.inverse_temperature, 50, generator)
    warmest, coldest = table.iloc[0], table.iloc[-1]
    assert warmest["proposal_value"] < table["uniform_value"].mean() < coldest["proposal_value"]
    assert warmest["proposal_distance"] > coldest["proposal_distance"]


def test_samples_are_of_the_exploring_policy_and_none_of_one_that_acts_no_more(tmp_path):
    asked = configuration("sac")
    agent = agent_of(asked)
    agent.transitions = asked["warm_up"]  # at random before
    write_policy(tmp_path, agent, asked)
    drawn = draw_samples(tmp_path, asked)
    assert drawn.columns.tolist() == ["first", "second"] and drawn.abs().max().max() <= 1
    assert len(drawn) == len(drawn.drop_duplicates()) == SAMPLES, "it evaluates its mode alone"
    assert drawn.equals(draw_samples(tmp_path, asked))
    assert not drawn.equals(draw_samples(tmp_path, asked | {"seed": 1}))
    with torch.no_grad():
        for parameter in agent.actor.parameters():
            parameter.fill_(math.nan)
    write_policy(tmp_path, agent, asked)
    assert draw_samples(tmp_path, asked).shape == (0, 2)
    assert draw_samples(tmp_path, configuration("sac", env="Point-v0")) is None


def test_counting_visits_leaves_the_run_as_it_is():
    from algorithms.loop import Training

    asked = configuration("ppo", env="Point-v0", transitions=400, evaluate_every=200)
    bare = Training(asked, CPU, False)
    bare.run(lambda state: None, math.inf, Progress(400, 0, ""))
    watched = Training(asked, CPU, False)
    seen = watched.environment = visits.Watched(watched.environment)
    watched.run(lambda state: None, math.inf, Progress(400, 0, ""))
    assert watched.evaluations == bare.evaluations and len(bare.evaluations) == 6
    visited = np.concatenate(seen.visited)
    assert visited.shape == (400, 1) and len(np.unique(visited)) > 50
    table, ended = visits.measure(asked, "cpu", False)
    assert ended == {"status": "complete", "transitions": 400, "updates": bare.agent.updates}
    mean, deviation = visits.random_spread("Point-v0")
    states = (visited - mean) / deviation
    last = table[(table["transitions"] == 400) & (table["width"] == 0.5)].iloc[0]
    assert last["cells"] == visits.visited_cells(states, 0.5) > 3
    # PPO has no random warm-up, and leaves out as many states as the methods that have one.
    assert asked["warm_up"] == 50
    assert last["cells_after_warm_up"] == visits.visited_cells(states[50:], 0.5)
    early = table[(table["transitions"] == 40) & (table["width"] == 0.5)].iloc[0]
    assert early["cells"] > 0 == early["cells_after_warm_up"]


def test_the_unit_of_visits_is_the_deviation_of_states_under_uniform_actions(monkeypatch):
    """Where observations are independent draws, known in closed form: the first coordinate is
    uniform in [0, 1] by each copy's own generator, the others are the actions."""
    kept = []

    class Kept(visits.Watched):
        def __init__(self, environment):
            super().__init__(environment)
            kept.append(self)

    monkeypatch.setattr(visits, "Watched", Kept)
    mean, deviation = visits.random_spread(CUSTOM["private"])
    (visited,) = (np.concatenate(each.visited) for each in kept)
    # With one seed for all ten copies, a tenth as many; of 10,000, few agree in single precision.
    assert len(np.unique(visited[:, 0])) > 9_900
    half_width = np.array([0.5, 1, 1, 1])
    error = half_width / math.sqrt(3) / math.sqrt(10_000)  # of the mean
    np.testing.assert_array_less(np.abs(mean - [0.5, 0, 0, 0]), 5 * error)
    # A uniform's fourth moment is 9/5 of its variance's square.
    of_deviation = error * math.sqrt(0.8) / 2
    found = np.abs(deviation - half_width / math.sqrt(3))
    np.testing.assert_array_less(found, 5 * of_deviation)
    assert (np.abs(deviation**2 - half_width / math.sqrt(3)) > 50 * of_deviation).all()
    assert visits.random_spread("OneState-v0") == (0, 1), "what stands still has a unit, too"
