"""Derives `sampler_exactness.csv` from the record of the probe of exactness, and from that of the
probe of critics beside it, if there is one.

    python -m analysis.exactness [--records DIR] [--output FILE]

One row a quantity and case; `value` with `low` and `high` over `repeats` independent repeats:

- `total_variation_above_floor`: of the pooled draws to quadrature, less that of as many exact
  draws; one and two dimensions. It falls short of the true one while that is below the floor,
  `floor`.
- `mode_weight_error`: weight of the modes on the far side of the split, less the exact one.
- `energy_distance_to_floor`, `sliced_wasserstein_to_floor`: to those of as many exact draws: 1 is
  exact.
- `face_share`: share of coordinates on a face of the box; `floor` is that of exact draws, 0.
- `unchanged_share`: of actions, when Q is scaled by `scale` on the same starts and noise.

A quantity by itself is of the tuned sampler on the landscape as it is; those of the other studies
end in `_by_step_size`, `_by_scale`, `_by_temperature` and `_by_boundary`, where `step_size`,
`scale`, `temperature_factor` and `boundary` say at what. `steps` is the number of gradient
evaluations, or `stationary`; a chain that was held but has not become stationary (`is_stationary`,
by split R-hat) has no interval, since what it would show depends on where it began.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.artefacts import RESULTS
from analysis.probes.quantities import QuantityRecord, read_only
from analysis.sampler_records import (
    PROVENANCE,
    above_floor,
    derive,
    mean_interval,
    provenance,
    ratio_to_floor,
)
from analysis.statistics import Interval

PROBE = "exactness"
CRITICS = "critics"
STATIONARY = "stationary"
"""In the place of a number of steps."""
TABLE = RESULTS / "sampler_exactness.csv"
CASE = ("step_size", "distance", "scale", "temperature_factor", "boundary", "chains")
COLUMNS = (
    *("quantity", "sampler", "landscape", "dimension", "steps", "value", "low", "high", "repeats"),
    *("study", "floor", *CASE, "r_hat", "is_stationary", *PROVENANCE),
)
Row = dict[str, Any]


def quantities(rows: pd.DataFrame, floor: pd.DataFrame) -> Iterator[tuple[str, Interval, float]]:
    """(name, estimate, that of exact draws) of the repeats of a case and of its floor."""

    def of(name: str) -> tuple[pd.Series, pd.Series]:
        return rows[name].dropna(), floor[name].dropna()

    pooled, exact = of("total_variation_of_others")
    if len(pooled):
        yield "total_variation_above_floor", above_floor(pooled, exact), exact.mean()
    errors, exact = of("mode_weight_error")
    if len(errors):
        yield "mode_weight_error", mean_interval(errors), exact.mean()
    for name in ("energy_distance", "sliced_wasserstein"):
        found, exact = of(name)
        if len(found):
            yield f"{name}_to_floor", ratio_to_floor(found, exact), exact.mean()
    shares, exact = of("face_share")
    if len(shares):
        yield "face_share", mean_interval(shares), exact.mean()
    unchanged, _ = of("unchanged_share")
    if len(unchanged):
        yield "unchanged_share", mean_interval(unchanged), math.nan


def exactness_table(*records: QuantityRecord) -> pd.DataFrame:
    """All rows of all records."""
    rows = [row for record in records for row in _rows(record)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(record: QuantityRecord) -> Iterator[Row]:
    # Critics have no step size of their own choosing, and are not held until they are stationary.
    absent = {"step_size", "is_stationary", "r_hat"} - set(record.rows)
    rows = record.rows.assign(**dict.fromkeys(sorted(absent), math.nan))
    # The law exp(c U) that a case is held against.
    rows["factor"] = rows["scale"] * rows["temperature_factor"]
    place = ["landscape", "dimension", "factor"]
    floors = dict(list(rows[rows["study"] == "floor"].groupby(place)))
    for _, case in rows[rows["study"] != "floor"].groupby("case", sort=False):
        first = case.iloc[0]
        suffix = "" if first["study"] in ("main", "unchanged") else f"_by_{first['study']}"
        for name, interval, exact in quantities(case, floors[tuple(first[place])]):
            value, low, high = interval
            if pd.notna(first["is_stationary"]) and not first["is_stationary"]:
                low = high = math.nan
            yield {
                "quantity": name + suffix,
                **{key: first[key] for key in ("sampler", "landscape", "dimension")},
                # Where no chain was held, the record's column is one of numbers with gaps.
                "steps": STATIONARY if first["steps"] == STATIONARY else int(first["steps"]),
                **{"value": value, "low": low, "high": high, "repeats": len(case)},
                **{"study": first["study"], "floor": exact},
                **{key: first[key] for key in (*CASE, "r_hat", "is_stationary")},
                **provenance(record),
            }


def with_critics(record: QuantityRecord) -> pd.DataFrame:
    """All rows of a record and of that of the critics, whose folder lies beside its own."""
    beside = Path(record.path).parent.with_name(CRITICS)
    critics = [read_only(beside, CRITICS)] if any(beside.glob("*.csv")) else []
    return exactness_table(record, *critics)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    description = __doc__.splitlines()[0]
    return derive(PROBE, description, "analysis.exactness", TABLE, arguments, with_critics)


if __name__ == "__main__":
    sys.exit(main())
