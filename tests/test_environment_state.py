"""Restored environments against those that went on."""

import io
import random

import gymnasium
import mujoco
import numpy as np
import pytest
import torch
from custom_environments import CUSTOM, equal, random_actions

from envs import VectorEnvironment


@pytest.mark.parametrize(
    "env_id, steps",
    [
        ("Hopper-v4", 130),
        ("Ant-v4", 90),
        ("HalfCheetah-v4", 120),
        ("Humanoid-v4", 60),
        ("Pendulum-v1", 330),
        ("Point-v0", 47),
        (CUSTOM["endless"], 3_000),
        (CUSTOM["private"], 30),
        (CUSTOM["mutates"], 30),
    ],
)
def test_a_restored_environment_goes_on_to_the_bit(env_id, steps):
    n = 3
    action = random_actions(env_id, steps + 120, n)
    environment = VectorEnvironment(env_id, range(n))
    for a in action[:steps]:
        environment.step(a)
    buffer = io.BytesIO()
    torch.save({"environments": tensors(environment.state_dict())}, buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)["environments"]
    restored = VectorEnvironment(env_id, [100 + i for i in range(n)])
    restored.step(action[0])
    restored.load_state_dict(saved)
    assert (restored.observation == environment.observation).all()
    for a in action[steps:]:
        assert equal(environment.step(a), restored.step(a))
        assert (restored.observation == environment.observation).all()


def tensors(value):
    """The same nested state with tensors for arrays, as a checkpoint holds it."""
    if isinstance(value, dict):
        return {name: tensors(part) for name, part in value.items()}
    if isinstance(value, list):
        return [tensors(part) for part in value]
    return torch.as_tensor(value) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("steps", [0, 20, 21])
def test_a_state_at_the_edge_of_an_episode_goes_on_to_the_bit(steps):
    action = random_actions("Point-v0", 60, 2)
    environment = VectorEnvironment("Point-v0", [5, 6])
    for a in action[:steps]:
        environment.step(a)
    restored = VectorEnvironment("Point-v0", [0, 0])
    restored.load_state_dict(environment.state_dict())
    for a in action[steps:]:
        assert equal(environment.step(a), restored.step(a))


@pytest.mark.parametrize("env_id", ["Ant-v4", "Humanoid-v4"])
@pytest.mark.parametrize("kept", ["positions and velocities", "integration state"])
def test_the_physics_state_alone_gives_another_reward(env_id, kept):
    """The rewards of Ant and Humanoid read body positions of before the step, which neither
    positions and velocities nor MuJoCo's integration state bring back."""
    action = random_actions(env_id, 12, 1)
    environment = VectorEnvironment(env_id, [0])
    reference = gymnasium.make(env_id)
    reference.reset(seed=0)
    half_width = reference.action_space.high
    for a in action[:11]:
        environment.step(a)
        reference.step(a[0] * half_width)
    source = reference.unwrapped
    wrong = gymnasium.make(env_id)
    wrong.reset(seed=1)
    if kept == "positions and velocities":
        wrong.unwrapped.data.qpos[:] = source.data.qpos
        wrong.unwrapped.data.qvel[:] = source.data.qvel
    else:
        signature = mujoco.mjtState.mjSTATE_INTEGRATION
        state = np.empty(mujoco.mj_stateSize(source.model, signature))
        mujoco.mj_getState(source.model, source.data, state, signature)
        mujoco.mj_setState(wrong.unwrapped.model, wrong.unwrapped.data, state, signature)
    restored = VectorEnvironment(env_id, [1])
    restored.load_state_dict(environment.state_dict())
    right = environment.step(action[11]).reward
    assert restored.step(action[11]).reward == right
    assert np.float32(wrong.step(action[11, 0] * half_width)[1]) != right


def test_without_its_generator_the_next_episode_begins_elsewhere():
    action = random_actions("Point-v0", 40, 1)
    environment = VectorEnvironment("Point-v0", [0])
    for a in action[:30]:
        environment.step(a)
    right, wrong = VectorEnvironment("Point-v0", [1]), VectorEnvironment("Point-v0", [1])
    for restored in (right, wrong):
        restored.load_state_dict(environment.state_dict())
    # The wrong variant: the same episode, the same place in it, another generator.
    wrong._copies[0].environment.unwrapped.np_random = np.random.default_rng(1)
    for a in action[30:]:
        steps = [vector.step(a) for vector in (environment, right, wrong)]
        assert equal(steps[0], steps[1]) and equal(steps[0], steps[2])
    assert steps[0].truncated.all()
    assert environment.observation == right.observation
    assert environment.observation != wrong.observation


def test_an_environment_that_is_not_deterministic_is_not_restored():
    environment = VectorEnvironment(CUSTOM["clock"], [0])
    environment.step(random_actions(CUSTOM["clock"], 1, 1)[0])
    with pytest.raises(RuntimeError, match="not deterministic"):
        VectorEnvironment(CUSTOM["clock"], [0]).load_state_dict(environment.state_dict())


def test_a_state_of_another_environment_is_not_restored():
    state = VectorEnvironment("Point-v0", [0, 1]).state_dict()
    with pytest.raises(RuntimeError, match="of 2 copies of Point-v0, not of 2 of OneState-v0"):
        VectorEnvironment("OneState-v0", [0, 1]).load_state_dict(state)
    with pytest.raises(RuntimeError, match="not of 3 of Point-v0"):
        VectorEnvironment("Point-v0", [0, 1, 2]).load_state_dict(state)


def test_no_global_generator_is_read_or_moved():
    def run():
        environment = VectorEnvironment("Hopper-v4", [0, 1])
        return [environment.step(a) for a in random_actions("Hopper-v4", 60, 2)]

    np.random.seed(0)  # noqa: NPY002
    before = (random.getstate(), torch.get_rng_state(), np.random.get_state()[1].copy())  # noqa: NPY002
    first = run()
    after = (random.getstate(), torch.get_rng_state(), np.random.get_state()[1])  # noqa: NPY002
    assert before[0] == after[0]
    assert (before[1] == after[1]).all() and (before[2] == after[2]).all()
    np.random.seed(1)  # noqa: NPY002
    assert all(equal(a, b) for a, b in zip(first, run(), strict=True))
