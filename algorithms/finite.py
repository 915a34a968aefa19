"""Latches the first tensor that stopped being finite, on the device, without waiting for it."""

import torch
from torch import Tensor


class FiniteLatch:
    """Remembers the first update and the first tensor in it with a NaN or an infinity.

    `flag` is read by the loop together with the next action, so that a check costs no
    synchronisation of its own.
    """

    def __init__(self, device: torch.device):
        self.names: list[str] = []
        self.flag = torch.full((2,), -1.0, dtype=torch.float64, device=device)
        """(2,): update and index into `names`, both -1 while everything was finite."""

    def check(self, update: int, **tensors: Tensor) -> None:
        """Look at tensors of any shape, in the order given (which should be that of computation:
        the first of them that is not finite is the one that is named)."""
        for name, tensor in tensors.items():
            if name not in self.names:
                self.names.append(name)
            # A sum is finite iff all terms are (short of overflow), and costs one pass.
            is_bad = ~torch.isfinite(tensor.detach().sum())
            candidate = torch.tensor(
                [float(update), float(self.names.index(name))], dtype=torch.float64
            ).to(self.flag.device, non_blocking=True)
            self.flag = torch.where(is_bad & (self.flag[0] < 0), candidate, self.flag)

    def check_history(self, first_update: int, **columns: Tensor) -> None:
        """Look at several consecutive updates at once: columns (updates,), in the order in which
        an update computes them, for methods whose updates are too small to be checked one by
        one."""
        for name in columns:
            if name not in self.names:
                self.names.append(name)
        is_bad = ~torch.isfinite(torch.stack([c.detach() for c in columns.values()], dim=1))
        where = is_bad.flatten().to(torch.uint8).argmax()
        update = first_update + where.div(len(columns), rounding_mode="floor")
        indices = torch.tensor([self.names.index(name) for name in columns], dtype=torch.int64)
        index = indices.to(self.flag.device, non_blocking=True)[where % len(columns)]
        candidate = torch.stack([update, index]).to(self.flag.dtype)
        self.flag = torch.where(is_bad.any() & (self.flag[0] < 0), candidate, self.flag)

    def describe(self, flag: list[float]) -> tuple[int, str] | None:
        """(update, tensor's name) from the host's copy of `flag`, or None."""
        update, index = flag
        return None if update < 0 else (int(update), self.names[int(index)])
