"""Trains a run and counts the states that it visits: state coverage over its first transitions.

    python -m analysis.probes.visits --study NAME --run NAME/ENV/LABEL/seedK

The run is the ordinary one of the study, by the same loop and to the same bytes; only the states
that its exploring actions lead to are noted, outside of the loop, so that nothing in it is slower.
Leaves a record (`analysis.probes.run_probes`) in `results/probes/visits`, one row for each of
`MARKS` points of the run and each width of a cell:

    transitions,width,cells,cells_after_warm_up

A state is a point of a grid over every pair of coordinates of the observation, in units of the
spread that a random policy has in them; `cells` is the number of cells visited, averaged over the
pairs. (Over all coordinates at once nearly every state would be a cell of its own, whatever a
method does.) `cells_after_warm_up` counts the same without the first transitions, as many as
methods with a replay begin with at random; for every method, so that all have equally many.
"""

import argparse
import contextlib
import itertools
import sys
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from algorithms.options import Refused
from algorithms.train import prepare_process
from analysis.plan import Plan, PlanError
from analysis.probes import run_probes
from analysis.probes.command import exit_status
from analysis.protocol import Scale
from analysis.resolution import read_overrides

WIDTHS, MARKS = run_probes.SETTINGS["visits"].values()
"""Sides of a cell, in standard deviations of a random policy's states; points of a run at which
visited cells are counted."""
RANDOM_TRANSITIONS = 10_000
"""Of the random policy that sets the units; its seed is one for all runs of an environment."""


class Watched:
    """A vector environment that remembers where each step led."""

    def __init__(self, environment: Any):
        self._environment = environment
        self.visited: list[np.ndarray] = []
        """(n, observation) of each step; true final observations at an end."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    def step(self, action: np.ndarray) -> Any:
        step = self._environment.step(action)
        self.visited.append(step.next_observation)
        return step


def random_spread(env: str) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation) of each coordinate (observation,) under uniformly random actions;
    a coordinate that does not move has a deviation of 1."""
    from envs import VectorEnvironment, sizes

    sequence = np.random.SeedSequence(0, spawn_key=(zlib.crc32(env.encode()),))
    generator = np.random.default_rng(sequence)
    seeds = [int(seed) for seed in generator.integers(2**31, size=10)]
    environment = Watched(VectorEnvironment(env, seeds))
    for _ in range(RANDOM_TRANSITIONS // 10):
        environment.step(generator.uniform(-1, 1, (10, sizes(env)[1])).astype(np.float32))
    environment.close()
    states = np.concatenate(environment.visited).astype(np.float64)
    deviation = states.std(0)
    return states.mean(0), np.where(deviation > 1e-9, deviation, 1.0)


def visited_cells(states: np.ndarray, width: float) -> float:
    """Cells of side `width` that states (n, coordinates) visit in the plane of two coordinates,
    averaged over all pairs; of the line where there is one coordinate."""
    if not len(states):
        return 0.0
    cells = np.floor(states / width).astype(np.int64)
    if cells.shape[1] == 1:
        return float(len(np.unique(cells)))
    # One integer for two: coordinates beyond 2^31 cells from the middle are none of this world.
    low = np.clip(cells, -(2**31), 2**31 - 1)
    pairs = itertools.combinations(range(cells.shape[1]), 2)
    return float(np.mean([len(np.unique(low[:, i] * 2**32 + low[:, j])) for i, j in pairs]))


def coverage(states: np.ndarray, warm_up: int, transitions: int) -> pd.DataFrame:
    """The rows of a record from standardised states (n, coordinates) in order, of a run of so many
    transitions; what a run that diverged had visited counts at every later point, too."""
    ends = [round(transitions * (k + 1) / MARKS) for k in range(MARKS)]
    rows = [
        (end, width, visited_cells(states[:end], width), visited_cells(states[warm_up:end], width))
        for end in ends
        for width in WIDTHS
    ]
    return pd.DataFrame(rows, columns=["transitions", "width", "cells", "cells_after_warm_up"])


def measure(configuration: dict[str, Any], device: str, compile: bool) -> tuple[pd.DataFrame, dict]:
    """(rows, how the run ended). A run that diverges has visited what it had until then."""
    from algorithms.compilation import can_compile
    from algorithms.device import resolve_device
    from algorithms.evaluation import NotFinite
    from algorithms.loop import Training
    from algorithms.metrics import Progress

    where = resolve_device(device)
    training = Training(configuration, where, compile and can_compile(where.type))
    watched = training.environment = Watched(training.environment)
    c, status = configuration, "complete"
    progress = Progress(c["transitions"], 0, f"{c['algorithm']} {c['env']} seed {c['seed']}")
    try:
        training.run(lambda state: None, float("inf"), progress)
    except NotFinite as error:
        status = f"diverged: {error}"
    finally:
        progress.close()
        training.close()
    mean, deviation = random_spread(c["env"])
    states = (np.concatenate(watched.visited)[: c["transitions"]] - mean) / deviation
    ended = {"status": status, "transitions": training.transitions}
    ended["updates"] = training.agent.updates
    return coverage(states, c["warm_up"], c["transitions"]), ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, as of `exit_status`."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.probes.visits", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--study", required=True)
    parser.add_argument("--run", required=True, help="<study>/<env>/<label>/seed<k>")
    parser.add_argument("--overrides", default="{}", help="JSON, merged into the protocol")
    options = parser.parse_args(arguments)
    command = ["python", "-m", "analysis.probes.visits", *(arguments or sys.argv[1:])]

    def visit() -> None:
        prepare_process([])
        plan = Plan(read_overrides(options.overrides), is_main_process=False)
        run = next((run for run in plan.runs(options.study) if run.name == options.run), None)
        if run is None:
            raise PlanError(f"{options.run} is no run of {options.study}")
        configuration = plan.configuration(run)
        with alone(run.name) as is_recorded:
            if not is_recorded:
                record(run.name, configuration, plan.protocol.scale(options.study), command)

    return exit_status(visit)


@contextlib.contextmanager
def alone(run: str) -> Iterator[bool]:
    """Only one process at a time counts the visits of a run; whether another has left its record.

    A workflow that was killed leaves its job at work, and the next one would train the same run
    beside it, and write to the same file. The lock ends with its process, however it ends.
    """
    document = run_probes.path_of("visits", run).with_suffix(".json")
    if document.exists():
        yield True
        return
    document.parent.mkdir(parents=True, exist_ok=True)
    file = document.with_suffix(".lock")
    with FileLock(file).acquire(poll_interval=0.5):
        yield document.exists()
        if document.exists():  # Who waits here finds it, too.
            file.unlink(missing_ok=True)


def record(run: str, configuration: dict[str, Any], part: Scale, command: list[str]) -> None:
    """Train the run of a scale with this name and write its record."""
    import torch

    from algorithms.device import resolve_device
    from analysis.probes.samples import conditions

    torch.set_num_threads(1)
    try:
        device = resolve_device(part.device)
    except ValueError as error:
        raise Refused(error) from None
    # Before anything is measured: somebody may commit meanwhile.
    document = conditions(command, device)
    table, ended = measure(configuration, part.device, part.compile)
    document |= {"configuration": configuration, "probe": run_probes.SETTINGS["visits"]}
    run_probes.write("visits", run, document | {"run": ended}, table)


if __name__ == "__main__":
    sys.exit(main())
