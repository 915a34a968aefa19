"""Algorithms against one another: final returns and transitions to thresholds."""

import math
from collections.abc import Iterator
from itertools import permutations

import numpy as np
import pandas as pd

from analysis import statistics
from analysis.records import Records
from analysis.scores import cell_note

EVERY = "all"
"""In the column `env` of sample efficiency: all environments and thresholds together."""


def compare(records: Records, scores: pd.DataFrame) -> pd.DataFrame:
    """Final returns of every ordered pair of algorithms in each environment, by Welch.

    `scores` is of `final_scores`. difference is algorithm less comparator; detectable the smallest
    true difference that these seeds find with a power of 0.8; p_holm is p_value after Holm's
    correction over the environments of the pair. margin is 5 % of the comparator's mean above the
    random policy, surplus is difference + margin with its own interval and test, which count the
    margin's spread: not inferior iff surplus_low is above 0, inferior iff surplus_high is below.
    """
    cells = dict(list(scores.groupby(["algorithm", "env"], sort=False)))
    rows = []
    for algorithm, comparator in permutations(records.plan["algorithms"], 2):
        pair = [
            _compare_cell(cells[algorithm, env], cells[comparator, env])
            for env in records.plan["environments"]
        ]
        for name in ("", "surplus_"):
            adjusted = statistics.holm([row[f"{name}p_value"] for row in pair])
            for row, p_value in zip(pair, adjusted, strict=True):
                row[f"{name}p_holm"] = p_value
        rows.extend(pair)
    return pd.DataFrame(rows, columns=COMPARISON_COLUMNS)


COMPARISON_COLUMNS = [
    *("algorithm", "comparator", "env", "difference", "low", "high", "p_value", "p_holm"),
    *("degrees_of_freedom", "detectable", "seeds", "comparator_seeds"),
    *("margin", "surplus", "surplus_low", "surplus_high", "surplus_p_value", "surplus_p_holm"),
    "surplus_detectable",
    *("transitions", "updates", "comparator_updates", "note"),
]


def _compare_cell(own: pd.DataFrame, other: pd.DataFrame) -> dict:
    """A row of `compare` from the runs of two algorithms in one environment."""
    x, y = own.loc[~own["gap"], "final"], other.loc[~other["gap"], "final"]
    difference = statistics.welch(x, y)
    tested = statistics.non_inferiority(x, y, own["random"].iloc[0])
    row = {
        "algorithm": own["algorithm"].iloc[0],
        "comparator": other["algorithm"].iloc[0],
        "env": own["env"].iloc[0],
        **difference._asdict(),
        "seeds": len(x),
        "comparator_seeds": len(y),
        "margin": tested.margin,
        "surplus": tested.surplus.difference,
        "surplus_low": tested.surplus.low,
        "surplus_high": tested.surplus.high,
        "surplus_p_value": tested.surplus.p_value,
        "surplus_detectable": tested.surplus.detectable,
        "transitions": max(own["transitions"].max(), other["transitions"].max()),
        "updates": own["updates"].max(),
        "comparator_updates": other["updates"].max(),
    }
    notes = [
        f"{runs['algorithm'].iloc[0]}: {note}" for runs in (own, other) if (note := cell_note(runs))
    ]
    return row | {"note": "; ".join(notes)}


def crossings(records: Records) -> pd.DataFrame:
    """One row a recorded run and threshold: env, algorithm, seed, threshold, and

    crossed: transitions at which the smoothed evaluations reach it, infinite if they never do;
    restricted: the same, cut at the transitions that the scale plans for a run.

    A run that diverged counts as what it reached before.
    """
    horizon = records.plan["transitions"]
    rows = []
    for (env, algorithm, seed), own in records.evaluations.groupby(
        ["env", "algorithm", "seed"], sort=False
    ):
        finite = own[np.isfinite(own["return_mean"])].sort_values("transitions")
        for threshold in records.plan["thresholds"].get(env, []):
            crossed = statistics.transitions_to_threshold(
                finite["transitions"], finite["return_mean"], threshold
            )
            rows.append((env, algorithm, seed, threshold, crossed, min(crossed, horizon)))
    columns = ["env", "algorithm", "seed", "threshold", "crossed", "restricted"]
    return pd.DataFrame(rows, columns=columns)


EFFICIENCY_COLUMNS = [
    *("algorithm", "comparator", "env", "threshold", "restricted_mean", "low", "high"),
    *("minimum", "maximum", "seeds", "cells", "censored"),
    *("ratio", "ratio_low", "ratio_high"),
    *("comparator_restricted_mean", "comparator_seeds", "comparator_cells", "comparator_censored"),
    *("transitions", "note"),
]


