"""The table of the multimodal bandit: what each trained policy covers of a known soft policy.

Of samples of each trained policy (`analysis.probes.policies`), by quantity:

- `mode_mass_ratio`: probability of the neighbourhood of an optimal mode (`mode`, its coordinates),
  to that under the exact soft policy of the true reward. It ends `NEAR` widths from the mode:
  further off, in a corner of the box, an action is nearest to a mode and has nothing of it.
- `least_mode_mass_ratio`, `greatest_mode_mass_ratio`: that of the optimal mode that a policy covers
  least, and most. A mean over seeds of each mode apart cannot see policies that each miss another.
- `inside_share`: share of samples within one width of any mode.
- `divergence`: Jensen-Shannon, in nats (at most log 2), to the exact soft policy, on `GRID` x
  `GRID` cells.
- `regret`: the best reward less the mean reward of the samples.

and of the run records alone:

- `evaluated_regret`: the best reward less the final score, by each method's evaluation policy.
- `far_mode_transitions`: until `FOUND` of an evaluation's episodes return more than any worse mode,
  which takes a policy that goes to the best mode on purpose: half a percent of the box returns as
  much, and every method with a warm-up of random actions has seen it by chance. Runs that never do
  are cut at their end and counted in `censored`; `far_mode_transitions_ratio` is of two methods.

The exact soft policy is exp(`INVERSE_TEMPERATURE` reward)/Z. Rows of the labels `exact` and
`uniform` are of as many independent draws of it, and of uniform actions: the floor and the ceiling
of each quantity. A run that diverged left no policy: its masses are 0, its divergence is log 2.
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

from analysis.laboratory import (
    Study,
    budget,
    finals,
    mean_row,
    pair_rows,
    ratio_row,
)
from analysis.probes import run_probes
from analysis.records import read_run
from analysis.scores import cell_note
from analysis.statistics import restricted_interval, transitions_to_threshold
from envs.bandit import Landscape, SoftPolicy, landscape_of

COLUMNS = [
    *("quantity", "algorithm", "comparator", "env", "mode", "value", "low", "high", "seeds"),
    *("transitions", "updates", "minimum", "maximum", "censored", "comparator_censored", "note"),
    "degrees_of_freedom",
]
SAMPLED = ("mode_mass_ratio", "least_mode", "greatest_mode", "inside_share", "divergence", "regret")
PROBE_BY_QUANTITY = dict.fromkeys(SAMPLED, "samples")
"""What is of samples of the policies, which a probe drew, and not of the runs themselves."""
INVERSE_TEMPERATURE = 20.0
"""In units of 1 / reward, of the soft policy that all are held against: the best modes then hold
almost all mass. LQL's own is the same (`settings_of` in the protocol, times its reward scale)."""
SAMPLES = run_probes.SETTINGS["samples"]["count"]
"""Actions that each policy is sampled by: the standard error of a mass of a quarter is 0.01."""
GRID = 20
"""Cells a side for the divergence."""
FINE = 20
"""Points a side of each, to integrate the exact soft policy."""
NEAR = 2.0
"""Widths of a mode to the end of its neighbourhood, halfway to the next one in the lattice."""
FOUND = 0.1
"""Share of an evaluation's episodes."""
EXACT_SEED = 0
EXACT, UNIFORM = "exact", "uniform"
"""Labels of what policies are held against: independent draws of the soft policy, and of none."""


def table(studies: Sequence[Study]) -> pd.DataFrame:
    """All quantities of all cells of all studies."""
    rows: list[dict] = []
    for study in studies:
        for env in study.part["environments"]:
            landscape = landscape_of(env)
            if landscape is None:
                continue
            rows += [{"env": env} | row for row in _reference_rows(landscape, study)]
            for _, label, runs in (cell for cell in study.cells() if cell[0] == env):
                common = {"env": env, "algorithm": label, **budget(runs)}
                rows += [common | row for row in _sampled_rows(study, landscape, env, label, runs)]
                rows.append(common | _evaluated_regret(landscape, runs))
            if len(landscape.optimal_modes) == 1:
                rows += [{"env": env} | row for row in _far_mode_rows(study, landscape, env)]
    return pd.DataFrame(rows, columns=COLUMNS).fillna({"comparator": "", "mode": "", "note": ""})


def qualities(landscape: Landscape, samples: np.ndarray) -> dict[tuple[str, str], float]:
    """By (quantity, mode), of samples (n, 2); of no sample, the worst there is."""
    n = len(samples)
    exact = exact_masses(landscape)
    counted = near_mode_masses(landscape, samples, np.full(n, 1 / max(n, 1)))
    found = {
        ("mode_mass_ratio", mode_name(mode)): float(counted[k] / exact[k])
        for k, mode in enumerate(landscape.optimal_modes)
    }
    ratios = list(found.values())
    found["least_mode_mass_ratio", ""] = min(ratios)
    found["greatest_mode_mass_ratio", ""] = max(ratios)
    found["inside_share", ""] = float(inside(landscape, samples).mean()) if n else 0.0
    found["divergence", ""] = divergence(landscape, samples) if n else math.log(2)
    reward = landscape.reward(samples).mean() if n else 0.0
    return found | {("regret", ""): float(landscape.best_reward - reward)}


@cache
def exact_policy(landscape: Landscape) -> SoftPolicy:
    """The soft policy that all are held against."""
    return landscape.soft_policy(INVERSE_TEMPERATURE, GRID * FINE)


