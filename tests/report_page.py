"""A working folder with results for the report's page, planted."""

import os
from pathlib import Path

from audited import HOPPER, derive, furnish, runs
from planted import plant
from repository import copy

from analysis import claims
from analysis.figures import learning_curves

HOSTILE = "evil\"'><script>window.hacked=1<!--"
"""As the name of an algorithm."""


def prepare(folder: Path, returns: dict, missing: str = "refuse", **options) -> None:
    """A working folder with sources of the page, planted records and their tables."""
    furnish(folder)
    copy(("paper/report", "paper/captions"), folder)
    os.chdir(folder)
    derive(plant(returns, thresholds={HOPPER: [500]}, **options), missing)
    assert learning_curves.main(["--missing", missing]) == 0
    assert claims.main(["--missing", missing]) == 0


def prepare_methods(folder: Path) -> None:
    """Results of three methods, one of a hostile name, one with a run that diverged."""
    returns = runs("nc_lql", 2345, 50, environments=[HOPPER])
    returns |= runs("ppo", 1234, 50, environments=[HOPPER])
    returns |= runs(HOSTILE, 777, 5, seeds=1, environments=[HOPPER])
    gaps = [(HOPPER, HOSTILE, seed) for seed in range(1, 5)]
    prepare(folder, returns, "gap", gaps=gaps, diverged=[(HOPPER, "ppo", 3)])
