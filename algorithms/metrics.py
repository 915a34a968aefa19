"""Training metrics over time: gathered on the device, read every few hundred updates."""

import sys
import time
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from algorithms.agent import Metrics

MOST_ROWS = 200
"""Rows of `metrics.csv`, whatever the length of the run."""
FEWEST_STEPS = 100
"""Vector steps between rows, at least: reading waits for the device."""
LINE_SECONDS = 60.0
"""Between lines of progress in a log."""


def steps_per_row(vector_steps: int) -> int:
    """Vector steps from one row to the next in a run of `vector_steps`."""
    return max(FEWEST_STEPS, -(-vector_steps // MOST_ROWS))


class Gathered:
    """Means over the vector steps since the last row."""

    def __init__(self):
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._on_face, self._components = 0, 0
        self._returns: list[float] = []

    def add(self, metrics: Metrics) -> None:
        """Add what `learn` returned; waits for nothing."""
        if not metrics:
            return
        if metrics.keys() <= self._sums.keys():
            sums = [self._sums[name] for name in metrics]
            torch._foreach_add_(sums, [value.detach() for value in metrics.values()])
        else:
            for name, value in metrics.items():
                value = value.detach()
                self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        for name in metrics:
            self._counts[name] = self._counts.get(name, 0) + 1

    def add_step(self, action: np.ndarray, returns: list[float]) -> None:
        """Add exploring actions (n, action) in [-1, 1] and the returns of episodes that ended."""
        self._on_face += int(np.count_nonzero(np.abs(action) >= 1))
        self._components += action.size
        self._returns += returns

    def read(self) -> dict[str, float | None]:
        """The means by name, and a fresh start; the one place that waits for the device."""
        means: dict[str, float | None] = {
            "action_on_face": self._on_face / self._components if self._components else None,
            "exploring_return": float(np.mean(self._returns)) if self._returns else None,
        }
        if self._sums:
            sums = torch.stack(list(self._sums.values())).tolist()
            for (name, count), total in zip(self._counts.items(), sums, strict=True):
                means[name] = total / count
        self.__init__()
        return means

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def rounded(value: float | None, digits: int = 7) -> float | None:
    """To significant digits: those of float32, which metrics are in."""
    return None if value is None else float(f"{value:.{digits}g}")


class Progress:
    """A bar on a terminal, plain lines in a log; both with the time that is left."""

    def __init__(self, total: int, done: int, name: str, stream: TextIO = sys.stderr):
        """`total` transitions of a run, of which `done` are done already."""
        self._total, self._name, self._stream = total, name, stream
        self._bar = None
        if stream.isatty():
            self._bar = tqdm(
                total=total,
                initial=done,
                desc=name,
                unit=" transitions",
                file=stream,
                smoothing=0.1,
            )
        self._told_at, self._told = time.monotonic(), done

    def update(self, done: int, notes: dict[str, Any]) -> None:
        """Show how far the run is; cheap enough for every vector step."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            if notes:
                self._bar.set_postfix(notes, refresh=False)
            return
        now = time.monotonic()
        if now - self._told_at < LINE_SECONDS:
            return
        # The rate since the last line: warm-up is many times faster than what follows.
        rate = (done - self._told) / (now - self._told_at)
        left = tqdm.format_interval((self._total - done) / rate) if rate > 0 else "?"
        told = "".join(f", {name} {value}" for name, value in notes.items())
        share = 100 * done / self._total
        self.say(
            f"{done} of {self._total} transitions ({share:.0f} %), {rate:.1f} a second, "
            f"{left} left{told}"
        )
        self._told_at, self._told = now, done

    def say(self, line: str) -> None:
        """A line of its own."""
        line = f"{self._name}: {line}"
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