@cache
def exact_masses(landscape: Landscape) -> np.ndarray:
    """(modes,) probability of each mode's neighbourhood under the exact soft policy."""
    policy = exact_policy(landscape)
    points = np.stack(np.meshgrid(policy.axis, policy.axis, indexing="ij"), -1).reshape(-1, 2)
    return near_mode_masses(landscape, points, policy.density.ravel() / policy.density.sum())


def near_mode_masses(landscape: Landscape, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(modes,) sum of weights (n,) of the points (n, 2) in each mode's neighbourhood."""
    nearest = landscape.nearest_mode(points)
    is_near = inside(landscape, points, NEAR)
    return np.bincount(nearest[is_near], weights[is_near], len(landscape.modes))


def inside(landscape: Landscape, samples: np.ndarray, widths: float = 1.0) -> np.ndarray:
    """(n,) bool: within so many of its widths of the nearest mode."""
    k = landscape.nearest_mode(samples)
    distance = np.linalg.norm(samples - landscape.modes[k], axis=-1)
    return distance <= widths * landscape.mode_widths[k]


def divergence(landscape: Landscape, samples: np.ndarray) -> float:
    """Jensen-Shannon divergence in nats between the shares of samples (n, 2) in `GRID` x `GRID`
    cells and the masses of the exact soft policy."""
    fine = exact_policy(landscape).density
    exact = fine.reshape(GRID, FINE, GRID, FINE).mean((1, 3))
    found, _, _ = np.histogram2d(*np.clip(samples, -1, 1).T, bins=GRID, range=[[-1, 1]] * 2)
    p, q = exact / exact.sum(), found / found.sum()
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(x > 0, x * np.log(x / middle), 0).sum() for x in (p, q)]
    return float(sum(parts) / 2)


def mode_name(mode: np.ndarray) -> str:
    """`(+0.60 -0.60)`."""
    return f"({' '.join(f'{x:+.2f}' for x in mode)})"


def _sampled_rows(study: Study, landscape: Landscape, env: str, label: str, runs) -> list[dict]:
    samples = study.probed("samples", env, label)
    by_seed = {
        seed: qualities(landscape, drawn[["first", "second"]].to_numpy(float))
        for seed, drawn in samples.items()
    }
    keys = qualities(landscape, np.empty((0, 2)))
    notes = cell_note(runs)
    rows = []
    for quantity, mode in keys:
        values = {seed: found[quantity, mode] for seed, found in by_seed.items()}
        row = mean_row(values, study.part["seeds"], "samples")
        note = "; ".join(filter(None, [row["note"], "" if row["note"] else notes]))
        rows.append({"quantity": quantity, "mode": mode} | row | {"note": note})
    return rows


def _reference_rows(landscape: Landscape, study: Study) -> list[dict]:
    """Of as many independent draws as a policy is sampled by, for as many seeds as there are."""
    rows = []
    seeds = study.part["seeds"]
    for label in (EXACT, UNIFORM):
        by_seed = {}
        for seed in seeds:
            generator = np.random.default_rng([EXACT_SEED, seed])
            weight = INVERSE_TEMPERATURE if label == EXACT else 0.0
            by_seed[seed] = qualities(landscape, landscape.draw(weight, SAMPLES, generator))
        for quantity, mode in by_seed[seeds[0]]:
            values = {seed: found[quantity, mode] for seed, found in by_seed.items()}
            row = {"quantity": quantity, "mode": mode, "algorithm": label}
            rows.append(row | mean_row(values, seeds))
    return rows


def _evaluated_regret(landscape: Landscape, runs: pd.DataFrame) -> dict:
    seeds = runs["seed"].tolist()
    values = {seed: landscape.best_reward - final for seed, final in finals(runs).items()}
    note = cell_note(runs)
    return {"quantity": "evaluated_regret"} | mean_row(values, seeds) | {"note": note}


def _far_mode_rows(study: Study, landscape: Landscape, env: str) -> list[dict]:
    restricted, censored, notes, rows = {}, {}, {}, []
    for _, label, runs in (cell for cell in study.cells() if cell[0] == env):
        found = _far_mode_found(landscape, runs)
        horizon = study.part["transitions"]
        restricted[label] = {seed: min(at, horizon) for seed, at in found.items()}
        censored[label] = sum(map(math.isinf, found.values()))
        notes[label] = cell_note(runs)
        row = {"quantity": "far_mode_transitions", "algorithm": label, **budget(runs)}
        row |= mean_row(restricted[label], study.part["seeds"])
        reached = [math.isfinite(at) for at in found.values()]
        row |= restricted_interval(list(restricted[label].values()), reached)._asdict()
        row["note"] = notes[label]
        rows.append(row | {"censored": censored[label]})
    for row in pair_rows("far_mode_transitions_ratio", restricted, notes, ratio_row):
        counts = {"censored": censored[row["algorithm"]]}
        counts["comparator_censored"] = censored[row["comparator"]]
        rows.append(row | counts | {"transitions": study.part["transitions"]})
    return rows


def _far_mode_found(landscape: Landscape, runs: pd.DataFrame) -> dict[int, float]:
    """Transitions of each recorded run until `FOUND` of its episodes are at the best mode."""
    worse = landscape.reward(landscape.worse_modes).max()
    found = {}
    for run in runs[~runs["gap"]].itertuples():
        episodes = read_run(run.path).evaluations
        # Returns are of actions in single precision, which round a worse mode's own up.
        share = (episodes["return"] > worse + 1e-3).groupby(episodes["transitions"]).mean()
        found[int(run.seed)] = transitions_to_threshold(share.index, share, FOUND)
    return found
