"""Latches the first tensor that stopped being finite, on the device, without waiting for it."""

import torch
from torch import Tensor


class FiniteLatch:
    """Remembers the first update and the first tensor in it with a NaN or an infinity.

    `flag` is read by the loop together with the next action, so that a check costs no
    synchronisation of its own.
    """

    def __init__(self, device: torch.device):
        self._offsets: dict[tuple[str, ...], int] = {}
        self._names: list[str] = []
        self.flag = torch.full((2,), -1.0, dtype=torch.float64, device=device)
        """(2,): update and number of the tensor, both -1 while everything was finite."""

    @torch.no_grad()
    def check(self, update: int, **tensors: Tensor) -> None:
        """Look at tensors of any shape, in the order given (which should be that of computation:
        the first of them that is not finite is the one that is named)."""
        names = tuple(tensors)
        if names not in self._offsets:
            for name, tensor in tensors.items():
                if not isinstance(tensor, Tensor):
                    raise TypeError(f"{name} is of {type(tensor)}; show a tensor, on the device")
            self._offsets[names] = len(self._names)
            self._names.extend(names)
        # A sum is finite iff all its terms are (short of overflow), and takes one pass.
        sums = torch.stack([tensor.sum(dtype=torch.float64) for tensor in tensors.values()])
        bad = ~torch.isfinite(sums)
        first = bad.to(torch.int8).argmax() + self._offsets[names]
        found = torch.stack([torch.full_like(self.flag[0], update), first.to(self.flag.dtype)])
        self.flag = torch.where(bad.any() & (self.flag[0] < 0), found, self.flag)

    @torch.no_grad()
    def check_history(self, first_update: int, **columns: Tensor) -> None:
        """`check` of consecutive updates at once, from columns (updates,): for methods whose
        updates are too small to be looked at one by one."""
        names = tuple(columns)
        if names not in self._offsets:
            self._offsets[names] = len(self._names)
            self._names.extend(names)
        bad = ~torch.isfinite(torch.stack(list(columns.values()), dim=1)).flatten()
        first = bad.to(torch.int8).argmax()
        update = first.div(len(names), rounding_mode="floor") + first_update
        number = first % len(names) + self._offsets[names]
        found = torch.stack([update, number]).to(self.flag.dtype)
        self.flag = torch.where(bad.any() & (self.flag[0] < 0), found, self.flag)

    def describe(self, flag: list[float]) -> tuple[int, str] | None:
        """(update, tensor's name) from the host's copy of `flag`, or None."""
        update, index = flag
        return None if update < 0 else (int(update), self._names[int(index)])


def parameter_norm(module: torch.nn.Module) -> Tensor:
    """Norm of all parameters: not finite iff one of them is not. One number to show the latch."""
    return torch.nn.utils.get_total_norm([p.detach() for p in module.parameters()])
