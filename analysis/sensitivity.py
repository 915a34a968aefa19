"""The table of sensitivity: what a method scores while one of its knobs is turned.

A grid of the protocol with a `knob` turns it by factors of its default, the same for every method;
factor 1 is the algorithm itself, or the grid's own cell. Scores are mean returns over the
evaluations after the warm-up, above the random policy's, since returns have no zero of their own.
(Most settings end at the task's best: final returns would call every knob insensitive.) By
quantity:

- `score`: of a knob at a `factor`; with knob empty, of the algorithm as it is (of SAC: tuned).
- `share_within_80_percent`: of the range, on a logarithmic axis and by linear interpolation between
  its points, in which a run's score is at least 80 % of the best that the knob reaches; seed by
  seed, so that seeds are its replicates.
- `share_within_80_percent_difference`: of two methods' knobs (comparator, comparator_knob).
- `share_of_final_within_80_percent`, `share_of_final_within_80_percent_difference`: the same two of
  final scores (the last tenth of the transitions) instead.

A knob that never gets above the random policy has no best, and its share is 0 with a note.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
import pandas as pd

from analysis.laboratory import Study, budget, difference_row, finals, mean_row
from analysis.scores import cell_note

COLUMNS = [
    *("quantity", "algorithm", "knob", "comparator", "comparator_knob", "env", "value", "low"),
    *("high", "seeds", "transitions", "updates", "factor", "label", "minimum", "maximum"),
    *("best_factor", "note", "degrees_of_freedom"),
]
SHARE = 0.8
"""Of the best score, that still counts as good."""


def table(studies: Sequence[Study]) -> pd.DataFrame:
    """All quantities of all knobs of all studies."""
    rows = [
        row for study in studies for env in study.part["environments"] for row in _env(study, env)
    ]
    text = dict.fromkeys(("knob", "comparator", "comparator_knob", "label", "note"), "")
    return pd.DataFrame(rows, columns=COLUMNS).fillna(text)


def knobs(study: Study) -> dict[tuple[str, str], dict[float, str]]:
    """By (algorithm, knob): the label at each factor, in the order of factors."""
    found: dict[tuple[str, str], dict[float, str]] = {}
    for label, variant in study.part["variants"].items():
        if variant.get("knob"):
            (factor,) = variant["factors"].values()
            found.setdefault((variant["algorithm"], variant["knob"]), {})[float(factor)] = label
    for (algorithm, _), labels in found.items():
        if 1.0 not in labels and algorithm in study.part["algorithms"]:
            labels[1.0] = algorithm
    return {key: dict(sorted(labels.items())) for key, labels in found.items()}


def good_share(factors: Sequence[float], scores: Sequence[float]) -> float:
    """Share of the logarithmic range of `factors` (ascending) in which the scores, interpolated
    linearly, are at least `SHARE` of the best; 0 if the best is not above 0."""
    x, y = np.log(np.asarray(factors, float)), np.asarray(scores, float)
    if not np.isfinite(y).all():
        return math.nan
    level = SHARE * y.max()
    if level <= 0:
        return 0.0
    above = 0.0
    for (x0, x1), (y0, y1) in zip(
        zip(x[:-1], x[1:], strict=True), zip(y[:-1], y[1:], strict=True), strict=True
    ):
        low, high = min(y0, y1), max(y0, y1)
        part = float(y0 >= level) if low == high else np.clip((high - level) / (high - low), 0, 1)
        above += part * (x1 - x0)
    return float(above / (x[-1] - x[0]))


def _env(study: Study, env: str) -> list[dict]:
    cells = {label: runs for at, label, runs in study.cells() if at == env}
    above = {
        label: _less_random(runs, study.mean_returns(env, label)) for label, runs in cells.items()
    }
    rows = []
    for label in study.part["algorithms"]:
        if label == study.base(label):
            row = {"algorithm": label, "knob": "", "label": label, "env": env}
            rows.append(row | _score(study, cells[label], above[label]))
    for (algorithm, knob), labels in knobs(study).items():
        turned = {"algorithm": algorithm, "knob": knob, "env": env}
        for factor, label in labels.items():
            own = {"factor": factor, "label": label}
            rows.append(turned | own | _score(study, cells[label], above[label]))
    rows += _share_rows(study, env, cells, above, "share_within_80_percent")
    final = {label: _less_random(runs, finals(runs)) for label, runs in cells.items()}
    return rows + _share_rows(study, env, cells, final, "share_of_final_within_80_percent")


def _share_rows(
    study: Study,
    env: str,
    cells: Mapping[str, pd.DataFrame],
    above: Mapping[str, Mapping[int, float]],
    quantity: str,
) -> list[dict]:
    """Of every knob and every ordered pair of them, by scores `above` random of label and seed."""
    rows = []
    shares: dict[tuple[str, str], dict[int, float]] = {}
    notes: dict[tuple[str, str], str] = {}
    for (algorithm, knob), labels in knobs(study).items():
        common = {"algorithm": algorithm, "knob": knob, "env": env}
        by_factor = {factor: above[label] for factor, label in labels.items()}
        key = algorithm, knob
        shares[key] = _shares(by_factor, study.part["seeds"])
        row = mean_row(shares[key], study.part["seeds"], f"whole range of {knob}")
        means = {factor: np.mean(list(v.values())) for factor, v in by_factor.items() if v}
        if means and not row["note"]:
            row["best_factor"] = max(means, key=means.get)
            if max(means.values()) <= 0:
                row["note"] = "never above the random policy"
        notes[key] = row["note"]
        most = pd.DataFrame([budget(cells[label]) for label in labels.values()]).max().to_dict()
        rows.append(common | most | {"quantity": quantity} | row)
    for own, other in permutations(shares, 2):
        note = "; ".join(f"{' '.join(key)}: {notes[key]}" for key in (own, other) if notes[key])
        row = dict(
            zip(("algorithm", "knob", "comparator", "comparator_knob"), own + other, strict=True)
        )
        row |= {"quantity": f"{quantity}_difference", "env": env, "note": note}
        row["transitions"] = study.part["transitions"]
        rows.append(row | difference_row(shares[own], shares[other]))
    return rows


def _score(study: Study, runs: pd.DataFrame, above: Mapping[int, float]) -> dict:
    row = mean_row(above, study.part["seeds"])
    return {"quantity": "score", **budget(runs)} | row | {"note": cell_note(runs)}


def _less_random(runs: pd.DataFrame, returns: Mapping[int, float]) -> dict[int, float]:
    """Returns less the random policy's, by seed; themselves where that was not measured."""
    floor = runs["random"].iloc[0] if len(runs) else math.nan
    return {seed: value - (0 if math.isnan(floor) else floor) for seed, value in returns.items()}


def _shares(
    by_factor: Mapping[float, Mapping[int, float]], seeds: Sequence[int]
) -> dict[int, float]:
    """Of the seeds that have every factor."""
    factors = list(by_factor)
    return {
        seed: good_share(factors, [by_factor[factor][seed] for factor in factors])
        for seed in seeds
        if len(factors) > 1 and all(seed in by_factor[factor] for factor in factors)
    }
