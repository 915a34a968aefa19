"""Gymnasium environments side by side, with true final observations and a replayable state.

The trajectories are those of `gymnasium.make`, to the bit. Two things differ from Gymnasium's own
vector environments: where an episode ends, the next one begins in the same step, with both
observations at hand; and the state can be saved and restored to the bit.
"""

import contextlib
import difflib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import OrderEnforcing, TimeLimit


class EnvironmentRefused(ValueError):
    """An environment that the suite cannot run; one line that says which and why."""


class Step(NamedTuple):
    """What one vector step of n environments brought."""

    next_observation: np.ndarray
    """(n, observation) float32; where an episode ended, its true final one."""
    reward: np.ndarray
    """(n,) float32"""
    terminated: np.ndarray
    """(n,) bool: the task ended; nothing follows."""
    truncated: np.ndarray
    """(n,) bool: a time limit cut the episode."""
    episode_return: np.ndarray
    """(n,) float64, undiscounted sum over the episode that ended here; 0 where none did."""
    episode_length: np.ndarray
    """(n,) int64, steps of the episode that ended here; 0 where none did."""


@cache
def sizes(env_id: str) -> tuple[int, int]:
    """(observation size, action size) of an environment that the suite can run.

    Raises EnvironmentRefused if the id is not known or its spaces do not fit.
    """
    environment = _make(env_id)
    observations, actions = environment.observation_space, environment.action_space
    environment.close()
    return math.prod(observations.shape), math.prod(actions.shape)


