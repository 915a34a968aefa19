"""Vector environments against Gymnasium's own, and what is accepted and refused."""

import warnings

import gymnasium
import mujoco
import numpy as np
import pytest
from custom_environments import CUSTOM, random_actions
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from envs import EnvironmentRefused, VectorEnvironment, sizes
from envs.point import OneState, Point

# -- What is accepted and what is refused


@pytest.mark.parametrize(
    "env_id, expected",
    [
        ("Hopper-v4", (11, 3)),
        ("Ant-v4", (27, 8)),
        ("Humanoid-v4", (376, 17)),
        ("Pendulum-v1", (3, 1)),
        ("Point-v0", (1, 1)),
        ("MultimodalBandit-v0", (1, 2)),
        (CUSTOM["matrix"], (4, 4)),
    ],
)
def test_any_box_of_actions_and_flat_observations_will_do(env_id, expected):
    assert sizes(env_id) == expected


@pytest.mark.parametrize(
    "env_id, reason",
    [
        ("Hoper-v4", "unknown environment 'Hoper-v4'; the nearest known one is 'Hopper-v4'"),
        ("Hopper-v2", "v2 and v3 based environments have been moved"),
        ("no module:Env-v0", "unknown environment"),
        ("", "unknown environment ''"),
        ("CartPole-v1", "its actions are Discrete(2), not a box"),
        (CUSTOM["unbounded"], "its box of actions is not bounded"),
        (CUSTOM["integers"], "its actions are a box of int64, not of real numbers"),
        (CUSTOM["image"], "its observations have shape (4, 4), not that of a flat box"),
        (CUSTOM["parts"], "its observations are Dict, not a flat box"),
        (CUSTOM["fails"], "cannot be made: no licence"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(env_id, reason):
    for refuse in (sizes, lambda name: VectorEnvironment(name, [0])):
        with pytest.raises(EnvironmentRefused) as refused:
            refuse(env_id)
        assert reason in str(refused.value)
        assert "\n" not in str(refused.value)


def test_only_the_remark_on_versions_is_silenced():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        VectorEnvironment("Walker2d-v4", [0]).close()
        VectorEnvironment(CUSTOM["warns"], [0]).close()
    assert [str(warning.message) for warning in caught] == ["the moon is full"]
    with pytest.warns(DeprecationWarning, match="out of date"):
        gymnasium.make("Walker2d-v4").close()


def test_mujoco_leaves_no_log_in_the_working_folder(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        VectorEnvironment("HalfCheetah-v4", [0, 1]).close()
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err.count("settotalmass") <= 1
    configuration = mujoco.MjLogConfig.get()
    configuration.logto_file = True  # MuJoCo's default
    configuration.set()
    gymnasium.make("HalfCheetah-v4").close()
    assert [path.name for path in tmp_path.iterdir()] == ["MUJOCO_LOG.TXT"]
    VectorEnvironment("Point-v0", [0]).close()


# -- The same trajectories as Gymnasium's


@pytest.mark.parametrize(
    "env_id, kinds_of_end",
    [
        ("Hopper-v4", {"terminated"}),
        ("Walker2d-v4", {"terminated"}),
        ("Ant-v4", {"terminated", "truncated"}),
        ("HalfCheetah-v4", {"truncated"}),
        ("Humanoid-v4", {"terminated"}),
        ("Swimmer-v4", {"truncated"}),
        ("Pendulum-v1", {"truncated"}),
        ("Point-v0", {"truncated"}),
        ("FarModeBandit-v0", {"terminated"}),
    ],
)
def test_trajectories_are_those_of_gymnasium_to_the_bit(env_id, kinds_of_end):
    seeds, steps = [3, 4], 1_010
    environment = VectorEnvironment(env_id, seeds)
    action = random_actions(env_id, steps, len(seeds))
    action[:, 0] *= 0.05  # so that one Ant stands until its time limit
    references = [gymnasium.make(env_id) for _ in seeds]
    half_width = references[0].action_space.high
    reference_observation = [
        reference.reset(seed=seed)[0] for reference, seed in zip(references, seeds, strict=True)
    ]
    totals, lengths, seen = [0.0, 0.0], [0, 0], set()
    for t in range(steps):
        for i in range(len(seeds)):
            assert (environment.observation[i] == np.float32(reference_observation[i])).all()
        step = environment.step(action[t])
        for i, reference in enumerate(references):
            final, reward, terminated, truncated, _ = reference.step(action[t, i] * half_width)
            totals[i] += reward
            lengths[i] += 1
            assert (step.next_observation[i] == np.float32(final)).all()
            assert step.reward[i] == np.float32(reward)
            assert (step.terminated[i], step.truncated[i]) == (terminated, truncated)
            reference_observation[i] = final
            expected = (0, 0)
            if terminated or truncated:
                seen.add("terminated" if terminated else "truncated")
                expected = (totals[i], lengths[i])
                totals[i], lengths[i] = 0.0, 0
                reference_observation[i] = reference.reset()[0]
            assert (step.episode_return[i], step.episode_length[i]) == expected
    assert seen == kinds_of_end


def test_final_observations_are_true_where_gymnasiums_default_loses_the_transition():
    """By default Gymnasium's vectors ignore the action after an end and return reward 0."""
    env_id, seeds = "Hopper-v4", [0, 1, 2]
    action = random_actions(env_id, 200, len(seeds))

    def gymnasiums(mode):
        return SyncVectorEnv([lambda: gymnasium.make(env_id)] * len(seeds), autoreset_mode=mode)

    same, following = gymnasiums(AutoresetMode.SAME_STEP), gymnasiums(AutoresetMode.NEXT_STEP)
    same.reset(seed=seeds)
    following.reset(seed=seeds)
    environment = VectorEnvironment(env_id, seeds)
    for t in range(200):
        step = environment.step(action[t])
        observation, reward, terminated, _, information = same.step(action[t])
        assert (environment.observation == np.float32(observation)).all()
        assert (step.reward == np.float32(reward)).all()
        *_, ended, _, _ = following.step(action[t])
        assert (step.terminated == ended).all()
        if terminated.any():
            break
    (i, *_) = np.flatnonzero(terminated)
    final = np.float32(information["final_obs"][i])
    assert (step.next_observation[i] == final).all()
    assert (environment.observation[i] != final).any()
    # The wrong variant: one step later, a transition that leads from the end to a beginning.
    observation, reward, *_ = following.step(action[t + 1])
    assert reward[i] == 0
    assert (np.float32(observation[i]) == environment.observation[i]).all()
    assert (environment.step(action[t + 1]).reward != 0).all()


def test_actions_fill_the_box():
    environment = VectorEnvironment(CUSTOM["skewed"], [0, 0, 0])
    low, high = np.float32([0, -1, 2, -3]), np.float32([3, 5, 2.5, 3])
    action = np.float32([[-1] * 4, [0] * 4, [1] * 4])
    observed = environment.step(action).next_observation
    assert (observed == np.stack([low, (low + high) / 2, high])).all()


def test_actions_of_any_shape_are_flattened():
    environment = VectorEnvironment(CUSTOM["matrix"], [0])
    action = np.float32([[0.1, -0.2, 0.3, -0.4]])
    assert np.allclose(environment.step(action).next_observation, 2 * action)


@pytest.mark.parametrize(
    "action, reason",
    [
        (np.zeros((1, 3), np.float32), "shape"),
        (np.full((2, 3), 1.001, np.float32), "outside"),
        (np.full((2, 3), np.nan, np.float32), "not finite"),
    ],
)
def test_impossible_actions_are_errors(action, reason):
    environment = VectorEnvironment("Hopper-v4", [0, 1])
    before = environment.observation.copy()
    with pytest.raises(ValueError, match=reason):
        environment.step(action)
    assert (environment.observation == before).all()


def test_arrays_handed_out_are_never_written_again():
    environment = VectorEnvironment("Point-v0", [0, 1])
    kept = []
    for action in random_actions("Point-v0", 45, 2):
        arrays = (environment.observation, *environment.step(action))
        kept.append([(array, array.copy()) for array in arrays])
    assert all((array == copy).all() for arrays in kept for array, copy in arrays)


# -- The suite's own tasks


@pytest.mark.parametrize(
    "env_id", ["Point-v0", "OneState-v0", "MultimodalBandit-v0", "FarModeBandit-v0"]
)
def test_own_environments_keep_gymnasiums_contract(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(env_id).unwrapped, skip_render_check=True)


def test_the_point_tells_knowing_the_way_from_not():
    def mean_return(policy):
        environment = VectorEnvironment("Point-v0", range(200))
        while True:
            step = environment.step(policy(environment.observation))
            if step.truncated.any():
                assert step.truncated.all() and not step.terminated.any()
                assert (step.episode_length == Point.MAX_EPISODE_STEPS).all()
                return step.episode_return.mean()

    generator = np.random.default_rng(0)

    def noisy(observation):
        noise = generator.normal(0, 0.5, observation.shape)
        return np.clip(Point.best_action(observation) + noise, -1, 1).astype(np.float32)

    assert mean_return(Point.best_action) > -8
    assert mean_return(noisy) > Point.SOLVED_RETURN
    assert mean_return(np.zeros_like) < 3 * Point.SOLVED_RETURN
    assert mean_return(lambda x: generator.uniform(-1, 1, x.shape).astype(np.float32)) < (
        3 * Point.SOLVED_RETURN
    )


def test_the_endless_state_is_cut_and_never_ends():
    environment = VectorEnvironment("OneState-v0", [0])
    cuts = []
    for t in range(1, 41):
        step = environment.step(np.zeros((1, 1), np.float32))
        assert step.reward == 1 and not step.terminated
        if step.truncated:
            cuts.append(t)
    assert cuts == [OneState.MAX_EPISODE_STEPS * k for k in (1, 2, 3, 4)]
