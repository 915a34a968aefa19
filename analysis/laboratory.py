"""Derives the tables and figures of the sampler laboratory's studies from the records at hand.

    python -m analysis.laboratory --table NAME --folder results --studies STUDY ...

writes NAME.csv, figures/NAME.csv and figures/NAME.svg into the folder. `analysis.<NAME>` has the
table and `analysis.figures.<NAME>` the figure. The studies' plan.json (`analysis.plan.at_hand`)
says what was planned; a run without a record is a gap, named in the column `note`, and nothing is
trained for it. The last column, `records`, has the folders of the records that a row is made of, a
contrast's both. Same records, same bytes.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from algorithms.options import planned_evaluations
from analysis import statistics
from analysis.artefacts import LABORATORY, PROBES, RESULTS, laboratory_files
from analysis.derived import csv_bytes
from analysis.probes import run_probes
from analysis.records import RecordError, Records, load_plan, read_scale
from analysis.scores import final_scores, name_seeds
from analysis.statistics import Ratio

PLANS = f"{RESULTS}/laboratory"
COUNTS = ("seeds", "transitions", "updates", "optimiser_steps", "censored", "comparator_censored")


class Study(NamedTuple):
    """A study as its plan and records at hand have it."""

    name: str
    records: Records
    scores: pd.DataFrame
    """One row a planned run, of `final_scores`."""

    @property
    def part(self) -> dict[str, Any]:
        """Of the plan: environments, algorithms, seeds, transitions, variants, runs."""
        return self.records.plan

    def base(self, label: str) -> str:
        """The algorithm that a label is a variant of."""
        return self.part["variants"].get(label, {}).get("algorithm", label)

    def cells(self) -> Iterator[tuple[str, str, pd.DataFrame]]:
        """(environment, label, rows of `scores`), in the order of the plan."""
        for env in self.part["environments"]:
            for label in self.part["algorithms"]:
                is_own = (self.scores["env"] == env) & (self.scores["algorithm"] == label)
                yield env, label, self.scores[is_own]

    def mean_returns(self, env: str, label: str) -> dict[int, float]:
        """Means over a run's evaluations after the warm-up, by seed: how fast it learns enters, and
        how steadily. Evaluations that a run lacks because it diverged count as untrained, or as its
        last finite one where that is lower: to diverge is never worth more than not to learn."""
        table = self.records.evaluations
        is_own = (table["env"] == env) & (table["algorithm"] == label)
        own = table[is_own & np.isfinite(table["return_mean"].astype(float))]
        scores = self.scores[(self.scores["env"] == env) & (self.scores["algorithm"] == label)]
        untrained = scores[scores["status"] == "diverged"].set_index("seed")["untrained"]
        asked = sum(at > self.part["warm_up"] for at in planned_evaluations(self.part))
        means = {}
        for seed, of in own.sort_values("transitions").groupby("seed"):
            late = of.loc[of["transitions"] > self.part["warm_up"], "return_mean"].tolist()
            if seed in untrained:
                worst = float(np.fmin(untrained[seed], of["return_mean"].iloc[-1]))
                late += [worst] * (asked - len(late))
            if late:
                means[int(seed)] = float(np.mean(late))
        return means

    def probed(self, probe: str, env: str, label: str) -> dict[int, pd.DataFrame]:
        """Tables that a probe has left of the runs of a cell, by seed. RecordError."""
        found = {}
        for run in self.part["runs"]:
            if run["env"] == env and run["algorithm"] == label:
                record = run_probes.read(probe, run)
                if record is not None:
                    found[run["seed"]] = record[0]
        return found


def read_study(name: str) -> Study:
    """RecordError for a plan that is not there, and for a record that is no good."""
    plan = load_plan(name, PLANS)
    records = read_scale(plan, name, "gap")
    return Study(name, records, final_scores(records))


def mean_row(values: Mapping[int, float], planned: Sequence[int], what: str = "record") -> dict:
    """value, low, high, minimum, maximum, seeds and note of one value a seed.

    Student's t over the seeds at hand, none below five; seeds that are planned and have no value
    are named as gaps.
    """
    at_hand = [values[seed] for seed in planned if seed in values]
    missing = [seed for seed in planned if seed not in values]
    interval = statistics.t_interval(at_hand)
    return {
        **interval._asdict(),
        "minimum": min(at_hand, default=math.nan),
        "maximum": max(at_hand, default=math.nan),
        "seeds": len(at_hand),
        "note": f"gap: no {what} of {name_seeds(missing)}" if missing else "",
    }


def difference_row(own: Mapping[int, float], other: Mapping[int, float]) -> dict:
    """value, low, high, degrees_of_freedom and seeds (the fewer of the two) of own less other, by
    Welch."""
    found = statistics.welch(list(own.values()), list(other.values()))
    return {
        "value": found.difference,
        "low": found.low,
        "high": found.high,
        "degrees_of_freedom": found.degrees_of_freedom,
        "seeds": min(len(own), len(other)),
    }


def ratio_row(own: Mapping[int, float], other: Mapping[int, float]) -> dict:
    """value, low, high, degrees_of_freedom and seeds of the ratio of means, own to other, with
    Welch's interval on the scale of logarithms; no value where a mean is not above zero."""
    arms = [np.array(list(arm.values()), float)[:, None] for arm in (own, other)]
    ratio = Ratio(math.nan, math.nan, math.nan, math.nan)
    if all(len(arm) and arm.mean() > 0 for arm in arms):
        ratio = statistics.restricted_mean_ratio([tuple(arms)])
    return ratio._asdict() | {"seeds": min(map(len, arms))}


