"""The repository copied aside, for tests that run it, and a scale that is quick to run there."""

import shutil
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = (
    "algorithms",
    "analysis",
    "config",
    "envs",
    "paper",
    "profiles",
    "rules",
    "Snakefile",
    "pyproject.toml",
)
"""What the workflow runs from."""
TINY = {
    "environments": ["Hopper-v4"],
    "algorithms": ["ppo", "nc_lql"],
    "seeds": [0, 1],
    "transitions": 1000,
    "num_envs": 5,
    "warm_up": 200,
    "updates_per_step": 1,
    "evaluate_every": 250,
    "evaluation_episodes": 2,
    "compile": False,
    "settings": {"hidden_width": 16, "batch_size": 16},
    "thresholds": {"Hopper-v4": [100]},
}
"""A scale of four runs."""


def copy(parts: Sequence[str], folder: Path) -> None:
    """Copy files and folders of the repository, by their names from its root, into `folder`."""
    for part in parts:
        target = folder / part
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, target, ignore=ignored)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / part, target)