def sample_efficiency(records: Records, scores: pd.DataFrame) -> pd.DataFrame:
    """Transitions that runs need to reach the declared returns, and ratios of algorithms.

    First a row for each algorithm, environment and threshold, comparator empty: the mean over seeds
    of transitions to threshold, each cut at the run's length (the restricted mean), with Student's
    interval, and how many of the `cells` (runs times thresholds) are censored, that is never
    crossed. Then for every ordered pair the ratio of restricted means, algorithm to comparator, for
    each environment and threshold and, with env `all`, their geometric mean over all of them that
    are validated.
    Censored runs pull a ratio towards 1.
    """
    table = crossings(records)
    cells = {key: frame for key, frame in table.groupby(["algorithm", "env", "threshold"])}
    notes = {key: cell_note(runs) for key, runs in scores.groupby(["algorithm", "env"], sort=False)}
    own = {
        key: _efficiency_cell(cells.get(key), notes[key[:2]], records.plan["transitions"])
        for key in _keys(records)
    }
    rows = [
        dict(zip(("algorithm", "env", "threshold"), key, strict=True)) | {"comparator": ""} | row
        for key, row in own.items()
    ]
    for algorithm, comparator in permutations(records.plan["algorithms"], 2):
        pair = [
            _ratio_row(own[key], own[(comparator, *key[1:])], cells, key, comparator)
            for key in own
            if key[0] == algorithm
        ]
        if pair:
            rows.extend([_pooled_row(records, table, pair, algorithm, comparator), *pair])
    return pd.DataFrame(rows, columns=EFFICIENCY_COLUMNS)


def _keys(records: Records) -> Iterator[tuple[str, str, float]]:
    """(algorithm, env, threshold) of all planned cells."""
    for algorithm in records.plan["algorithms"]:
        for env in records.plan["environments"]:
            for threshold in records.plan["thresholds"].get(env, []):
                yield algorithm, env, threshold


def _efficiency_cell(runs: pd.DataFrame | None, note: str, horizon: int) -> dict:
    if runs is None:
        return {"seeds": 0, "cells": 0, "note": note}
    reached = np.isfinite(runs["crossed"])
    mean = statistics.restricted_interval(runs["restricted"], reached)
    return {
        "restricted_mean": mean.value,
        "low": mean.low,
        "high": mean.high,
        "minimum": runs["restricted"].min(),
        "maximum": runs["restricted"].max(),
        "seeds": len(runs),
        "cells": len(runs),
        "censored": int(np.isinf(runs["crossed"]).sum()),
        "transitions": horizon,
        "note": note,
    }


def _ratio_row(own: dict, other: dict, cells: dict, key: tuple, comparator: str) -> dict:
    """A row of `sample_efficiency` for a pair in one environment and threshold."""
    algorithm, env, threshold = key
    arms = [
        cells[name, env, threshold]["restricted"].to_numpy()[:, None]
        if (name, env, threshold) in cells
        else np.empty((0, 1))
        for name in (algorithm, comparator)
    ]
    ratio = statistics.restricted_mean_ratio([tuple(arms)])
    notes = [f"{n}: {c['note']}" for n, c in ((algorithm, own), (comparator, other)) if c["note"]]
    return own | {
        "algorithm": algorithm,
        "comparator": comparator,
        "env": env,
        "threshold": threshold,
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "comparator_restricted_mean": other.get("restricted_mean", math.nan),
        "comparator_seeds": other["seeds"],
        "comparator_cells": other["cells"],
        "comparator_censored": other.get("censored", math.nan),
        "note": "; ".join(notes),
    }


def _pooled_row(
    records: Records, table: pd.DataFrame, pair: list[dict], algorithm: str, comparator: str
) -> dict:
    """The row of all validated environments and thresholds of a pair."""
    unvalidated = records.plan["unvalidated"]
    left_out = [env for env in unvalidated if any(row["env"] == env for row in pair)]
    pair = [row for row in pair if row["env"] not in unvalidated]
    arms = []
    for env in dict.fromkeys(row["env"] for row in pair):
        runs = table[table["env"] == env]
        arms.append(
            tuple(
                runs[runs["algorithm"] == name]
                .pivot(index="seed", columns="threshold", values="restricted")
                .to_numpy()
                for name in (algorithm, comparator)
            )
        )
    ratio = statistics.restricted_mean_ratio(arms)

    def total(name: str) -> float:
        return sum(row[name] for row in pair if not pd.isna(row.get(name, math.nan)))

    return {
        "algorithm": algorithm,
        "comparator": comparator,
        "env": EVERY,
        "seeds": min((row["seeds"] for row in pair), default=0),
        "cells": total("cells"),
        "censored": total("censored"),
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "comparator_seeds": min((row["comparator_seeds"] for row in pair), default=0),
        "comparator_cells": total("comparator_cells"),
        "comparator_censored": total("comparator_censored"),
        "transitions": records.plan["transitions"],
        "note": "; ".join(
            dict.fromkeys(
                [f"{env}: left out, not validated" for env in left_out]
                + [f"{row['env']}: {row['note']}" for row in pair if row["note"]]
            )
        ),
    }
