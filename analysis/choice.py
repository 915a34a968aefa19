"""Which cell of a sweep its study chooses: the best mean over environments of late returns.

    python -m analysis.choice --scale sweep_lql [--missing gap]

writes choice.csv into the study's folder, a row a label and environment and, with env `all`, their
mean, best first:

- `late`: mean over seeds of a run's last `LATE` evaluations. One evaluation of one seed decides
  little, and a run that learns sooner is worth more here.
- `normalised`: the same between the random policy (0) and the published SAC (1).
- `chosen`: 1 for the label with the highest normalised mean over all environments, else 0; empty
  while any label lacks a run. One of which a run diverged is not chosen, so that it may be none.

Same records, same bytes.
"""

import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis import reference
from analysis.derived import command, csv_bytes
from analysis.records import RecordError, Records

LATE = 5
"""Evaluations at the end of a run."""
EVERY = "all"
COLUMNS = ["algorithm", "env", "late", "normalised", "seeds", "chosen"]


def choice(records: Records) -> pd.DataFrame:
    """The table of a study whose environments all have a published score. RecordError."""
    scales = {env: reference.normalisation(env) for env in records.plan["environments"]}
    for env, scale in scales.items():
        if isinstance(scale, str):
            raise RecordError(reference.REFERENCE_SCORES, f"no choice by {env}: {scale}")
    late = _late_returns(records).groupby(["algorithm", "env"])["late"]
    cells = pd.MultiIndex.from_product([records.plan["algorithms"], scales])
    each = pd.DataFrame({"late": late.mean(), "seeds": late.count()}).reindex(cells)
    each = each.rename_axis(["algorithm", "env"]).fillna({"seeds": 0}).reset_index()
    each["normalised"] = [
        scales[env](value) for env, value in zip(each["env"], each["late"], strict=True)
    ]
    overall = each.groupby("algorithm", sort=False).agg(
        normalised=("normalised", lambda own: own.mean(skipna=False)), seeds=("seeds", "min")
    )
    overall = overall.assign(env=EVERY).reset_index()
    overall = overall.sort_values("normalised", ascending=False, kind="stable")
    if (overall["seeds"] == len(records.plan["seeds"])).all():
        best = overall["normalised"].max()
        is_chosen = (overall["normalised"] == best) & np.isfinite(best)
        overall["chosen"] = is_chosen.astype(int)
    rank = {label: k for k, label in enumerate(overall["algorithm"])}
    each = each.sort_values("algorithm", key=lambda of: of.map(rank), kind="stable")
    return pd.concat([overall, each], ignore_index=True).reindex(columns=COLUMNS)


def _late_returns(records: Records) -> pd.DataFrame:
    """algorithm, env, seed and late of each recorded run. One that diverged, maybe before it was
    ever evaluated, has no late returns, counts as recorded, and is not chosen."""
    by_time = records.evaluations.sort_values("transitions")
    returns = dict(list(by_time.groupby(["algorithm", "env", "seed"])["return_mean"]))
    rows = []
    for run in records.runs[~records.runs["gap"]].itertuples():
        key = run.algorithm, run.env, run.seed
        late = -np.inf if run.status == "diverged" else returns[key].tail(LATE).mean()
        rows.append((*key, late))
    return pd.DataFrame(rows, columns=["algorithm", "env", "seed", "late"])


def derive(plan: Mapping, records: Records) -> dict[str, bytes]:
    """choice.csv."""
    return {"choice.csv": csv_bytes(choice(records), ["seeds", "chosen"])}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return command("analysis.choice", __doc__.splitlines()[0], derive, arguments)


if __name__ == "__main__":
    sys.exit(main())
