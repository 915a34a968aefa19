"""Planted run records, their tables, and the verdicts that they give."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from planted import curve, plant

from analysis import claims, declarations, reference, tables
from analysis.comparisons import compare, sample_efficiency
from analysis.derived import csv_bytes
from analysis.figures import probability_of_improvement
from analysis.provenance import provenance_table
from analysis.records import read_scale
from analysis.scores import final_scores

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ("Hopper-v4", "Walker2d-v4", "HalfCheetah-v4", "Ant-v4")
HOPPER, _, CHEETAH, ANT = ENVIRONMENTS
SPREAD = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
"""Of five seeds around their mean."""
OTHER = {"algorithms": [], "unvalidated": {}, "transitions": 5_030_000}
PAPER = OTHER | {"folder": "results/paper", "planned": 270, "recorded": 0, "derived": False}
COMPARATOR = OTHER | {"folder": "results/comparator", "planned": 4, "recorded": 0, "derived": False}


def furnish(folder: Path) -> None:
    """Give a folder the committed floors, reference scores and declared claims."""
    for file in (reference.FLOORS, reference.REFERENCE_SCORES, declarations.CLAIMS):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)


def runs(algorithm: str, mean, spread=1.0, seeds: int = 5, environments=ENVIRONMENTS) -> dict:
    """Planted curves, five seeds an environment; `mean` and `spread` may be by environment."""
    found = {}
    for env in environments:
        centre = mean[env] if isinstance(mean, dict) else mean
        width = spread[env] if isinstance(spread, dict) else spread
        for seed in range(seeds):
            found[env, algorithm, seed] = curve(centre + width * SPREAD[seed], untrained=10.0)
    return found


def derive(plan: dict, missing: str = "refuse", with_improvement: bool = False) -> None:
    """Write the tables of a planted plan that claims read; the bootstrapped one where asked for."""
    (scale,) = plan["scales"]
    records = read_scale(plan, scale, missing)
    scores = final_scores(records)
    improvement = pd.DataFrame(columns=probability_of_improvement.COLUMNS)
    if with_improvement:
        improvement = probability_of_improvement.data(plan, records)
    for name, table in {
        "final_scores.csv": scores[tables.SCORE_COLUMNS],
        "table1.csv": tables.table1(records, scores),
        "comparisons.csv": compare(records, scores),
        "sample_efficiency.csv": sample_efficiency(records, scores),
        "hyperparameters.csv": tables.hyperparameter_table(plan, records),
        "provenance.csv": provenance_table(records),
        "figures/probability_of_improvement.csv": improvement,
    }.items():
        file = Path(plan["folder"], name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(csv_bytes(table))


def decided(plan: dict, missing: str = "refuse", others: dict | None = None) -> pd.DataFrame:
    """The table of claims on tables that are there, all of the plan's making, by claim."""
    document = declarations.read_claims()
    plan |= {
        "others": {"paper": PAPER, "comparator": COMPARATOR} | (others or {}),
        "artefacts": [name for name in document["evidence"] if Path(plan["folder"], name).exists()],
    }
    table = claims.claims_table(document, plan, missing)
    return table.set_index("claim")


def from_records(
    returns: dict, missing: str = "refuse", with_improvement: bool = False, **options
) -> pd.DataFrame:
    """Plant records, derive their tables, decide."""
    plan = plant(returns, **options)
    derive(plan, missing, with_improvement)
    return decided(plan, missing)


def verdict(table: pd.DataFrame, claim: str) -> str:
    return table.loc[claim, "verdict"]
