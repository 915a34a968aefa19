"""Compares two runs of the probe of costs on one machine, ratio by ratio.

    python -m analysis.compare_probes A B [--tolerance 0.15]

A and B are folders as the probe leaves them (with `costs` and `memory` in them). Every ratio of
compute.csv that differs by more than the tolerance is named with what moved it and what the records
say of the cause; the status is then 1. Absolute times are not compared: one run may have had a
slower hour. Needs neither torch nor an algorithm.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.compute import compute_table
from analysis.cost_rows import SIZES
from analysis.probes.samples import ProbeRecord, ProbeRecordError, read_all

TOLERANCE = 0.15
BUSY = 0.9
"""Seconds of processor a second of clock below which a process was held up."""
KEY = ["machine", "quantity", "algorithm", "comparator", "env", *SIZES, "denoising_steps"]
CONDITIONS = ("device", "cores", "threads", "python", "torch", "system", "commit", "dirty")


def read_run(folder: Path) -> list[ProbeRecord]:
    """All records of a run of the probe. Raises ProbeRecordError."""
    found = read_all(folder / "costs") + read_all(folder / "memory")
    if not found:
        raise ProbeRecordError(f"{folder}: holds no record in costs or memory")
    return found


def compare(a: Sequence[ProbeRecord], b: Sequence[ProbeRecord]) -> pd.DataFrame:
    """One row a ratio of a machine that both have: KEY, `a`, `b`, and how far apart they are:
    `difference`, that of the larger from the smaller (infinite where one lacks it), and `cause` in
    words. Raises ProbeRecordError where they have no machine in common."""
    tables = {"a": compute_table(a), "b": compute_table(b)}
    shared = set(tables["a"]["machine"]) & set(tables["b"]["machine"])
    if not shared:
        named = [", ".join(sorted(set(table["machine"]))) for table in tables.values()]
        raise ProbeRecordError(f"no machine in common: {named[0]}; {named[1]}")
    both = None
    for side, table in tables.items():
        ratios = table[(table["unit"] == "1") & (table["over"] == "")]
        ratios = ratios[ratios["machine"].isin(shared)]
        ratios = ratios[[*KEY, "value", "low", "high", "cases", *CONDITIONS]]
        ratios = ratios.fillna(dict.fromkeys((*SIZES, "denoising_steps"), -1))
        renamed = ratios.rename(columns={c: f"{c}_{side}" for c in ratios if c not in KEY})
        # Device, as part of the machine's name, is the same; versions may not be.
        both = renamed if both is None else both.merge(renamed, "outer", on=KEY, validate="1:1")
    both["change"] = both["value_b"] / both["value_a"]
    both["difference"] = (np.maximum(both["change"], 1 / both["change"]) - 1).fillna(np.inf)
    absolute = {side: _absolute(table) for side, table in tables.items()}
    told = {"a": load(a), "b": load(b)}
    both["cause"] = [cause(row, absolute, told) for _, row in both.iterrows()]
    return both


def _absolute(table: pd.DataFrame) -> dict[tuple, float]:
    own = table[(table["comparator"] == "") & (table["unit"] != "1")]
    keys = own[["machine", "quantity", "cases"]].itertuples(index=False, name=None)
    return dict(zip(keys, own["value"], strict=True))


def load(records: Sequence[ProbeRecord]) -> str:
    """What held processes up, in words; empty if nothing did."""
    slowed = [
        process
        for process in records[0].document["processes"]
        if process.get("cpu_seconds", process["wall_seconds"]) < BUSY * process["wall_seconds"]
    ]
    if not slowed:
        return ""
    worst = min(slowed, key=lambda p: p["cpu_seconds"] / p["wall_seconds"])
    share = worst["cpu_seconds"] / worst["wall_seconds"]
    return (
        f"{len(slowed)} processes were held up by others (one had {share:.0%} of a core, "
        f"load {worst['load_average_before']} before it)"
    )


def cause(row: Mapping[str, Any], absolute: Mapping[str, dict], told: Mapping[str, str]) -> str:
    """What moved a ratio, and what the records say of why."""
    for side, other in (("a", "b"), ("b", "a")):
        if np.isnan(row[f"value_{other}"]):
            return f"only {side.upper()} has it"
    quantity = "actions_per_second" if row["quantity"] == "batching_gain" else row["quantity"]
    moved = []
    for case in row["cases_a"].split(" / "):
        key = row["machine"], quantity, case
        if key in absolute["a"] and key in absolute["b"]:
            moved.append(f"{case} × {absolute['b'][key] / absolute['a'][key]:.2f}")
    reasons = [
        f"{name} {row[f'{name}_a']} against {row[f'{name}_b']}"
        for name in CONDITIONS
        if row[f"{name}_a"] != row[f"{name}_b"]
    ]
    for side in ("a", "b"):
        if told[side]:
            reasons.append(f"in {side.upper()} {told[side]}")
        spread = row[f"high_{side}"] / row[f"low_{side}"] - 1
        if spread > TOLERANCE:
            reasons.append(f"the interval of {side.upper()} alone spans {spread:.0%}")
    return f"{', '.join(moved)}; {'; '.join(reasons) or 'the records name no cause'}"


def lines(table: pd.DataFrame, tolerance: float) -> Iterator[str]:
    """For a reader: those that differ, the furthest first, and a summary."""
    apart = table[table["difference"] > tolerance].sort_values("difference", ascending=False)
    for _, row in apart.iterrows():
        sizes = [f"{n} {row[n]:.0f}" for n in (*SIZES, "denoising_steps") if row[n] >= 0]
        name = " / ".join(word for word in (row["algorithm"], row["comparator"]) if word)
        yield (
            f"{row['quantity']} {name} ({', '.join(sizes)}): {row['value_a']:.3g} and "
            f"{row['value_b']:.3g}, {row['difference']:.0%} apart\n    {row['cause']}"
        )
    yield f"{len(apart)} of {len(table)} ratios differ by more than {tolerance:.0%}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 1 if ratios differ, 2 for records that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.compare_probes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", type=Path, help="folder of one run")
    parser.add_argument("b", type=Path, help="folder of another")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="(%(default)s)")
    options = parser.parse_args(arguments)
    try:
        table = compare(read_run(options.a), read_run(options.b))
    except ProbeRecordError as error:
        print(error, file=sys.stderr)
        return 2
    for told in lines(table, options.tolerance):
        print(told)
    return int((table["difference"] > options.tolerance).any())


if __name__ == "__main__":
    sys.exit(main())
