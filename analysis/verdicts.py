"""From estimates to a verdict: pure functions of intervals and declared regions.

A claim speaks of every one of its cells (environments, landscapes, ...). It is supported if each
interval lies where the claim needs it, and not supported if any cell refutes it after Holm's
correction, since any one of them would do. All else is inconclusive.
"""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from analysis import statistics
from analysis.statistics import Interval

SUPPORTED, NOT_SUPPORTED = "supported", "not supported"
INCONCLUSIVE, NOT_TESTED = "inconclusive", "not tested"
VERDICTS = (SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE, NOT_TESTED)
LEVEL = 1 - statistics.CONFIDENCE
MOST_NAMES = 6
"""Of cells in one reason; all of them stand in the evidence."""


class Region(NamedTuple):
    """An open interval of the real line."""

    low: float = -math.inf
    high: float = math.inf
    value_at_most: float = math.inf
    """Where the estimate itself has to lie as well."""

    def holds(self, interval: Interval) -> bool:
        """Whether the whole interval lies in it; never without an interval."""
        inside = interval.low > self.low and interval.high < self.high
        return bool(inside and interval.value <= self.value_at_most)

    def scaled(self, unit: float) -> "Region":
        """With bounds in units of `unit` > 0."""
        return Region(*(bound * unit for bound in self))


@dataclasses.dataclass(frozen=True)
class Cell:
    """One estimate that a claim speaks of."""

    name: str
    """Such as `Hopper-v4`; empty where a claim has one cell."""
    interval: Interval
    """NaN bounds where the replicates are too few for one to enter."""
    support: Region
    refutation: Region | None = None
    """Where the claim does not hold; None: everywhere outside of `support`."""
    degrees_of_freedom: float = math.nan
    p_value: float = math.nan
    """Of the nearest bound, where it is known; else it follows from the interval."""
    is_ratio: bool = False
    """Whether the interval is one of a logarithm."""
    is_exact: bool = False
    """A count, which has no uncertainty."""
    detectable: float = math.nan
    """Smallest difference (for ratios: factor) that the replicates could have shown."""
    replicates: float = math.nan
    untested: str = ""
    """Why the estimate means nothing, where it does not."""
    row: Any = None
    """What it was read from."""

    @property
    def has_interval(self) -> bool:
        return not math.isnan(self.interval.low)

    @property
    def is_supported(self) -> bool:
        return self.support.holds(self.interval)

    def bound(self) -> float | None:
        """The bound that the estimate lies beyond, if it speaks against the claim."""
        value = self.interval.value
        if self.refutation is not None:
            low, high, _ = self.refutation
            bound = low if math.isfinite(low) else high
            return bound if low < value < high else None
        if value <= self.support.low:
            return self.support.low
        return self.support.high if value >= self.support.high else None

    def refutation_p_value(self) -> float:
        """Two-sided, of the claim's bound; 1 where the estimate speaks for the claim, NaN where
        nothing can be said."""
        bound = self.bound()
        if math.isnan(self.interval.value):
            return math.nan
        if self.is_exact:
            return 1.0 if bound is None else 0.0
        if not self.has_interval:
            return math.nan
        if bound is None:
            return 1.0
        if not math.isnan(self.p_value):
            return self.p_value
        return statistics.p_value_at(*self._on_a_line(bound), self.degrees_of_freedom)

    def _on_a_line(self, bound: float) -> tuple[float, Interval]:
        if not self.is_ratio:
            return bound, self.interval
        logarithm = [math.log(x) if x > 0 else -math.inf for x in (bound, *self.interval)]
        return logarithm[0], Interval(*logarithm[1:])

    def excludes_support(self) -> bool:
        """Whether the whole interval lies where the claim does not hold."""
        bound = self.bound()
        if bound is None or not self.has_interval:
            return False
        if self.refutation is not None:
            return self.refutation.holds(self.interval)
        low, high = self.interval.low, self.interval.high
        # At the bound itself the claim does not hold, which matters where there is no width.
        return high <= bound if bound == self.support.low else low >= bound

    def margin(self) -> float:
        """How far the estimate lies on the claim's side, in half widths of its interval; in its own
        units where there is none."""
        value = self.interval.value
        bounds = (self.support.low, self.support.high, self.support.value_at_most)
        inside = min(value - bounds[0], bounds[1] - value, bounds[2] - value)
        width = (self.interval.high - self.interval.low) / 2
        return inside / width if width > 0 else inside


class Decision(NamedTuple):
    """A verdict, the cell that weighs most against the claim, and why."""

    verdict: str
    weakest: Cell | None
    holding: int
    """Cells whose interval lies where the claim needs it."""
    reason: str


