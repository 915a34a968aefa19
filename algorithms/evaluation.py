"""Episodes of a policy, the same for every algorithm."""

import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from algorithms.agent import Agent
from algorithms.device import to_device, to_host
from algorithms.randomness import child
from envs import VectorEnvironment, sizes


class Episode(NamedTuple):
    """One evaluation episode."""

    episode: int
    """Its place in the list of seeds, from 0."""
    return_: float
    """Undiscounted sum of rewards."""
    length: int
    """Environment steps."""


class NotFinite(ArithmeticError):
    """Something stopped being finite: the run ends as `diverged`, with these two."""

    def __init__(self, update: int, tensor: str):
        super().__init__(f"'{tensor}' is not finite at update {update}")
        self.update = update
        self.tensor = tensor


def evaluation_seeds(run_seed: int, evaluation_index: int, episodes: int) -> list[int]:
    """Seeds of the episodes of a run's k-th evaluation, the same for every algorithm."""
    sequence = child(run_seed, "evaluation_episodes", evaluation_index)
    return [int(word >> 1) for word in sequence.generate_state(episodes, np.uint64)]


def evaluate(
    agent: Agent, env_id: str, seeds: Sequence[int], device: torch.device
) -> list[Episode]:
    """One episode of `agent.act(..., explore=False)` from each seed, all side by side.

    The batch keeps its shape to the end (compiled code is compiled for fixed shapes): an
    environment whose episode is over goes on and is not counted. The agent draws from its
    `evaluation` generator alone, which the caller seeds.

    Raises NotFinite if the agent's latch has tripped, with what it names; if an action of a counted
    episode is not finite (`evaluation_action`); or if a return is not (`evaluation_return`).
    """

    def policy(observation: np.ndarray, is_over: np.ndarray) -> np.ndarray:
        action, flag = to_host(
            agent.act(to_device(observation, device), explore=False), agent.finite.flag
        )
        failure = agent.finite.describe(flag)
        if failure is not None:
            raise NotFinite(*failure)
        action[is_over] = 0
        if not np.isfinite(action).all():
            raise NotFinite(agent.updates, "evaluation_action")
        return action

    episodes = _episodes(env_id, seeds, policy)
    if not all(np.isfinite(episode.return_) for episode in episodes):
        raise NotFinite(agent.updates, "evaluation_return")
    return episodes


def random_policy_returns(env_id: str, seeds: Sequence[int]) -> list[Episode]:
    """Episodes of uniformly random actions: each has its own generator, seeded by its seed."""
    key = (zlib.crc32(b"random policy"),)
    generators = [
        np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key)) for seed in seeds
    ]

    def policy(observation: np.ndarray, is_over: np.ndarray) -> np.ndarray:
        return np.stack([g.uniform(-1, 1, action_size) for g in generators]).astype(np.float32)

    _, action_size = sizes(env_id)
    return _episodes(env_id, seeds, policy)


def constant_policy_returns(
    env_id: str, seeds: Sequence[int], action: float | Sequence[float] = 0.0
) -> list[Episode]:
    """Episodes of one action in [-1, 1], for each dimension or for all of them; by default none."""
    constant = np.broadcast_to(np.float32(action), (len(seeds), sizes(env_id)[1]))
    return _episodes(env_id, seeds, lambda observation, is_over: constant)


def _episodes(
    env_id: str,
    seeds: Sequence[int],
    policy: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> list[Episode]:
    """First episode from each seed under `policy(observation (n, obs), is_over (n,))`."""
    environment = VectorEnvironment(env_id, seeds)
    finished: dict[int, Episode] = {}
    is_over = np.zeros(len(seeds), np.bool_)
    try:
        while not is_over.all():
            step = environment.step(policy(environment.observation, is_over))
            ends = (step.terminated | step.truncated) & ~is_over
            for i in np.flatnonzero(ends).tolist():
                finished[i] = Episode(i, float(step.episode_return[i]), int(step.episode_length[i]))
            is_over |= ends
    finally:
        environment.close()
    return [finished[i] for i in range(len(seeds))]
