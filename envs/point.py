"""Two tiny tasks with known answers, for tests and for trying out a method in seconds."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box


class Point(gymnasium.Env):
    """A point on the line that should go to its target and stay: `Point-v0`.

    Observation (1,): the position x in [-1, 1], at first uniform. Action (1,) in [-1, 1]:
    x <- clip(x + a / 4, -1, 1). Reward: -10 (x - 1/2)^2 after the move, so the scale of a step's
    reward is that of the MuJoCo tasks. Truncated after 20 steps, never terminated.

    Mean returns over 10,000 episodes: `best_action` -6, the same with normal noise of deviation 0.5
    and 1 on its actions -11 and -20, zero actions -118, uniformly random actions -124. *Solved*
    means a mean return above -25: a policy that knows the way, however noisy it is when there.
    """

    TARGET = 0.5
    SOLVED_RETURN = -25.0
    MAX_EPISODE_STEPS = 20

    def __init__(self, render_mode: None = None):
        self.observation_space = Box(-1, 1, (1,), np.float32)
        self.action_space = Box(-1, 1, (1,), np.float32)
        self.render_mode = render_mode
        self._position = 0.0

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self._position = float(self.np_random.uniform(-1, 1))
        return self._observation(), {}

    def step(self, action: np.ndarray):
        self._position = min(1.0, max(-1.0, self._position + float(action[0]) / 4))
        reward = -10 * (self._position - self.TARGET) ** 2
        return self._observation(), reward, False, False, {}

    def _observation(self) -> np.ndarray:
        return np.array([self._position], np.float32)

    @classmethod
    def best_action(cls, observation: np.ndarray) -> np.ndarray:
        """(n, 1) -> (n, 1): as far towards the target as the box allows."""
        return np.clip(4 * (cls.TARGET - observation), -1, 1)


class OneState(gymnasium.Env):
    """One state, reward 1 whatever is done, no end: `OneState-v0`.

    Observation (1,): always 0. Action (1,) in [-1, 1]: without effect. Truncated after 10 steps,
    never terminated, so the value is 1 / (1 - discount) at every step. A method that takes the time
    limit for an end of the task finds about (1 - discount^10) / (1 - discount) at most, 9.6 for
    100 at a discount of 0.99. *Solved* means a value within 1 % of 1 / (1 - discount); there is
    nothing else to learn.
    """

    MAX_EPISODE_STEPS = 10

    def __init__(self, render_mode: None = None):
        self.observation_space = Box(-1, 1, (1,), np.float32)
        self.action_space = Box(-1, 1, (1,), np.float32)
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray):
        return np.zeros(1, np.float32), 1.0, False, False, {}
