"""From records to one score a run, and to the matrices that statistics over environments take.

A run's final score is the mean of the last tenth of its evaluations; its best evaluation after the
untrained one stands beside it and is never mixed with it. A run that diverged left no policy that
acts: it stays, and scores the lower of its last tenth of evaluations and its untrained one, so that
to diverge is never worth more than not to have learned.
"""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis import reference, statistics
from analysis.records import RecordError, Records

COMPARABLE_VERSIONS = re.compile(r"v[2-9]")
"""Versions of the MuJoCo environments, whose returns are not comparable with one another."""

COLUMNS = ("final", "best", "untrained", "random", "zero", "learned", "normalised")


class Matrices(NamedTuple):
    """Normalised final scores over environments."""

    scores: dict[str, np.ndarray]
    """(runs, environments) of each algorithm that has some in every environment."""
    environments: list[str]
    """Columns of the matrices."""
    seeds: dict[str, list[int]]
    """Rows of each matrix: the seeds recorded in every environment."""
    left_out: dict[str, str]
    """Environments that have no place in normalised scores, and why."""
    absent: dict[str, str]
    """Algorithms without a matrix, and why."""
    notes: dict[str, str]
    """What is to be said of an algorithm's matrix: missing seeds, diverged runs."""


def check_versions(environments: Iterable[str]) -> None:
    """RecordError if two versions of the MuJoCo environments would stand in one table."""
    versions: dict[str, str] = {}
    for env in environments:
        _, version = reference.split(env)
        if COMPARABLE_VERSIONS.fullmatch(version):
            versions.setdefault(version, env)
    if len(versions) > 1:
        first, second, *_ = versions.values()
        raise RecordError("plan.json", f"{first} and {second} do not belong in one table")


def final_scores(records: Records) -> pd.DataFrame:
    """One row a planned run, in the plan's order: what `records.runs` has, and

    final, best, untrained: returns as described above; best is over all evaluations after the
        first, untrained is the evaluation at 0 transitions;
    random, zero: the environment's floors, NaN where they were not measured;
    learned: 1 if final is above random, zero and untrained, else 0; NaN without these or a record;
    normalised: final between 0 (random policy) and 1 (published SAC), NaN where there is no scale.
    """
    check_versions(records.plan["environments"])
    evaluations = dict(list(records.evaluations.groupby(["env", "algorithm", "seed"], sort=False)))
    environments = {env: reference.floors(env) for env in records.plan["environments"]}
    scales = {env: reference.normalisation(env) for env in records.plan["environments"]}
    rows = []
    for run in records.runs.itertuples():
        own = evaluations.get((run.env, run.algorithm, run.seed))
        row = _summary(own, run.status == "diverged")
        floors, scale = environments[run.env], scales[run.env]
        row["random"] = floors.random if floors else math.nan
        row["zero"] = floors.zero if floors else math.nan
        beaten = (row["random"], row["zero"], row["untrained"])
        is_known = np.isfinite([row["final"], *beaten]).all()
        row["learned"] = float(row["final"] > max(beaten)) if is_known else math.nan
        row["normalised"] = math.nan if isinstance(scale, str) else scale(row["final"])
        rows.append(row)
    found = pd.DataFrame(rows, columns=COLUMNS, dtype=float)
    return pd.concat([records.runs.reset_index(drop=True), found], axis=1)


def _summary(evaluations: pd.DataFrame | None, has_diverged: bool) -> dict[str, float]:
    """final, best and untrained of a run's evaluations (None for a gap)."""
    if evaluations is None:
        return dict.fromkeys(("final", "best", "untrained"), math.nan)
    finite = evaluations[np.isfinite(evaluations["return_mean"])].sort_values("transitions")
    is_first = finite["transitions"] == 0
    untrained = finite.loc[is_first, "return_mean"].mean()
    trained = finite.loc[~is_first, "return_mean"]
    final = statistics.final_score(trained)
    if has_diverged:
        final = float(np.fmin(final, untrained))
    return {"final": final, "best": trained.max(), "untrained": float(untrained)}


def cell_note(runs: pd.DataFrame) -> str:
    """What is to be said of the runs of one algorithm and environment: gaps and divergence."""
    parts = []
    gaps = runs[runs["gap"]]
    if len(gaps):
        parts.append(f"gap: no record of {name_seeds(gaps['seed'])}")
    diverged = runs[runs["status"] == "diverged"]
    for run in diverged.itertuples():
        at = "" if math.isnan(run.transitions) else f" at {run.transitions:,.0f} transitions"
        score = "" if math.isfinite(run.final) else ", before any evaluation: no score"
        parts.append(f"seed {run.seed} diverged{at}{score}")
    return "; ".join(parts)


def name_seeds(seeds: Iterable[int]) -> str:
    """`seed 0` or `seeds 0, 1`."""
    names = [str(seed) for seed in seeds]
    return f"seed{'s' if len(names) > 1 else ''} {', '.join(names)}"


def matrices(records: Records, scores: pd.DataFrame) -> Matrices:
    """Normalised `scores` (of `final_scores`) by algorithm.

    Environments without a scale, those that are not validated, and algorithms without a run in some
    environment are left out by name. Where seeds are recorded in some environments only, a matrix
    has those recorded in all.
    """
    left_out, environments = {}, []
    for env in records.plan["environments"]:
        scale = reference.normalisation(env)
        if isinstance(scale, str):
            left_out[env] = scale
        elif env in records.plan["unvalidated"]:
            left_out[env] = "not validated"
        else:
            environments.append(env)
    found = Matrices({}, environments, {}, left_out, {}, {})
    for algorithm in records.plan["algorithms"]:
        own = scores[(scores["algorithm"] == algorithm) & scores["env"].isin(environments)]
        if not environments:
            found.absent[algorithm] = "no environment has normalised scores"
            continue
        table = own.pivot(index="seed", columns="env", values="normalised")[environments]
        whole = table.dropna()
        notes = [
            f"{env}: {note}"
            for env, runs in own.groupby("env", sort=False)
            if (note := cell_note(runs))
        ]
        if whole.empty:
            recorded = set(own.loc[~own["gap"], "env"])
            empty = [env for env in environments if env not in recorded]
            reason = f"gap: no record in {', '.join(empty)}" if empty else "no seed has all scores"
            found.absent[algorithm] = reason
            continue
        found.scores[algorithm] = whole.to_numpy()
        found.seeds[algorithm] = whole.index.tolist()
        if len(whole) < len(table):
            notes.insert(0, f"of {name_seeds(whole.index)} only")
        found.notes[algorithm] = "; ".join(notes)
    return found
