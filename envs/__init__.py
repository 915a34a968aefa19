"""Environments: vectors of them, and the suite's own. Importing this registers the latter."""

from gymnasium import register

from envs.point import OneState, Point
from envs.vector import EnvironmentRefused, Step, VectorEnvironment, sizes

register("MultimodalBandit-v0", "envs.bandit:MultimodalBandit")
register("FarModeBandit-v0", "envs.bandit:FarModeBandit")
register("Point-v0", "envs.point:Point", max_episode_steps=Point.MAX_EPISODE_STEPS)
register("OneState-v0", "envs.point:OneState", max_episode_steps=OneState.MAX_EPISODE_STEPS)

__all__ = ["EnvironmentRefused", "Step", "VectorEnvironment", "sizes"]