def pair_rows(
    quantity: str,
    cells: Mapping[str, Mapping[int, float]],
    notes: Mapping[str, str],
    contrast: Callable[[Mapping, Mapping], dict],
) -> Iterator[dict]:
    """A row for every ordered pair of the labels of `cells`; notes of both arms together."""
    for algorithm, comparator in permutations(cells, 2):
        note = "; ".join(
            f"{name}: {notes[name]}" for name in (algorithm, comparator) if notes[name]
        )
        pair = {"quantity": quantity, "algorithm": algorithm, "comparator": comparator}
        yield pair | contrast(cells[algorithm], cells[comparator]) | {"note": note}


def finals(runs: pd.DataFrame) -> dict[int, float]:
    """Final scores of the recorded runs of a cell, by seed."""
    recorded = runs[~runs["gap"]]
    return dict(zip(recorded["seed"].astype(int), recorded["final"].astype(float), strict=True))


def budget(runs: pd.DataFrame) -> dict[str, float]:
    """transitions, updates and optimiser_steps of a cell: the most of any recorded run."""
    recorded = runs[~runs["gap"]]
    return {name: recorded[name].max() for name in ("transitions", "updates", "optimiser_steps")}


def record_folders(
    row: Mapping[str, Any], studies: Sequence[Study], probes: Mapping[str, str]
) -> str:
    """Folders of the records that a row is made of, those of a contrast's arms parted by ` / `, `*`
    for the labels of a knob's range; empty where there is none. `probes` has the probe whose
    records they are instead of runs', by how a quantity begins."""
    probe = next((probes[name] for name in probes if row["quantity"].startswith(name)), None)
    root = PROBES / probe if probe else RESULTS / "runs"
    arms = [row.get("label") or row["algorithm"], row.get("comparator")]
    if row.get("knob") and not row.get("label"):
        arms = [f"{arm}*" for arm in arms if arm]
    folders = [root / study.name / row["env"] / arm for arm in arms if arm for study in studies]
    return " / ".join(str(at) for at in folders if any(at.parent.glob(at.name)))


def derive(table: str, studies: Sequence[Study]) -> dict[str, bytes]:
    """Contents of the table's files by their path under the folder. RecordError."""
    from analysis.figures.style import render, without_methods

    module = import_module(f"analysis.{table}")
    figure = import_module(f"analysis.figures.{table}")
    frame = module.table(studies)
    shown = csv_bytes(figure.data(studies, frame))
    probes = getattr(module, "PROBE_BY_QUANTITY", {})
    frame["records"] = [record_folders(row, studies, probes) for row in frame.to_dict("records")]
    counts = [name for name in COUNTS if name in frame]
    is_any = any(study.part["algorithms"] for study in studies)
    drawn = render(shown, figure.draw if is_any else without_methods)
    contents = (csv_bytes(frame, counts), drawn, shown)
    return dict(zip(laboratory_files(table), contents, strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, 2 for a record that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.laboratory", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--table", choices=LABORATORY, required=True)
    parser.add_argument("--studies", nargs="+", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        files = derive(options.table, [read_study(name) for name in options.studies])
    except RecordError as error:
        print(error, file=sys.stderr)
        return 2
    for name, content in files.items():
        path = options.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
