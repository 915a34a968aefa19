"""Uniform replay of transitions, on the device."""

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Transitions drawn uniformly, with replacement. Truncated ends are kept as what they are:
    not ends. So there is no `truncated` here, and `next_observation` is the true one."""

    observation: Tensor
    """(batch, observation)"""
    action: Tensor
    """(batch, action)"""
    reward: Tensor
    """(batch,)"""
    terminated: Tensor
    """(batch,) bool"""
    next_observation: Tensor
    """(batch, observation)"""


class Replay:
    """A ring of at most `capacity` transitions; the oldest go first."""

    def __init__(
        self, capacity: int, observation_size: int, action_size: int, device: torch.device
    ):
        """Untouched pages of `torch.empty` take no memory, so capacity costs only when filled."""
        self.capacity = capacity
        self.size = 0
        self.position = 0
        self._stored = Batch(
            torch.empty(capacity, observation_size, device=device),
            torch.empty(capacity, action_size, device=device),
            torch.empty(capacity, device=device),
            torch.empty(capacity, dtype=torch.bool, device=device),
            torch.empty(capacity, observation_size, device=device),
        )

    def add(self, transitions: Batch) -> None:
        """Append n transitions, n at most the capacity."""
        n = transitions.reward.shape[0]
        first = min(n, self.capacity - self.position)
        for stored, new in zip(self._stored, transitions, strict=True):
            stored[self.position : self.position + first] = new[:first]
            if first < n:
                stored[: n - first] = new[first:]
        self.position = (self.position + n) % self.capacity
        self.size = min(self.size + n, self.capacity)

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        """`batch_size` transitions, uniform over what is stored."""
        device = self._stored.reward.device
        index = torch.randint(self.size, (batch_size,), generator=generator, device=device)
        return Batch(*(stored[index] for stored in self._stored))

    def state_dict(self) -> dict:
        """Only the filled part; O(size)."""
        filled = {name: t[: self.size] for name, t in self._stored._asdict().items()}
        return {"position": self.position, "size": self.size, "filled": filled}

    def load_state_dict(self, state: dict) -> None:
        self.position, self.size = state["position"], state["size"]
        for name, stored in self._stored._asdict().items():
            stored[: self.size] = state["filled"][name]
