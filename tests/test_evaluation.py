"""Evaluation: one episode from each seed, whatever the others do; and it leaves no trace."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from runs import before_step, run

from algorithms import loop
from algorithms.agent import Agent, Run, Spaces
from algorithms.evaluation import (
    Episode,
    NotFinite,
    constant_policy_returns,
    evaluate,
    evaluation_seeds,
    random_policy_returns,
)
from algorithms.randomness import agent_generators
from envs import VectorEnvironment, sizes

CPU = torch.device("cpu")


class Drawing(Agent):
    """Acts tanh(gain * obs) plus noise drawn from the evaluation generator."""

    def __init__(self, env_id, noise=0.1, alter=None):
        run = Run(5, 1_000, 0, 1, False)
        super().__init__(None, Spaces(*sizes(env_id)), run, CPU, agent_generators(CPU, 0))
        self.noise, self.alter = noise, alter
        self.calls = []

    def act(self, observation, explore):
        self.calls.append((tuple(observation.shape), observation.dtype, explore))
        shape = (len(observation), self.spaces.action_size)
        generator = self.generators["evaluation"]
        action = torch.tanh(observation[:, : shape[1]]) * 0.5
        action = action + self.noise * torch.randn(shape, generator=generator)
        action = action.clamp(-1, 1)
        return action if self.alter is None else self.alter(action, len(self.calls))

    def observe(self, transition):
        raise AssertionError("evaluation is not experience")

    learn = networks = observe

    def components(self):
        return {}


class Lives(gymnasium.Env):
    """An episode lasts 2, 3 or 20 steps, each as likely; reward 1 a step."""

    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, render_mode=None, reward=1.0):
        self.render_mode, self.reward = render_mode, reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.choice([2, 3, 20]))
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(1, np.float32), self.reward, self.left == 0, False, {}


gymnasium.register("Lives-v0", Lives)
gymnasium.register("BrokenReward-v0", Lives, kwargs={"reward": float("nan")})


@pytest.mark.parametrize("env_id", ["Hopper-v4", "HalfCheetah-v4", "Pendulum-v1"])
def test_returns_are_those_of_lone_episodes(env_id):
    seeds = evaluation_seeds(0, 3, 3)
    episodes = evaluate(Drawing(env_id, noise=0), env_id, seeds, CPU)
    scale = gymnasium.make(env_id).action_space.high
    for i, seed in enumerate(seeds):
        environment = gymnasium.make(env_id)
        observation, _ = environment.reset(seed=seed)
        total, length, is_over = 0.0, 0, False
        while not is_over:
            agent = Drawing(env_id, noise=0)
            action = agent.act(torch.as_tensor(observation, dtype=torch.float32)[None], False)
            observation, reward, terminated, truncated, _ = environment.step(
                action[0].numpy() * scale
            )
            total, length, is_over = total + reward, length + 1, terminated or truncated
        assert episodes[i] == Episode(i, pytest.approx(total, abs=1e-3), length)


def test_the_batch_keeps_its_shape_and_explores_never():
    seeds = evaluation_seeds(0, 0, 10)
    agent = Drawing("Lives-v0")
    episodes = evaluate(agent, "Lives-v0", seeds, CPU)
    assert {episode.length for episode in episodes} == {2, 3, 20}
    assert agent.calls == [((10, 1), torch.float32, False)] * 20


def test_each_seed_counts_once_where_first_come_first_counted_favours_the_short():
    seeds = evaluation_seeds(0, 0, 400)
    lengths = [episode.length for episode in evaluate(Drawing("Lives-v0"), "Lives-v0", seeds, CPU)]
    for seed, length in zip(seeds[:30], lengths, strict=False):
        (alone,) = evaluate(Drawing("Lives-v0"), "Lives-v0", [seed], CPU)
        assert alone.length == length
    mean, deviation = 25 / 3, 8.3 / np.sqrt(len(seeds))
    assert abs(np.mean(lengths) - mean) < 4 * deviation
    # The wrong variant: the first 400 episodes to end.
    environment, first = VectorEnvironment("Lives-v0", seeds), []
    while len(first) < len(seeds):
        step = environment.step(np.zeros((len(seeds), 1), np.float32))
        first += step.episode_length[step.terminated].tolist()
    assert np.mean(first[: len(seeds)]) < mean - 4 * deviation


def test_evaluation_repeats_and_leaves_no_trace():
    agent = Drawing("Hopper-v4")
    generator = agent.generators["evaluation"]
    before = {k: g.get_state() for k, g in agent.generators.items()}
    results = []
    for seed in (7, 7, 8):
        generator.manual_seed(seed)
        results.append(evaluate(agent, "Hopper-v4", [1, 2, 3], CPU))
    assert results[0] == results[1] != results[2]
    for name, state in before.items():
        if name != "evaluation":
            assert (agent.generators[name].get_state() == state).all()
    assert (agent.transitions, agent.updates) == (0, 0)


def test_seeds_are_the_runs_and_the_evaluations():
    seeds = evaluation_seeds(3, 5, 10)
    assert seeds == evaluation_seeds(3, 5, 10) and len(set(seeds)) == 10
    assert not set(seeds) & set(evaluation_seeds(3, 6, 10))
    assert not set(seeds) & set(evaluation_seeds(4, 5, 10))
    assert evaluation_seeds(3, 5, 4) == seeds[:4]


@pytest.fixture
def heard(monkeypatch) -> dict[str, list]:
    """Seeds of training's environments and of each evaluation, and of the generator that each
    evaluation draws its actions from, as the loop hands them on."""
    told = {"training": [], "evaluation": [], "draws": []}

    def environment(env_id, seeds):
        told["training"].append(list(seeds))
        return VectorEnvironment(env_id, seeds)

    def listened(agent, env_id, seeds, device):
        told["evaluation"].append(list(seeds))
        told["draws"].append(agent.generators["evaluation"].initial_seed())
        return evaluate(agent, env_id, seeds, device)

    monkeypatch.setattr(loop, "VectorEnvironment", environment)
    monkeypatch.setattr(loop, "evaluate", listened)
    return told


DRAWS = {"algorithm": "lql", "chain_steps": 2, "transitions": 60, "warm_up": 59}
"""Of an untrained policy that draws its actions, in evaluation too."""


def test_a_run_evaluates_on_other_episodes_than_it_learns_from(tmp_path, heard):
    for seed in (0, 1):
        run(tmp_path / str(seed), seed=seed, **DRAWS, num_envs=3, evaluate_every=20)
    assert heard["evaluation"] == [evaluation_seeds(s, k, 2) for s in (0, 1) for k in range(4)]
    assert len(set(heard["draws"])) == 8, "each evaluation draws anew"
    training = [seed for seeds in heard["training"] for seed in seeds]
    assert len(set(training)) == len(training) == 6, "and each copy is a world of its own"
    evaluated = {e for s in (0, 1) for k in range(200) for e in evaluation_seeds(s, k, 10)}
    assert not evaluated & set(training)


def test_an_evaluation_depends_on_its_number_and_not_on_what_was_drawn_before(tmp_path):
    def scores(name: str, **changes) -> list[str]:
        run(tmp_path / name, **(DRAWS | {"evaluate_every": 20} | changes))
        rows = (tmp_path / name / "evaluations.csv").read_text().splitlines()[1:]
        return [row.split(",")[2:] for row in rows]  # without transitions and updates

    whole = scores("whole")
    assert len(whole) == 8 and whole[:2] != whole[2:4], "draws and episodes of its own"
    assert scores("later", evaluate_every=40)[:4] == whole[:4]

    def disturb(training):
        training.agent.generators["evaluation"].manual_seed(9)

    with before_step(15, disturb):
        assert scores("disturbed") == whole


def test_a_latch_that_has_tripped_stops_it_with_update_and_name():
    agent = Drawing("Point-v0")
    agent.finite.check(41, critic_loss=torch.tensor(1.0))
    agent.finite.check(42, critic_loss=torch.tensor(float("nan")))
    with pytest.raises(NotFinite, match="'critic_loss' is not finite at update 42") as stop:
        evaluate(agent, "Point-v0", [0, 1], CPU)
    assert (stop.value.update, stop.value.tensor) == (42, "critic_loss")


def test_an_action_that_is_not_finite_stops_it():
    def alter(action, call):
        return action if call < 3 else action * float("nan")

    agent = Drawing("Point-v0", alter=alter)
    agent.updates = 9
    with pytest.raises(NotFinite) as stop:
        evaluate(agent, "Point-v0", [0, 1], CPU)
    assert (stop.value.update, stop.value.tensor) == (9, "evaluation_action")


def test_what_happens_after_an_episodes_end_is_not_counted():
    seeds = evaluation_seeds(0, 0, 6)
    lengths = np.array([e.length for e in evaluate(Drawing("Lives-v0"), "Lives-v0", seeds, CPU)])

    def alter(action, call):
        action[lengths < call] = float("nan")
        return action

    agent = Drawing("Lives-v0", alter=alter)
    assert [e.length for e in evaluate(agent, "Lives-v0", seeds, CPU)] == lengths.tolist()


def test_a_return_that_is_not_finite_stops_it():
    with pytest.raises(NotFinite) as stop:
        evaluate(Drawing("BrokenReward-v0"), "BrokenReward-v0", [0], CPU)
    assert stop.value.tensor == "evaluation_return"


def test_floors_depend_on_their_own_seed_alone():
    seeds = [3, 4, 5]
    for returns in (random_policy_returns, constant_policy_returns):
        together = returns("Hopper-v4", seeds)
        assert together == returns("Hopper-v4", seeds)
        for i, seed in enumerate(seeds):
            (alone,) = returns("Hopper-v4", [seed])
            assert alone[1:] == together[i][1:]


def test_floors_are_those_known_for_version_4():
    """A standing Ant gets its 1 for being healthy at each of 1,000 steps; a cheetah at rest
    nothing; Hopper falls after some 140 steps at rest and sooner when it twitches."""
    seeds = evaluation_seeds(0, 0, 4)

    def mean(episodes):
        return np.mean([episode.return_ for episode in episodes])

    assert mean(constant_policy_returns("Ant-v4", seeds)) == pytest.approx(1_000, abs=15)
    assert mean(constant_policy_returns("HalfCheetah-v4", seeds)) == pytest.approx(0, abs=3)
    assert 100 < mean(constant_policy_returns("Hopper-v4", seeds)) < 190
    assert 5 < mean(random_policy_returns("Hopper-v4", seeds)) < 40
    assert -450 < mean(random_policy_returns("HalfCheetah-v4", seeds)) < -150


def test_a_constant_action_may_differ_by_dimension():
    (best,) = constant_policy_returns("MultimodalBandit-v0", [0], [0.6, -0.6])
    (worst,) = constant_policy_returns("MultimodalBandit-v0", [0])
    assert best.return_ == pytest.approx(1, abs=1e-3)
    assert worst.return_ == pytest.approx(0.4, abs=2e-3)
