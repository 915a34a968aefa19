"""One `SeedSequence` a run, a named child for each consumer. Nothing reads a global generator."""

import zlib

import numpy as np
import torch

from algorithms.device import generator_on

AGENT_CONSUMERS = ("network", "actions", "evaluation", "replay", "warm_up", "update")
"""Consumers inside an agent, each with a torch generator on the agent's device."""

LOOP_CONSUMERS = ("environments", "evaluation_episodes")
"""Consumers outside of it, which seed environments through NumPy."""


def child(seed: int, consumer: str, *indices: int) -> np.random.SeedSequence:
    """The child sequence of a named consumer. Keyed by name, so that a new consumer moves none."""
    if consumer not in AGENT_CONSUMERS + LOOP_CONSUMERS:
        raise KeyError(f"unknown consumer of randomness: {consumer}")
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(consumer.encode()), *indices))


def integer_seed(sequence: np.random.SeedSequence) -> int:
    """A 63-bit seed for `torch.Generator.manual_seed` or `Env.reset`."""
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def agent_generators(device: torch.device, seed: int) -> dict[str, torch.Generator]:
    """A generator on `device` for every consumer of an agent."""
    return {name: generator_on(device, integer_seed(child(seed, name))) for name in AGENT_CONSUMERS}
