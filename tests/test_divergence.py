"""A run whose reward, observation, action or weights stop being finite: a result, named."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from runs import before_step, contents, document, run

from analysis.records import read_run


class Poisoned(gymnasium.Env):
    """Gives a reward or an observation that is not finite at its 30th step."""

    def __init__(self, poison="", render_mode=None):
        self.observation_space = self.action_space = Box(-1, 1, (1,), np.float32)
        self.poison = poison
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        is_now = self.steps == 30
        reward = np.inf if is_now and self.poison == "reward" else 0.0
        observation = np.full(1, np.nan if is_now and self.poison == "observation" else 0.0)
        return observation.astype(np.float32), reward, False, False, {}


for kind in ("reward", "observation"):
    gymnasium.register(
        f"Poisoned-{kind}-v0", Poisoned, max_episode_steps=10, kwargs={"poison": kind}
    )


@pytest.mark.parametrize("kind", ["reward", "observation"])
def test_an_environment_that_is_not_finite_ends_the_run_as_diverged(tmp_path, kind):
    assert run(tmp_path, env=f"Poisoned-{kind}-v0") == 0
    found = document(tmp_path)
    assert found["status"] == "diverged"
    # 29 vector steps of two environments were whole; the first ten were warm-up.
    assert found["divergence"] == {"transitions": 58, "update": 19, "tensor": kind}
    assert read_run(tmp_path).evaluations["transitions"].max() == 50


@pytest.mark.parametrize("checkpoint_seconds", [0, 300])
def test_a_weight_that_is_not_finite_is_named_with_its_update(tmp_path, checkpoint_seconds):
    """Planted after 40 updates. The latch sees it in the next; neither a checkpoint nor a restart
    comes in between, so that what is named is not the first thing seen after one."""

    def poison(training):
        assert training.agent.updates == 40
        with torch.no_grad():
            next(training.agent.critics.parameters()).view(-1)[3] = float("nan")

    with before_step(50, poison):
        assert run(tmp_path, checkpoint_seconds=checkpoint_seconds) == 0
    divergence = document(tmp_path)["divergence"]
    assert divergence["update"] == 40 and "critic" in divergence["tensor"]
    assert read_run(tmp_path).status == "diverged"


def test_an_action_that_is_not_finite_is_no_crash(tmp_path):
    def poison(training):
        with torch.no_grad():
            next(training.agent.actor.parameters()).fill_(float("nan"))

    with before_step(50, poison):
        assert run(tmp_path) == 0
    assert document(tmp_path)["divergence"] == {
        "transitions": 100,
        "update": 40,
        "tensor": "action",
    }


def test_a_diverged_run_is_a_result_and_is_not_run_again(tmp_path, capsys):
    run(tmp_path, env="Poisoned-reward-v0")
    before = contents(tmp_path)
    capsys.readouterr()
    assert run(tmp_path, env="Poisoned-reward-v0") == 0
    assert "holds the record of this run (diverged); nothing to do" in capsys.readouterr().out
    assert contents(tmp_path) == before