class VectorEnvironment:
    """n copies of an environment, stepped one after the other in this process.

    `observation` (n, observation) float32 is what to act on now. Arrays that are handed out are
    never written again, so they may be kept.
    """

    def __init__(self, env_id: str, seeds: Sequence[int]):
        """One copy for each seed, at least one. Raises EnvironmentRefused as `sizes` does."""
        if len(seeds) == 0:
            raise ValueError(f"{env_id}: a vector of environments needs at least one seed")
        self.env_id = env_id
        self._copies = [_Copy(env_id) for _ in seeds]
        space = self._copies[0].environment.action_space
        self._low, self._high = space.low, space.high
        self._centre = ((space.high / 2) + (space.low / 2)).astype(space.dtype)
        self._half_width = ((space.high / 2) - (space.low / 2)).astype(space.dtype)
        self._is_centred = not self._centre.any()
        self._action_size = math.prod(space.shape)
        self.observation = np.stack(
            [copy.reset(int(seed)) for copy, seed in zip(self._copies, seeds, strict=True)]
        )

    def step(self, action: np.ndarray) -> Step:
        """Advance every copy by `action` (n, action) in [-1, 1], rescaled to the environment's box.

        Raises ValueError for an action of another shape, outside of the box or not finite.
        """
        native = self._to_native(action)
        n = len(self._copies)
        next_observation = np.empty_like(self.observation)
        reward = np.empty(n, np.float32)
        terminated, truncated = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
        episode_return, episode_length = np.zeros(n), np.zeros(n, np.int64)
        ended = []
        for i, copy in enumerate(self._copies):
            next_observation[i], reward[i], is_terminal, is_cut = copy.step(native[i])
            if is_terminal or is_cut:
                terminated[i], truncated[i] = is_terminal, is_cut
                episode_return[i], episode_length[i] = copy.episode_return, copy.length
                ended.append(i)
        self.observation = next_observation
        if ended:
            self.observation = next_observation.copy()
            for i in ended:
                self.observation[i] = self._copies[i].reset()
        return Step(next_observation, reward, terminated, truncated, episode_return, episode_length)

    def _to_native(self, action: np.ndarray) -> np.ndarray:
        """(n, action) in [-1, 1] -> (n, *shape of the environment's box), in its own dtype."""
        expected = (len(self._copies), self._action_size)
        if action.shape != expected:
            raise ValueError(f"{self.env_id}: actions of shape {action.shape}, not {expected}")
        if not np.abs(action).max() <= 1:  # written so that NaN is caught as well
            raise ValueError(f"{self.env_id}: an action outside of [-1, 1] or not finite: {action}")
        native = action.reshape(len(self._copies), *self._low.shape) * self._half_width
        if self._is_centred:
            return native.astype(self._low.dtype, copy=False)
        return np.clip((native + self._centre).astype(self._low.dtype), self._low, self._high)

    def state_dict(self) -> dict[str, Any]:
        """Generators at the last reset and actions since, as plain values and NumPy arrays.

        MuJoCo's integration state would not do: the rewards of Ant and Humanoid read `xpos` and
        `xipos`, which it lacks, and their next reward would differ.
        """
        return {
            "env_id": self.env_id,
            "observation": self.observation.copy(),
            "copies": [copy.state_dict() for copy in self._copies],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`: resets and replays; O(steps since the last resets).

        Raises RuntimeError if the replay does not end in the saved observations to the bit (an
        environment that is not deterministic, or another version of it).
        """
        if state["env_id"] != self.env_id or len(state["copies"]) != len(self._copies):
            raise RuntimeError(
                f"the saved state is of {len(state['copies'])} copies of {state['env_id']}, "
                f"not of {len(self._copies)} of {self.env_id}"
            )
        observation = np.stack(
            [
                copy.load_state_dict(saved)
                for copy, saved in zip(self._copies, state["copies"], strict=True)
            ]
        )
        if observation.tobytes() != np.asarray(state["observation"], np.float32).tobytes():
            raise RuntimeError(
                f"{self.env_id}: replaying the saved actions ends in another observation; the "
                "environment is not deterministic, or not the version that was saved"
            )
        self.observation = observation

    def close(self) -> None:
        """Release what the environments hold."""
        for copy in self._copies:
            copy.environment.close()


class _Copy:
    """One environment, its running episode and what replays it."""

    def __init__(self, env_id: str):
        self.environment = _make(env_id)
        self._step, self._reset, self._limit = _fast_path(self.environment)
        self._seed: int | None = None
        self._generator: dict[str, Any] | None = None
        self._actions = np.empty((0, *self.environment.action_space.shape), np.float32)
        self.length = 0
        self.episode_return = 0.0

    def reset(self, seed: int | None = None) -> np.ndarray:
        """Begin an episode; (observation,) float32. Without a seed, the generator goes on."""
        # `reset(seed=...)` may do more than seed the generator: a seeded reset is kept as its seed.
        random = None if seed is not None else self._random().state
        return self._reset_from(seed, random)

    def _reset_from(self, seed: int | None, generator: dict[str, Any] | None) -> np.ndarray:
        self._seed, self._generator = seed, generator
        observation, _ = self._reset(seed=seed)
        self.length, self.episode_return = 0, 0.0
        return np.asarray(observation, np.float32)

    def _random(self) -> np.random.BitGenerator:
        return self.environment.unwrapped.np_random.bit_generator

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool]:
        """(observation, reward, terminated, truncated) after `action` in the environment's box."""
        if self.length == len(self._actions):
            grown = np.empty((2 * self.length or 1024, *action.shape), action.dtype)
            grown[: self.length] = self._actions
            self._actions = grown
        self._actions[self.length] = action
        observation, reward, terminated, truncated, _ = self._step(action)
        self.length += 1
        self.episode_return += float(reward)
        return observation, reward, terminated, truncated or self.length >= self._limit

    def state_dict(self) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "generator": self._generator,
            "actions": self._actions[: self.length].copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> np.ndarray:
        """Reset and replay; the observation (observation,) float32 that the replay ends in."""
        if state["generator"] is not None:
            self._random().state = state["generator"]
        observation = self._reset_from(state["seed"], state["generator"])
        for action in np.asarray(state["actions"]):
            observation, *_ = self.step(action)
        return np.asarray(observation, np.float32)


def _fast_path(environment: gymnasium.Env) -> tuple[Callable, Callable, float]:
    """(step, reset, time limit in steps) without the layers that Gymnasium puts around.

    Only the two that it puts around every environment are taken off: the order of calls is ours to
    keep, and the limit is counted by the caller. Whatever else is there stays.
    """
    inner, limit = environment, math.inf
    if type(inner) is TimeLimit:
        inner, limit = inner.env, inner._max_episode_steps
    if type(inner) is OrderEnforcing:
        inner = inner.env
    return inner.step, inner.reset, limit


def _make(env_id: str) -> gymnasium.Env:
    """An environment whose spaces fit; raises EnvironmentRefused otherwise."""
    try:
        gymnasium.spec(env_id)
    except (gymnasium.error.Error, ImportError):
        near = difflib.get_close_matches(env_id, gymnasium.registry, n=1, cutoff=0.0)
        hint = f"; the nearest known one is '{near[0]}'" if near else ""
        raise EnvironmentRefused(f"unknown environment '{env_id}'{hint}") from None
    try:
        with _quiet_making(env_id):
            environment = gymnasium.make(env_id, disable_env_checker=True)
    except Exception as error:  # a constructor may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EnvironmentRefused(f"environment '{env_id}' cannot be made: {reason}") from None
    reason = _reason_to_refuse(environment.observation_space, environment.action_space)
    if reason:
        environment.close()
        raise EnvironmentRefused(f"environment '{env_id}' is refused: {reason}")
    return environment


def _reason_to_refuse(observations: gymnasium.Space, actions: gymnasium.Space) -> str | None:
    """Why an algorithm for flat observations and boxes of actions cannot run there."""
    if not isinstance(actions, Box):
        return f"its actions are {actions}, not a box"
    if not np.issubdtype(actions.dtype, np.floating):
        return f"its actions are a box of {actions.dtype}, not of real numbers"
    if not actions.is_bounded():
        return "its box of actions is not bounded"
    if math.prod(actions.shape) == 0:
        return "its box of actions is empty"
    if not isinstance(observations, Box):
        return f"its observations are {type(observations).__name__}, not a flat box"
    if len(observations.shape) != 1 or observations.shape[0] == 0:
        return f"its observations have shape {observations.shape}, not that of a flat box"
    return None


_made: set[str] = set()


@contextlib.contextmanager
def _quiet_making(env_id: str) -> Iterator[None]:
    """Drop Gymnasium's remark that v4 is out of date (v4 is meant), and nothing else.

    MuJoCo writes to MUJOCO_LOG.TXT in the working folder; here it writes to stderr only, and what
    it says of a model (HalfCheetah's uses a deprecated attribute) it says once a process.
    """
    import mujoco

    configuration = mujoco.MjLogConfig.get()
    to_console = configuration.logto_console
    configuration.logto_file = False
    configuration.logto_console = to_console and env_id not in _made
    configuration.set()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is out of date", DeprecationWarning)
            yield
    finally:
        configuration.logto_console = to_console
        configuration.set()
        _made.add(env_id)
