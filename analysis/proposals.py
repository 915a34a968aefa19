"""The table of proposals: diverse actions from a fixed Q, as offline data could be augmented with.

Of the records of `analysis.probes.policies`: many chains on the critic of a trained run, at several
factors of its own inverse temperature. By quantity, over runs (`repeats`, one a seed):

- `value_share`: mean Q of the proposals above the mean of uniform actions, to that of the best of
  1,000 uniform actions. 1 is as good as the best of a thousand tries; uniform proposals have 0.
- `exact_value_share`: the same of exact draws of the critic's soft policy exp(w Q)/Z, which at a
  temperature above zero does not reach 1 either.
- `distance_ratio`: mean pairwise distance of the proposals, to that of as many exact draws. Below 1
  they are less diverse than what they should sample, above it they are where they should not be.

at the method's own temperature; `<quantity>_at_temperature` is the same at every factor.
`temperature` is 1/w, in scaled reward, of what the chain climbs:
LQL's is the mean of its twins, NC-LQL's their sum, so that there it is 2 tau of their mean. Where
the gradient is divided by its norm, w is no inverse temperature of what is sampled
(`algorithms/nc_lql.py`), and says only how far the drift goes.
"""

from collections.abc import Sequence

import pandas as pd

from analysis.laboratory import Study, mean_row

COLUMNS = [
    *("quantity", "algorithm", "env", "temperature", "value", "low", "high", "repeats"),
    *("factor", "minimum", "maximum", "note"),
]
PROBE_BY_QUANTITY = {"": "proposals"}
"""The probe that all quantities are of."""
QUANTITIES = ("value_share", "exact_value_share", "distance_ratio")


def table(studies: Sequence[Study]) -> pd.DataFrame:
    """All quantities of every algorithm whose critic can be asked for proposals."""
    rows = [row for study in studies for row in _study(study)]
    return pd.DataFrame(rows, columns=COLUMNS)


def shares(measured: pd.DataFrame) -> pd.DataFrame:
    """The quantities of one record, a row a factor."""
    uniform = measured["uniform_value"]
    best = measured["best_of_uniform_value"] - uniform
    return measured.assign(
        value_share=(measured["proposal_value"] - uniform) / best,
        exact_value_share=(measured["exact_value"] - uniform) / best,
        distance_ratio=measured["proposal_distance"] / measured["exact_distance"],
    ).set_index("factor")


def _study(study: Study) -> list[dict]:
    seeds, rows = study.part["seeds"], []
    temperatures = {
        (run["env"], run["algorithm"]): 1 / run["configuration"]["settings"]["inverse_temperature"]
        for run in study.part["runs"]
        if "inverse_temperature" in run["configuration"].get("settings", {})
    }
    for (env, label), temperature in temperatures.items():
        found = study.probed("proposals", env, label)
        measured = {seed: shares(record) for seed, record in found.items()}
        factors = sorted({factor for record in measured.values() for factor in record.index})
        for quantity in QUANTITIES:
            for factor in [None, *factors]:
                at = 1.0 if factor is None else factor
                values = {seed: record.loc[at, quantity] for seed, record in measured.items()}
                row = mean_row(values, seeds, "proposals")
                row["repeats"] = row.pop("seeds")
                rows.append(
                    {
                        "quantity": quantity if factor is None else f"{quantity}_at_temperature",
                        "algorithm": label,
                        "env": env,
                        "factor": at,
                        "temperature": temperature / at,
                        **row,
                    }
                )
    return rows
