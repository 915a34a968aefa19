"""Planted studies of the laboratory, with records that probes leave of their runs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import plant

from analysis import laboratory
from analysis.laboratory import read_study
from analysis.probes import run_probes

ROOT = Path(__file__).resolve().parent.parent
SEEDS = range(5)
MULTI, FAR = "MultimodalBandit-v0", "FarModeBandit-v0"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """In a folder of its own, with the floors and reference scores of the repository."""
    for name in ("results/probes/floors", "paper"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("results/probes/floors/floors.csv", "paper/reference_scores.csv"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path)


def study(returns, name="study", **more):
    """A planted study of these runs, read as the workflow reads it."""
    plan = plant(returns, scale=name, **more)
    for run in plan["scales"][name]["runs"]:
        run["configuration"]["settings"] = {"inverse_temperature": 10.0}
    target = Path(laboratory.PLANS, name, "plan.json")
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(plan) + "\n")
    return lambda: read_study(name)


def leave(probe, name, env, label, seed, table, **changed):
    """A record of a probe of a planted run."""
    configuration = {"algorithm": label, "env": env, "seed": seed, "transitions": 10_000}
    document = {"configuration": configuration | changed, "probe": run_probes.SETTINGS.get(probe)}
    run = f"{name}/{env}/{label}/seed{seed}"
    return run_probes.write(probe, run, document, pd.DataFrame(table))


def samples(actions):
    return pd.DataFrame(np.asarray(actions, float).reshape(-1, 2), columns=["first", "second"])


def value(frame, **where):
    for column, wanted in where.items():
        frame = frame[frame[column] == wanted]
    assert len(frame) == 1, frame
    return frame.iloc[0]
