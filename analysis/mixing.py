"""Derives `mixing.csv` from the record of the probe of mixing.

    python -m analysis.mixing [--records DIR] [--output FILE]

One row each, with an interval over repeats of independent chains:

- `evaluations`: gradient evaluations until the error of the mode weight is under the threshold and
  stays there (`analysis.probes.crossing`); a repeat that never gets there counts as the budget and
  is counted in `censored`, so that the mean is a restricted one.
- `evaluations_ratio`: of the sampler's to the comparator's.
- `growth_exponent`: k in evaluations ~ dimension^k by least squares of logarithms over all
  dimensions; its `repeats` and `censored` are those of all. Censored repeats pull it towards 0;
  where all are, it is empty.
- `growth_exponent_beyond_100`: the same of dimensions 100 and 200 alone.

`degrees_of_freedom` are those of a growth's or a ratio's interval.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.artefacts import RESULTS
from analysis.probes.crossing import evaluations_to
from analysis.probes.quantities import QuantityRecord
from analysis.sampler_records import PROVENANCE, derive, mean_interval, provenance
from analysis.statistics import CONFIDENCE, MINIMUM_SEEDS, Interval, Ratio, restricted_mean_ratio

PROBE = "mixing"
TABLE = RESULTS / "mixing.csv"
PLAIN = "plain"
NOTHING = Interval(math.nan, math.nan, math.nan)
COLUMNS = (
    *("quantity", "sampler", "comparator", "landscape", "dimension", "distance", "value", "low"),
    *("high", "repeats", "censored", "comparator_censored", "budget", "threshold", "step_size"),
    *PROVENANCE,
    "degrees_of_freedom",
)
Row = dict[str, Any]
Key = tuple[str, str, float, int]
"""(sampler, landscape, distance, dimension)."""


class Arm:
    """Evaluations of every repeat of a sampler at one place."""

    def __init__(self, rows: pd.DataFrame):
        first = rows.iloc[0]
        self.budget, self.threshold = int(first["budget"]), float(first["threshold"])
        self.step_size = float(first["step_size"])
        by_repeat = rows.sort_values("evaluations").groupby("repeat")
        found = [
            evaluations_to(of["mode_weight_error"], list(of["evaluations"]), self.threshold)
            for _, of in by_repeat
        ]
        self.censored = sum(value is None for value in found)
        self.evaluations = np.array([self.budget if v is None else v for v in found], float)


def arms(record: QuantityRecord) -> dict[Key, Arm]:
    """Every arm of a record, in its order."""
    keys = ["sampler", "landscape", "distance", "dimension"]
    return {key: Arm(rows) for key, rows in record.rows.groupby(keys, sort=False)}


def exponent(by_dimension: Mapping[int, np.ndarray]) -> Interval:
    """Slope of log mean evaluations over log dimension, with Student's interval.

    By linearisation (d log mean = (t - mean) / mean), each dimension's repeats independent of the
    others'; the degrees of freedom are the fewest of any. No interval where nothing varies.
    """
    x = np.log(np.array(list(by_dimension), float))
    weight = (x - x.mean()) / np.square(x - x.mean()).sum()
    values = list(by_dimension.values())
    slope = float(weight @ np.log([t.mean() for t in values]))
    fewest = min(map(len, values))
    error = math.sqrt(
        sum(w**2 * (t / t.mean()).var(ddof=1) / len(t) for w, t in zip(weight, values, strict=True))
    )
    if fewest < MINIMUM_SEEDS or error == 0:
        return Interval(slope, math.nan, math.nan)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, fewest - 1) * error
    return Interval(slope, slope - half, slope + half)


def positive_mean(values: np.ndarray) -> Interval:
    """Mean of numbers above 0, with Student's interval of its logarithm, by linearisation: a
    symmetric one of a few skewed counts reaches below zero."""
    found = mean_interval(values)
    share = (found.high - found.value) / found.value
    low, high = found.value * np.exp([-share, share])
    return Interval(found.value, float(low), float(high))


def _row(quantity: str, key: tuple, interval: Interval | Ratio, arm: Arm, **more: Any) -> Row:
    sampler, landscape, distance = key[:3]
    return {
        "quantity": quantity,
        **{"sampler": sampler, "landscape": landscape, "distance": distance},
        **interval._asdict(),
        **{"repeats": len(arm.evaluations), "censored": arm.censored, "budget": arm.budget},
        **{"threshold": arm.threshold, "comparator": "", **more},
    }


def single(found: Mapping[Key, Arm]) -> Iterator[Row]:
    """Rows of one dimension at a time."""
    for key, arm in found.items():
        size = {"dimension": key[3], "step_size": arm.step_size}
        yield _row("evaluations", key, positive_mean(arm.evaluations), arm, **size)
        plain = found.get((PLAIN, *key[1:]))
        if plain is None or plain is arm:
            continue
        pair = [(arm.evaluations[:, None], plain.evaluations[:, None])]
        beside = {"comparator": PLAIN, "comparator_censored": plain.censored}
        yield _row("evaluations_ratio", key, restricted_mean_ratio(pair), arm, **size, **beside)


def growth(found: Mapping[Key, Arm]) -> Iterator[Row]:
    """Rows over dimensions."""
    for key in dict.fromkeys(key[:3] for key in found):
        own = {k[3]: arm for k, arm in found.items() if k[:3] == key}
        for quantity, dimensions in (
            ("growth_exponent", sorted(own)),
            ("growth_exponent_beyond_100", [d for d in sorted(own) if d >= 100]),
        ):
            if len(dimensions) < 2:
                continue
            parts = {d: own[d].evaluations for d in dimensions}
            repeats = sum(map(len, parts.values()))
            censored = sum(own[d].censored for d in dimensions)
            # What the budget alone made has no slope.
            slope = NOTHING if censored == repeats else exponent(parts)
            first = own[dimensions[0]]
            more = {"repeats": repeats, "censored": censored}
            more["degrees_of_freedom"] = min(map(len, parts.values())) - 1
            yield _row(quantity, key, slope, first, **more)


def mixing_table(record: QuantityRecord) -> pd.DataFrame:
    """All rows of a record."""
    found = arms(record)
    rows = [row | provenance(record) for part in (single, growth) for row in part(found)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    description = __doc__.splitlines()[0]
    return derive(PROBE, description, "analysis.mixing", TABLE, arguments, mixing_table)


if __name__ == "__main__":
    sys.exit(main())
