"""Environments: vectors of them, and the suite's own. Importing this registers the latter."""

from envs.vector import EnvironmentRefused, Step, VectorEnvironment, sizes

__all__ = ["EnvironmentRefused", "Step", "VectorEnvironment", "sizes"]