def decide(cells: Sequence[Cell]) -> Decision:
    """The verdict on a claim that speaks of all `cells` (at least one)."""
    known = [cell for cell in cells if not math.isnan(cell.interval.value)]
    holding = sum(cell.is_supported for cell in cells)
    if not known:
        return Decision(NOT_TESTED, None, 0, "")
    if all(cell.untested for cell in known):
        return Decision(NOT_TESTED, known[0], 0, known[0].untested)
    tested = [cell for cell in known if not cell.untested]
    # Half widths and bare distances cannot be held against each other.
    sized = [cell for cell in tested if cell.has_interval or cell.is_exact]
    weakest = min(sized or tested, key=Cell.margin)
    if holding == len(cells):
        told = "the interval lies where the claim needs it"
        if weakest.is_exact:
            told = "counted"
        if len(cells) > 1:
            told = f"all {len(cells)} hold; weakest: {weakest.name}"
        return Decision(SUPPORTED, weakest, holding, told)
    refuted = _refuted(cells)
    if refuted:
        names = _names(refuted)
        told = "the interval lies on the other side"
        if len(cells) > 1:
            counts = f"{len(refuted)} of {len(cells)} after Holm's correction"
            told = f"refuted in {counts}: {names}; {holding} {'holds' if holding == 1 else 'hold'}"
        elif names:
            told = f"refuted on {names}"
        if refuted[0].is_exact:
            told = f"counted: not on {names}" if names else "counted"
        return Decision(NOT_SUPPORTED, refuted[0], holding, told)
    return Decision(INCONCLUSIVE, weakest, holding, _why_not(cells, holding))


def _refuted(cells: Sequence[Cell]) -> list[Cell]:
    """Cells that refute the claim, the most certain first."""
    if len(cells) == 1:
        return [cell for cell in cells if cell.excludes_support()]
    adjusted = statistics.holm([cell.refutation_p_value() for cell in cells])
    found = [(p, k) for k, p in enumerate(adjusted) if p < LEVEL]
    return [cells[k] for _, k in sorted(found)]


def _why_not(cells: Sequence[Cell], holding: int) -> str:
    parts = []
    absent = [cell for cell in cells if _is_absent(cell) and not cell.untested]
    untested = defaultdict(list)
    for cell in cells:
        if cell.untested:
            # What stands in brackets are counts, one cell's.
            untested[cell.untested.partition(" (")[0]].append(cell)
    known = [cell for cell in cells if not (cell.untested or _is_absent(cell))]
    bare = [cell for cell in known if not cell.has_interval]
    open_ = [cell for cell in known if cell.has_interval and not cell.is_supported]
    beyond = [cell for cell in open_ if cell.excludes_support()]
    spanning = [cell for cell in open_ if not cell.excludes_support()]
    if len(cells) > 1:
        parts.append(f"{holding} of {len(cells)} hold")
    # Each reason names some of its cells, the fewer the more reasons there are.
    reasons = sum(map(bool, (absent, bare, spanning, beyond))) + len(untested)
    most = max(MOST_NAMES // max(reasons, 1), 1)
    if absent:
        parts.append(f"no value: {_names(absent, most)}")
    for reason, those in untested.items():
        told = reason if len(those) > 1 else those[0].untested
        parts.append(f"{told} on {_names(those, most)}")
    if bare:
        counts = sorted({cell.replicates for cell in bare if not math.isnan(cell.replicates)})
        is_few = bool(counts) and counts[0] < statistics.MINIMUM_SEEDS
        told = "too few replicates for an interval" if is_few else "no interval"
        few = f" ({counts[0]:.0f} at the fewest)" if is_few else ""
        where = f" on {_names(bare, most)}" if _names(bare) else ""
        parts.append(f"{told}{where}{few}")
    if spanning:
        where = f" on {_names(spanning, most)}" if _names(spanning) else ""
        parts.append(f"the interval spans the bound{where}")
    if beyond:  # one of several: alone it would refute
        parts.append(f"beyond the bound, but not after Holm's correction: {_names(beyond, most)}")
    return "; ".join(parts)


def _is_absent(cell: Cell) -> bool:
    return math.isnan(cell.interval.value)


def _names(cells: Sequence[Cell], most: int = MOST_NAMES) -> str:
    names = [cell.name for cell in cells if cell.name]
    if len(names) > most:
        shown = max(most - 1, 1)
        names = [*names[:shown], f"{len(names) - shown} more"]
    return ", ".join(names)
