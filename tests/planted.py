"""Planted run records: folders as a training leaves them, with returns that a test chooses."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from algorithms.options import configuration_hash
from analysis.records import Records, read_scale, record_digest

Key = tuple[str, str, int]
"""env, algorithm, seed"""

EPISODES = 2
WALL_SECONDS = 60.0
EXPLORING_COSTS = 7.0
"""By how much the policy that explores returns less than the evaluated one."""


def curve(final: float, untrained: float = 0.0, evaluations: int = 10) -> list[float]:
    """Returns of an untrained evaluation and `evaluations` more, rising to `final` at half way."""
    rise = np.clip(np.arange(evaluations + 1) / (evaluations / 2), 0, 1)
    return list(untrained + (final - untrained) * rise)


def plant(
    returns: Mapping[Key, Sequence[float]],
    root: Path = Path("."),
    *,
    gaps: Collection[Key] = (),
    diverged: Collection[Key] = (),
    evaluate_every: int = 1000,
    evaluations: int = 10,
    folder: str = "results",
    scale: str = "desk",
    thresholds: Mapping[str, Sequence[float]] | None = None,
    variants: Mapping[str, Any] | None = None,
    updates_per_transition: float = 0.2,
) -> dict[str, Any]:
    """Write a record for each entry of `returns` (mean returns of its evaluations, in order) and
    the plan.json that asks for these and for `gaps`; returns the plan. Run in `root`.

    A run in `diverged` may have fewer evaluations than the others.
    """
    keys = [*returns, *gaps]
    environments, algorithms, seeds = (
        list(dict.fromkeys(part)) for part in zip(*keys, strict=True)
    )
    total = evaluate_every * evaluations
    runs = []
    for env in environments:
        for algorithm in algorithms:
            for seed in seeds:
                if (env, algorithm, seed) not in keys:
                    continue
                path = f"{folder}/runs/{scale}/{env}/{algorithm}/seed{seed}"
                configuration = {
                    "algorithm": algorithm,
                    "env": env,
                    "seed": seed,
                    "transitions": total,
                    "evaluate_every": evaluate_every,
                    "evaluation_episodes": EPISODES,
                    "num_envs": 1,
                }
                own = returns.get((env, algorithm, seed))
                if own is not None:
                    has_diverged = (env, algorithm, seed) in diverged
                    at = [evaluate_every * k for k in range(len(own))]
                    write_record(
                        root / path, configuration, at, own, has_diverged, updates_per_transition
                    )
                runs.append(
                    {
                        "path": path,
                        "env": env,
                        "algorithm": algorithm,
                        "seed": seed,
                        "configuration": configuration,
                        "hash": "planted",
                        "digest": record_digest(root / path) if own is not None else None,
                    }
                )
    part = {
        "folder": folder,
        "environments": environments,
        "algorithms": algorithms,
        "variants": dict(variants or {}),
        "seeds": seeds,
        "transitions": total,
        "warm_up": 0,
        "num_envs": 1,
        "updates_per_step": 1,
        "evaluate_every": evaluate_every,
        "evaluation_episodes": EPISODES,
        "thresholds": {env: list(values) for env, values in (thresholds or {}).items()},
        "unvalidated": {},
        "tuning": False,
        "runs": runs,
    }
    source = {"name": "discount", "value": 0.99, "description": "Of rewards.", "source": "digest"}
    plan = {
        "scale": scale,
        "folder": folder,
        "default_scale": scale,
        "state": "planted",
        "scales": {scale: part},
        "hyperparameters": {algorithm: [source] for algorithm in algorithms},
    }
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / "plan.json").write_text(json.dumps(plan) + "\n")
    return plan


def write_record(
    folder: Path,
    configuration: Mapping[str, Any],
    transitions: Sequence[int],
    returns: Sequence[float],
    has_diverged: bool = False,
    updates_per_transition: float = 0.2,
) -> None:
    """run.json, evaluations.csv and metrics.csv; episodes lie around their mean."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["transitions,updates,episode,return,length"]
    for at, mean in zip(transitions, returns, strict=True):
        for episode in range(EPISODES):
            offset = (2 * episode / (EPISODES - 1) - 1) * 0.5
            updates = round(at * updates_per_transition)
            lines.append(f"{at},{updates},{episode},{float(mean) + offset!r},1000")
    (folder / "evaluations.csv").write_text("\n".join(lines) + "\n")
    last = transitions[-1]
    updates = round(last * updates_per_transition)
    lines = ["transitions,updates,wall_seconds,exploring_return,action_on_face,critic_loss"]
    explored = list(returns[1:]) or [math.nan]
    for at, mean in zip(transitions[1:] or [last], explored, strict=True):
        seconds = WALL_SECONDS * at / max(last, 1)
        updates = round(at * updates_per_transition)
        exploring, on_face = float(mean) - EXPLORING_COSTS, 0.5 * at / max(last, 1)
        lines.append(f"{at},{updates},{seconds!r},{exploring!r},{on_face!r},{math.e}")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    document = {
        "status": "diverged" if has_diverged else "complete",
        "configuration": dict(configuration),
        "configuration_hash": configuration_hash(dict(configuration)),
        "wall_seconds": WALL_SECONDS,
        "transitions": last,
        "updates": updates,
        "optimiser_steps": 2 * updates,
    }
    (folder / "run.json").write_text(json.dumps(document) + "\n")


def read(plan: Mapping[str, Any], missing: str = "refuse") -> Records:
    """Records of the only scale of a planted plan."""
    (scale,) = plan["scales"]
    return read_scale(dict(plan), scale, missing)
