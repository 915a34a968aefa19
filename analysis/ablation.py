"""The table of the ablation: an algorithm against itself with one thing changed.

Every variant of a study is held against the algorithm that it is of. By quantity:

- `return`: the final score.
- `mean_return`: the mean over all evaluations after the warm-up, into which how fast a variant
  learns enters, too, and which varies less.
- `exploring_return`: the mean return of the last tenth of training, by the policy that explores.
  Chains that begin at the previous action do so here alone; evaluations begin afresh.

and on a bandit, of samples of the trained policies (see `analysis.bandit`):

- `inside_share`, the share of samples inside modes, and `least_mode_mass_ratio`, that of the
  optimal mode which is covered worst.

Of each also `<quantity>_difference`, the algorithm's (`algorithm`) less the variant's
(`comparator`), by Welch.

Updates and optimiser steps stand beside: NC-LQL takes two steps of its optimiser an update, its
unconditioned and its joint form one.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.bandit import qualities
from analysis.laboratory import (
    Study,
    budget,
    difference_row,
    finals,
    mean_row,
)
from analysis.scores import cell_note
from envs.bandit import landscape_of

COLUMNS = [
    *("quantity", "algorithm", "comparator", "env", "value", "low", "high", "seeds"),
    *("transitions", "updates", "optimiser_steps", "comparator_updates"),
    *("comparator_optimiser_steps", "minimum", "maximum", "description", "note"),
    "degrees_of_freedom",
]

PROBE_BY_QUANTITY = dict.fromkeys(("inside_share", "least_mode_mass_ratio"), "samples")
"""What is of samples of the policies, which a probe drew, and not of the runs themselves."""


def table(studies: Sequence[Study]) -> pd.DataFrame:
    """All quantities of all studies."""
    rows = [
        row for study in studies for env in study.part["environments"] for row in _env(study, env)
    ]
    return pd.DataFrame(rows, columns=COLUMNS).fillna(
        {"comparator": "", "description": "", "note": ""}
    )


def _env(study: Study, env: str) -> list[dict]:
    cells = {label: runs for at, label, runs in study.cells() if at == env}
    values = {
        "return": {label: finals(runs) for label, runs in cells.items()},
        "mean_return": {label: study.mean_returns(env, label) for label in cells},
        "exploring_return": {
            label: _exploring_returns(study, runs) for label, runs in cells.items()
        },
    }
    if landscape_of(env) is not None:
        for label in cells:
            for quantity, by_seed in _sampled(study, env, label).items():
                values.setdefault(quantity, {})[label] = by_seed
    notes = {label: cell_note(runs) for label, runs in cells.items()}
    budgets = {label: budget(runs) for label, runs in cells.items()}
    rows = []
    for quantity, by_label in values.items():
        for label, by_seed in by_label.items():
            row = mean_row(
                by_seed, study.part["seeds"], "record" if quantity.endswith("return") else "samples"
            )
            row["note"] = notes[label] or row["note"]
            described = study.part["variants"].get(label, {}).get("description", "")
            common = {"quantity": quantity, "algorithm": label, "env": env}
            rows.append(common | budgets[label] | row | {"description": described})
    for quantity, by_label in values.items():
        for label in by_label:
            base = study.base(label)
            if label == base or base not in by_label:
                continue
            pair = {"quantity": f"{quantity}_difference", "algorithm": base, "comparator": label}
            arms = f"{base}: {notes[base]}", f"{label}: {notes[label]}"
            note = "; ".join(told for told in arms if not told.endswith(": "))
            against = {
                f"comparator_{k}": v for k, v in budgets[label].items() if k != "transitions"
            }
            row = difference_row(by_label[base], by_label[label])
            rows.append(pair | {"env": env, "note": note} | budgets[base] | against | row)
    return rows


def _exploring_returns(study: Study, runs: pd.DataFrame) -> dict[int, float]:
    """By seed, over the last tenth of the transitions that a run has; of one that diverged no more
    than it had untrained, since to diverge is never worth more than not to learn."""
    found = {}
    for run in runs[~runs["gap"]].itertuples():
        metrics = study.records.metrics(run.path)
        is_late = metrics["transitions"] > 0.9 * metrics["transitions"].max()
        found[int(run.seed)] = float(metrics.loc[is_late, "exploring_return"].mean())
        if run.status == "diverged":
            found[int(run.seed)] = float(np.fmin(found[int(run.seed)], run.untrained))
    return found


def _sampled(study: Study, env: str, label: str) -> dict[str, Mapping[int, float]]:
    """inside_share and least_mode_mass_ratio by seed."""
    landscape = landscape_of(env)
    found: dict[str, dict[int, float]] = {"inside_share": {}, "least_mode_mass_ratio": {}}
    for seed, drawn in study.probed("samples", env, label).items():
        of_seed = qualities(landscape, drawn[["first", "second"]].to_numpy(float))
        for quantity, by_seed in found.items():
            by_seed[seed] = of_seed[quantity, ""]
    return found
