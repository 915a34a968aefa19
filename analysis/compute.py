"""Derives `results/compute.csv` and its figures: what each method costs in time and memory.

    python -m analysis.compute [--scale NAME] [--missing refuse|gap] [--records DIR]
                               [--output DIR]

One row a quantity, `value` with `low` and `high` over `repeats`. A repeat is a fresh process that
measured everything; `samples` are the raw ones behind the number: the rows of `record` with the
case in `cases` (of a ratio: numerator / denominator). Sizes are those of `algorithm`;
`denoising_steps` those of Diffusion-QL, as algorithm or comparator. An empty `comparator`: the
quantity itself; else its ratio, algorithm to comparator. `over`: the size that an exponent or a
crossing is over. Quantities, by unit:

- second: `update_seconds` (of PPO's updates, minibatches), `action_seconds` of a call on `batch`
  observations and its 95th percentile `_p95`, `environment_step_seconds` a transition;
- 1 / second: `actions_per_second`, `transitions_per_second` in training;
- byte: `live_tensor_bytes` at the peak of an update, with its parts (`activation_bytes` is that
  peak less the others) and without the replay; `peak_resident_bytes` of a process in training,
  `peak_device_memory_bytes` on CUDA;
- 1: ratios, `batching_gain` (actions a second, to batch 1), `..._exponent`;
- denoising step: `..._crossing`, beyond which `algorithm` costs less than Diffusion-QL;
- networks, parameters and hyperparameters that are numbers, counted;
- `transitions_to_threshold` of the runs of the scale, each cut at its end, over seeds; with them
  `seconds_to_threshold`, by the rates measured, without evaluations, and
  `recorded_seconds_to_threshold`, by the clock of the runs.

Needs neither torch nor an algorithm. With --output, only what was measured is derived, without a
plan and runs.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.artefacts import PROBES
from analysis.cost_rows import COUNTED, ROWS, SIZES, Machine, Row, conditions
from analysis.derived import csv_bytes
from analysis.figures import cost_growth, cost_of_steps, memory_parts
from analysis.probes.samples import ProbeRecord, ProbeRecordError, usable
from analysis.records import RecordError, Records, load_plan, read_scale
from analysis.time_to_threshold import threshold_rows

RECORDS = PROBES
COMMAND = "python -m analysis.probes.costs"
COLUMNS = (
    *("quantity", "over", "algorithm", "comparator", "env", "device_type", "batch"),
    *("denoising_steps", "value", "low", "high", "repeats", "unit", "samples", "threshold"),
    *("censored", "steps", "candidates", "critic_layers", "action_dimension", "environments"),
    *("precision", "compiled", "note", "cases", "record", "machine", "device", "processor"),
    *("cores", "threads", "python", "torch", "system", "commit", "dirty"),
)
COUNTS = (*SIZES, "denoising_steps", "repeats", "samples", "censored")
FIGURES = (cost_of_steps, cost_growth, memory_parts)


def read_records(folder: Path) -> list[ProbeRecord]:
    """Records of times, and of memory where there are any. Raises ProbeRecordError."""
    found = usable(folder / "costs", RECORDS / "costs", COMMAND)
    if any((folder / "memory").glob("*.csv")):
        found += usable(folder / "memory", RECORDS / "memory", COMMAND)
    return found


def machines_of(records: Sequence[ProbeRecord]) -> list[Machine]:
    """Records of one machine together."""
    names = dict.fromkeys(record.name for record in records)
    return [Machine(name, [r for r in records if r.name == name]) for name in names]


def counts(machines: Sequence[Machine]) -> Iterator[Row]:
    """Networks, parameters and hyperparameters: of the code and not of a machine, so each once.
    Raises ProbeRecordError where machines counted differently."""
    found: dict[tuple, tuple[Machine, float]] = {}
    for machine in machines:
        for row in machine.document["counts"]:
            for quantity in COUNTED:
                env = "" if quantity == "hyperparameters" else row["env"]
                key = quantity, row["algorithm"], env
                first, value = found.setdefault(key, (machine, row[quantity]))
                if value != row[quantity]:
                    raise ProbeRecordError(
                        f"{machine.name}: {row[quantity]} {quantity} of {row['algorithm']} where "
                        f"{first.name} has {value}: measured from different code, measure again"
                    )
    for (quantity, algorithm, env), (machine, value) in found.items():
        record = machine.measures[0].record.path.removesuffix(".csv") + ".json"
        yield {
            **{"quantity": quantity, "algorithm": algorithm, "comparator": "", "env": env},
            **{"value": value, "low": value, "high": value, "unit": COUNTED[quantity]},
            **{"repeats": 1, "samples": 1, "cases": "counts", "record": record},
            **conditions(machine.name, machine.document),
        }


def compute_table(
    records: Sequence[ProbeRecord],
    plan: Mapping | None = None,
    runs: Records | None = None,
) -> pd.DataFrame:
    """All rows of all machines; with a plan and its runs, those of times to thresholds too."""
    machines = machines_of(records)
    rows = [row for machine in machines for derive in ROWS for row in derive(machine)]
    rows += counts(machines)
    if plan is not None and runs is not None:
        rows += threshold_rows(machines, plan, runs)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.assign(
        **{name: table[name].fillna("") for name in ("over", "comparator", "env", "note")}
    )


def derive(
    records: Sequence[ProbeRecord], plan: Mapping | None = None, runs: Records | None = None
) -> dict[str, bytes]:
    """Contents of compute.csv and of the figures by path."""
    table = compute_table(records, plan, runs)
    files = {"compute.csv": csv_bytes(table, COUNTS)}
    for module in FIGURES:
        files |= module.files(table)
    return files


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.compute",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", help="scale or study (default: the protocol's default)")
    parser.add_argument("--missing", choices=("refuse", "gap"), default="refuse")
    parser.add_argument("--records", type=Path, default=RECORDS, help="folder (%(default)s)")
    parser.add_argument("--output", type=Path, help="folder (default: that of the scale)")
    options = parser.parse_args(arguments)
    try:
        plan = runs = None
        folder = options.output
        if folder is None:
            plan = load_plan(options.scale)
            runs, folder = read_scale(plan, plan["scale"], options.missing), Path(plan["folder"])
        files = derive(read_records(options.records), plan, runs)
    except (ProbeRecordError, RecordError) as error:
        print(error, file=sys.stderr)
        return 2
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
