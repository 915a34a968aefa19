"""Looks at the trained policies of a study: samples of them, and proposals from their critics.

    python -m analysis.probes.policies --study NAME

A policy (`policy.pt`) is too large to be committed, so what tables and figures need of it is drawn
once, after training, and kept as records (`analysis.probes.run_probes`) in `results/probes/samples`
and `results/probes/proposals`. A run that has its records, or has no policy at hand, is passed over
and counted; records of a run that was trained again since are made again.
"""

import argparse
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from algorithms.device import generator_on
from algorithms.record import POLICY, read_document, read_policy
from analysis.bandit import SAMPLES
from analysis.plan import Plan
from analysis.probes import run_probes
from analysis.probes.command import exit_status
from analysis.probes.samples import conditions
from analysis.records import record_digest
from analysis.resolution import read_overrides
from envs.bandit import landscape_of

PROPOSALS, UNIFORM, BATCHES, GRID = run_probes.SETTINGS["proposals"].values()
"""Actions that are proposed at each temperature; uniform draws that they are held against, and how
often, for the mean of their best; cells a side of the box, for exact draws from a critic."""
FACTORS = (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0, 16.0)
"""Of the run's own inverse temperature."""
CPU = torch.device("cpu")


def draw_samples(folder: Path, configuration: Mapping[str, Any]) -> pd.DataFrame | None:
    """`SAMPLES` actions of the exploring policy of a run on a bandit: columns first, second.

    A policy that acts no more (its run diverged) leaves no row. None for another environment.
    """
    if landscape_of(configuration["env"]) is None:
        return None
    agent = read_policy(folder, CPU)
    agent.generators["actions"] = _generator("samples", configuration)
    action = agent.act(torch.zeros(SAMPLES, 1), explore=True)
    return pd.DataFrame(action[action.isfinite().all(1)].numpy(), columns=["first", "second"])


def propose(folder: Path, configuration: Mapping[str, Any]) -> pd.DataFrame | None:
    """Value and spread of proposals from the critic of a run on a bandit, a row a temperature.

    factor, inverse_temperature; proposal_value and proposal_distance, the mean Q of `PROPOSALS`
    actions and their mean pairwise distance, in actions; exact_value and exact_distance, the same
    of as many draws from exp(w Q)/Z by quadrature; uniform_value and best_of_uniform_value, the
    mean and the mean best of `UNIFORM` uniform draws.

    None for what is no bandit, or has no temperature and no critic.
    """
    own = configuration["settings"].get("inverse_temperature")
    if landscape_of(configuration["env"]) is None or own is None:
        return None
    agent = read_policy(folder, CPU)
    if not hasattr(agent, "propose") or not hasattr(agent, "value"):
        return None
    generator, rows = _generator("proposals", configuration), []
    uniform = torch.rand(BATCHES * UNIFORM, 2, generator=generator) * 2 - 1
    values = agent.value(torch.zeros(len(uniform), 1), uniform).view(BATCHES, UNIFORM)
    for factor in FACTORS:
        agent = read_policy(folder, CPU, settings={"inverse_temperature": own * factor})
        agent.generators["actions"] = generator
        (proposed,) = agent.propose(torch.zeros(1, 1), PROPOSALS)
        exact = exact_draws(agent.value, own * factor, PROPOSALS, generator)
        rows.append(
            {
                "factor": factor,
                "inverse_temperature": own * factor,
                "proposal_value": float(agent.value(torch.zeros(PROPOSALS, 1), proposed).mean()),
                "exact_value": float(agent.value(torch.zeros(PROPOSALS, 1), exact).mean()),
                "uniform_value": float(values.mean()),
                "best_of_uniform_value": float(values.amax(1).mean()),
                "proposal_distance": float(torch.pdist(proposed).mean()),
                "exact_distance": float(torch.pdist(exact).mean()),
            }
        )
    return pd.DataFrame(rows)


def exact_draws(
    value: Callable[[Tensor, Tensor], Tensor],
    inverse_temperature: float,
    count: int,
    generator: torch.Generator,
) -> Tensor:
    """(count, 2) draws from exp(w Q)/Z on the box: a cell of a grid by its mass at the midpoint,
    and uniformly within it. `value` maps observations (n, 1) and actions (n, 2) to Q (n,)."""
    axis = (torch.arange(GRID) + 0.5) * (2 / GRID) - 1
    midpoints = torch.cartesian_prod(axis, axis)
    exponent = inverse_temperature * value(torch.zeros(len(midpoints), 1), midpoints).double()
    mass = torch.softmax(exponent, 0)
    # By the inverse of the distribution function: torch.multinomial takes no more than 2^24 cells
    # and rounds small masses to zero in single precision.
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    cell = torch.searchsorted(mass.cumsum(0), uniform).clamp(max=len(mass) - 1)
    return midpoints[cell] + (torch.rand(count, 2, generator=generator) - 0.5) * (2 / GRID)


def _generator(probe: str, configuration: Mapping[str, Any]) -> torch.Generator:
    """Of a probe of a run; by names, so that no run depends on another."""
    words = (probe, configuration["algorithm"], configuration["env"])
    key = tuple(zlib.crc32(word.encode()) for word in words)
    sequence = np.random.SeedSequence(configuration["seed"], spawn_key=key)
    return generator_on(CPU, int(sequence.generate_state(1, np.uint64)[0] >> 1))


PROBES = {"samples": draw_samples, "proposals": propose}
"""By name: what looks at (folder, configuration) of a run."""
OF_TABLES = {"bandit": "samples", "ablation": "samples", "proposals": "proposals"}
"""Which probe a table of the laboratory reads."""


def probe_study(study: str, overrides: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Write every record that can be had of a study of the protocol with `overrides`; how many were
    `written`, `there` before, or without a `policy`. Raises PlanError, ProtocolError, Refused,
    RecordError and NotWritten."""
    plan = Plan(overrides, is_main_process=False)
    tables = plan.protocol.scale(study).laboratory
    counts = {"written": 0, "there": 0, "policy": 0}
    for probe in dict.fromkeys(OF_TABLES[table] for table in tables if table in OF_TABLES):
        measure, settings = PROBES[probe], run_probes.SETTINGS[probe]
        for run in plan.runs(study):
            folder, table_file = Path(run.path), run_probes.path_of(probe, run.name)
            there = run_probes.documents(run.name).get(table_file, {})
            if table_file.with_suffix(".json").exists() and run_probes.is_of_record(there, folder):
                counts["there"] += 1
                continue
            record = read_document(folder)
            if record is None or not (folder / POLICY).exists():
                counts["policy"] += 1
                continue
            with torch.no_grad():
                table = measure(folder, record["configuration"])
            if table is not None:
                document = conditions(_command(study), CPU)
                document |= {"configuration": record["configuration"], "probe": settings}
                document[run_probes.RUN_DIGEST] = record_digest(folder)
                run_probes.write(probe, run.name, document, table)
                counts["written"] += 1
    return counts


def _command(study: str) -> list[str]:
    return ["python", "-m", "analysis.probes.policies", "--study", study]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, as of `exit_status`."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.probes.policies", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--study", required=True)
    parser.add_argument("--overrides", default="{}", help="JSON, merged into the protocol")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    def look() -> None:
        counts = probe_study(options.study, read_overrides(options.overrides))
        print(
            f"{options.study}: {counts['written']} records written, {counts['there']} were there, "
            f"{counts['policy']} runs have no policy at hand"
        )

    return exit_status(look)


if __name__ == "__main__":
    sys.exit(main())
