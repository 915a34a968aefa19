"""What derives from the records of the sampler laboratory: reading, intervals, command line.

Repeats are independent chains and the unit of replication. Needs neither torch nor an algorithm.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.artefacts import PROBES
from analysis.derived import csv_bytes
from analysis.probes.quantities import QuantityRecord, read_only
from analysis.probes.samples import ProbeRecordError
from analysis.statistics import (
    CONFIDENCE,
    MINIMUM_SEEDS,
    Interval,
    mean_against,
    restricted_mean_ratio,
)

RECORDS = PROBES
PROVENANCE = ("record", "commit", "dirty", "processor", "torch")


def record_of(folder: Path, probe: str) -> QuantityRecord:
    """The record of a probe. Raises ProbeRecordError where there is none to use, or where `folder`
    is that of the results and it was measured at another scale."""
    record = read_only(folder, probe)
    scale = record.document["scale"]
    if folder == RECORDS / probe and scale != "desk":
        raise ProbeRecordError(f"{record.path}: measured at the scale '{scale}', not at the desk's")
    return record


def provenance(record: QuantityRecord) -> dict[str, Any]:
    """What every row says of where it comes from."""
    document = record.document
    return {
        "record": record.path,
        "commit": document["commit"],
        "dirty": document["dirty"],
        "processor": document["machine"]["processor"],
        "torch": document["versions"]["torch"],
    }


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean over repeats with Student's t."""
    found = mean_against(values)
    return Interval(found.difference, found.low, found.high)


def ratio_to_floor(values: Sequence[float], floor: Sequence[float]) -> Interval:
    """Mean over repeats to the mean of exact draws, with an interval of both."""
    numerator, denominator = (np.asarray(x, float)[:, None] for x in (values, floor))
    return Interval(*restricted_mean_ratio([(numerator, denominator)])[:3])


def above_floor(others: Sequence[float], floor_others: Sequence[float]) -> Interval:
    """A statistic of pooled draws less that of as many exact ones, with its jackknife interval.

    Each entry is the statistic of all repeats but one. Total variation of a histogram is biased
    upwards by an amount that falls with the number of draws, so that it is taken of the pool and
    not of one repeat at a time; leaving repeats out in turn gives its standard error.
    """
    arms = [np.asarray(x, float) for x in (others, floor_others)]
    value = float(arms[0].mean() - arms[1].mean())
    fewest = min(map(len, arms))
    if fewest < MINIMUM_SEEDS:
        return Interval(value, math.nan, math.nan)
    variance = sum((len(x) - 1) * x.var() for x in arms)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, fewest - 1) * math.sqrt(variance)
    return Interval(value, value - half, value + half)


def derive(
    probe: str,
    description: str,
    module: str,
    output: Path,
    arguments: Sequence[str] | None,
    table: Callable[[QuantityRecord], pd.DataFrame],
    draw: Callable[[bytes, Path], None] | None = None,
) -> int:
    """Command line of a program that derives from a record: the CSV of `table`, and what `draw`
    makes of it where it is given. Returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument(
        "--records", type=Path, default=RECORDS / probe, help="folder (%(default)s)"
    )
    parser.add_argument("--output", type=Path, default=output, help="file (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        content = csv_bytes(table(record_of(options.records, probe)))
    except ProbeRecordError as error:
        print(error, file=sys.stderr)
        return 2
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".csv").write_bytes(content)
    if draw:
        draw(content, options.output)
    return 0
