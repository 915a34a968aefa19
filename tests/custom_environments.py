"""Environments with whims of their own, and what the tests of environments share."""

import warnings

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from envs import sizes


class Custom(gymnasium.Env):
    """Echoes its action as observation; spaces and whims by keyword."""

    def __init__(self, observations=None, actions=None, whim=None, render_mode=None):
        self.observation_space = observations or Box(-np.inf, np.inf, (4,), np.float64)
        self.action_space = actions or Box(-1, 1, (4,), np.float32)
        self.whim = whim
        if whim == "warns":
            warnings.warn("the moon is full", DeprecationWarning, stacklevel=1)
        if whim == "fails":
            raise RuntimeError("no\nlicence")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.private = np.random.default_rng(seed)
        self.total = np.zeros(4)
        return np.zeros(4), {}

    def step(self, action):
        observation = np.asarray(action, np.float64).ravel().copy()
        if self.whim == "clock":
            observation[0] = next(_clock)
        if self.whim == "sums":
            self.total = self.total + observation
            observation = self.total
        if self.whim == "private":
            observation[0] = self.private.random()
        if self.whim == "mutates":
            action[:] = 7
        return observation, 0.0, bool(np.all(np.asarray(action) == -1)), False, {}


_clock = iter(range(1_000_000))


def custom(name, limit=50, **arguments):
    """Register a `Custom` under a name of its own; returns its id."""
    gymnasium.register(f"{name}-v0", Custom, kwargs=arguments, max_episode_steps=limit)
    return f"{name}-v0"


CUSTOM = {
    "plain": custom("Plain"),
    "skewed": custom("Skewed", actions=Box(np.float32([0, -1, 2, -3]), np.float32([3, 5, 2.5, 3]))),
    "matrix": custom("Matrix", actions=Box(-2, 2, (2, 2), np.float64)),
    "clock": custom("Clock", whim="clock"),
    "private": custom("Private", whim="private"),
    "mutates": custom("Mutates", whim="mutates"),
    "endless": custom("Endless", whim="sums", limit=None),
    "warns": custom("Warns", whim="warns"),
    "fails": custom("Fails", whim="fails"),
    "unbounded": custom("Unbounded", actions=Box(-1, np.inf, (4,), np.float32)),
    "integers": custom("Integers", actions=Box(0, 3, (4,), np.int64)),
    "image": custom("Image", observations=Box(0, 255, (4, 4), np.uint8)),
    "parts": custom("Parts", observations=Dict(x=Box(-1, 1, (2,)))),
}


def random_actions(env_id, steps, n, seed=0):
    """(steps, n, action) in [-1, 1]."""
    generator = np.random.default_rng(seed)
    return generator.uniform(-1, 1, (steps, n, sizes(env_id)[1])).astype(np.float32)


def equal(first, second):
    """Whether two `Step`s hold the same bits."""
    return all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))
