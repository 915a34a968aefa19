"""Plants a run's record as a finished run of a given configuration leaves it, for tests."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from algorithms.options import configuration_hash, planned_evaluations

CONFIGURATION = {
    "algorithm": "ppo",
    "env": "Hopper-v4",
    "seed": 0,
    "transitions": 1000,
    "num_envs": 5,
    "warm_up": 0,
    "evaluate_every": 250,
    "evaluation_episodes": 3,
    "updates_per_step": 1,
}
"""Of a small run."""


def improving(generator: np.random.Generator, share: float) -> float:
    """Return of an episode after a share of the run, as of a method that learns."""
    return float(20 + 1000 * share + 30 * generator.standard_normal())


def plant_record(
    folder: str | Path,
    configuration: dict[str, Any] = CONFIGURATION,
    stops_at: int | None = None,
    episode_return: Callable[[np.random.Generator, float], float] = improving,
    wall_seconds: float = 60.0,
) -> Path:
    """Write the three files of a record. `stops_at`: transitions at which it diverged."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(configuration["seed"])
    total, step = configuration["transitions"], configuration["num_envs"]
    end = total if stops_at is None else stops_at
    evaluations, metrics = [], []
    for planned in planned_evaluations(configuration):
        at = -(-planned // step) * step
        if at > end:
            break
        updates = max(at - configuration["warm_up"], 0) // step
        for episode in range(configuration["evaluation_episodes"]):
            value = episode_return(generator, at / total)
            evaluations.append(f"{at},{updates},{episode},{value!r},{100 + episode}")
        if 0 < at < end:
            metrics.append(f"{at},{updates},{generator.random()!r},")
    updates = max(end - configuration["warm_up"], 0) // step
    metrics.append(f"{end},{updates},{generator.random()!r},")
    tables = {
        "evaluations.csv": ["transitions,updates,episode,return,length", *evaluations],
        "metrics.csv": ["transitions,updates,critic_loss,seldom", *metrics],
    }
    for name, lines in tables.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    document = {
        "status": "complete" if stops_at is None else "diverged",
        "configuration": configuration,
        "configuration_hash": configuration_hash(configuration),
        "wall_seconds": wall_seconds,
        "transitions": end,
        "updates": updates,
        "optimiser_steps": updates,
    }
    (folder / "run.json").write_text(json.dumps(document, indent=1) + "\n")
    return folder
