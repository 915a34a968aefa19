"""Running normalisation of observations and rewards, on the device and without waiting for it."""

import torch
from torch import Tensor


class RunningMoments:
    """Mean and variance of all rows seen so far, merged batch by batch in float64.

    Source of the merging: Chan, Golub & LeVeque (1979), "Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances".
    """

    EPSILON = 1e-8
    """Added to the variance before its root. Source: Stable-Baselines3's VecNormalize."""

    def __init__(self, size: int, device: torch.device):
        self.count = 0
        self.mean = torch.zeros(size, dtype=torch.float64, device=device)
        self.sum_of_squares = torch.zeros(size, dtype=torch.float64, device=device)
        """(size,): squared distances from the mean, summed."""
        self._refresh()

    def update(self, rows: Tensor) -> None:
        """Add n rows (n, size)."""
        n = rows.shape[0]
        rows = rows.to(torch.float64)
        variance, mean = torch.var_mean(rows, dim=0, correction=0)
        distance = mean - self.mean
        total = self.count + n
        self.mean = torch.add(self.mean, distance, alpha=n / total)
        self.sum_of_squares = torch.add(self.sum_of_squares, variance, alpha=n)
        self.sum_of_squares.addcmul_(distance, distance, value=self.count * n / total)
        self.count = total
        self._refresh()

    def _refresh(self) -> None:
        variance = self.sum_of_squares / self.count if self.count else self.sum_of_squares + 1
        scale = torch.rsqrt(variance + self.EPSILON)
        self.scale = scale.to(torch.float32)
        """(size,): one over the standard deviation; one before the first row."""
        self.shift = (-self.mean * scale).to(torch.float32)

    def standardise(self, rows: Tensor, limit: float) -> Tensor:
        """(n, size), centred, scaled and clipped to [-limit, limit]."""
        return torch.addcmul(self.shift, rows, self.scale).clamp(-limit, limit)

    def state_dict(self) -> dict:
        return {"count": self.count, "mean": self.mean, "sum_of_squares": self.sum_of_squares}

    def load_state_dict(self, state: dict) -> None:
        self.count = state["count"]
        self.mean = state["mean"].clone()
        self.sum_of_squares = state["sum_of_squares"].clone()
        self._refresh()


class RewardScale:
    """Rewards divided by the running standard deviation of the discounted return.

    The return of each environment runs forwards, R <- discount R + r, from 0 at each episode's
    start. Source: Engstrom et al. (2020), "Implementation Matters in Deep Policy Gradients".
    """

    def __init__(self, environments: int, discount: float, device: torch.device):
        self.discount = discount
        self.running_return = torch.zeros(environments, device=device)
        """(n,): the return so far, already discounted for the next step."""
        self.moments = RunningMoments(1, device)

    def update(self, reward: Tensor, ended: Tensor) -> None:
        """Add rewards (steps, n) and whether each ended its episode (steps, n)."""
        continues = (self.discount * ~ended).unbind()
        returns, carried = [], self.running_return
        for r, carries in zip(reward.unbind(), continues, strict=True):
            returns.append(r + carried)
            carried = returns[-1] * carries
        self.running_return = carried
        self.moments.update(torch.cat(returns)[:, None])

    def apply(self, reward: Tensor, limit: float) -> Tensor:
        """Rewards of any shape, scaled (not centred) and clipped to [-limit, limit]."""
        return (reward * self.moments.scale).clamp(-limit, limit)

    def state_dict(self) -> dict:
        return {"running_return": self.running_return, "moments": self.moments.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.running_return = state["running_return"].clone()
        self.moments.load_state_dict(state["moments"])
