"""What training jobs ask a scheduler for: time, memory and disk, from what was measured.

    python -m analysis.requests --scale paper [--overrides JSON]

prints it for the runs of a scale that have no record. A job asks for MARGIN times what the run is
predicted to take (`analysis.run_times`), and at most for the protocol's `longest_job_minutes`: a
longer run saves its state when it is told to stop there, and the next attempt goes on from it.
Memory is asked for by the replay, and more of it at the next two attempts. Imports neither torch
nor an algorithm, unless a scale is new (`analysis.resolution`).
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from analysis.plan import Plan, refuse
from analysis.protocol import PROTOCOL, ProtocolError
from analysis.resolution import PlanError, PlannedRun
from analysis.run_times import TABLE, UNMEASURED, Times, read_times, training_seconds

MARGIN = 1.5
"""Asked for over predicted: other processors, neighbours on the node, a slow file system."""
START_MINUTES = 2
"""Of a job, before its first vector step: two processes of Snakemake, then imports."""
LEAST_MINUTES = 10
"""Asked for, however short the run: what one minute more or less costs is nothing."""
PROCESS_MEGABYTES = 1500
"""Resident without a replay: Python, torch, MuJoCo, compiled code, and Snakemake around it."""
GPU_MEGABYTES = 2500
"""On the host besides, for CUDA's context and libraries (ours: not measured here)."""
REPLAYS_IN_MEMORY = 3
"""At most: the replay itself, and two copies while a checkpoint is read or written."""
REPLAYS_ON_DISK = 3
"""At most: two generations of checkpoints, and one that is being written."""
MOST_MEMORY = 3
"""Times the memory of the first attempt, at most: an attempt after a time limit needs no more."""
FILES_MEGABYTES = 200
"""On disk besides: networks and optimisers in checkpoints, and the record."""


class Request(NamedTuple):
    """What one attempt at a run asks for."""

    runtime_minutes: int
    memory_megabytes: int
    disk_megabytes: int


class Requests:
    """Requests for the runs of a plan.

    `times` by algorithm; `tell` is told once of each algorithm without any, in a line, and of each
    method that needs more attempts than `retries` (asked when a job is) leaves it.
    """

    def __init__(
        self,
        plan: Plan,
        times: Mapping[str, Times] | None = None,
        tell: Callable[[str], None] = lambda line: None,
        retries: Callable[[], int] | None = None,
    ):
        self._plan, self._given, self._tell, self._retries = plan, times, tell, retries
        self._told: set[str] = set()
        self._told_of_attempts: dict[str, int] = {}
        self._predicted: dict[str, float] = {}
        self.machines: set[str] = set()
        """On which the times were measured that were asked for so far."""

    @cached_property
    def _times(self) -> Mapping[str, Times]:
        return read_times(on_gpu=bool(self._plan.gpus)) if self._given is None else self._given

    def times(self, algorithm: str) -> Times:
        """Measured times of an algorithm, or the constants for one that was not measured."""
        found = self._times.get(algorithm)
        if found is None and algorithm not in self._told:
            self._told.add(algorithm)
            self._tell(
                f"{algorithm}: no time of it stands in {TABLE}, so its jobs ask by a constant; "
                "`snakemake --cores all measure_throughput` measures it"
            )
        found = found or UNMEASURED
        self.machines.add(found.machine)
        return found

    def seconds(self, name: str) -> float:
        """Seconds that the run with this name is predicted to take. Raises PlanError."""
        if name not in self._predicted:
            scale = name.partition("/")[0]
            resolved, part = self._plan.resolve(scale), self._plan.protocol.scale(scale)
            configuration = resolved["runs"][name]["configuration"]
            algorithm = configuration["algorithm"]
            self._predicted[name] = training_seconds(
                configuration,
                self.times(algorithm),
                resolved["defaults"][algorithm],
                resolved["spaces"][configuration["env"]],
                part.compile,
            )
        return self._predicted[name]

    def attempts(self, name: str) -> int:
        """Jobs in a row that the run with this name takes at most, each as long as it may be."""
        longest = self._plan.protocol.longest_job_minutes - START_MINUTES
        return math.ceil(MARGIN * self.seconds(name) / 60 / max(longest, 1))

    def of_run(self, name: str, attempt: int = 1) -> Request:
        """What an attempt at the run with this name asks for. Ends the process with status 2 where
        its configuration makes no sense, as the plan does."""
        try:
            minutes = math.ceil(MARGIN * self.seconds(name) / 60) + START_MINUTES
            replay = math.ceil(self._replay_bytes(name) / 1e6)
        except PlanError as error:
            refuse(error)
        self._tell_of_too_few_attempts(name)
        memory = PROCESS_MEGABYTES + self._plan.gpus * GPU_MEGABYTES + REPLAYS_IN_MEMORY * replay
        # Time does not grow by attempts, since each goes on from where the last one ended.
        return Request(
            min(max(minutes, LEAST_MINUTES), self._plan.protocol.longest_job_minutes),
            memory * min(attempt, MOST_MEMORY),
            FILES_MEGABYTES + REPLAYS_ON_DISK * replay,
        )

    def _tell_of_too_few_attempts(self, name: str) -> None:
        if self._retries is None:
            return
        label, needed, made = name.split("/")[2], self.attempts(name), 1 + self._retries()
        if needed > max(made, self._told_of_attempts.get(label, 0)):
            self._told_of_attempts[label] = needed
            longest = self._plan.protocol.longest_job_minutes
            self._tell(
                f"{name} may take {needed} jobs of {longest} minutes, and fails after {made}: give "
                f"--retries {needed}, or set `retries` in the profile"
            )

    def runtime(self, wildcards: Any, attempt: int) -> int:
        """Minutes, as a resource of a rule of the run `wildcards.run`."""
        return self.of_run(wildcards.run, attempt).runtime_minutes

    def runtime_anew(self, wildcards: Any, attempt: int) -> int:
        """Of one that begins anew at each attempt: as many times as long, for a slower machine."""
        minutes = attempt * self.of_run(wildcards.run, attempt).runtime_minutes
        return min(minutes, self._plan.protocol.longest_job_minutes)

    def memory(self, wildcards: Any, attempt: int) -> int:
        """Megabytes, as `runtime`."""
        return self.of_run(wildcards.run, attempt).memory_megabytes

    def disk(self, wildcards: Any, attempt: int) -> int:
        """Megabytes, as `runtime`."""
        return self.of_run(wildcards.run, attempt).disk_megabytes

    def _replay_bytes(self, name: str) -> int:
        """Of a full replay: float32 observations before and after, action, reward; a flag."""
        resolved = self._plan.resolve(name.partition("/")[0])
        c = resolved["runs"][name]["configuration"]
        observation, action = resolved["spaces"][c["env"]]
        capacity = min(c["settings"].get("replay_capacity", 0), c["transitions"] + c["num_envs"])
        return capacity * (4 * (2 * observation + action + 1) + 1)


def of_workflow(plan: Plan, workflow: Any) -> Requests:
    """Requests in a process of Snakemake. What there is to tell is told where jobs go to a
    scheduler, by the process that sends them."""

    def tell(line: str) -> None:
        # Known only once rules are read: where the jobs go.
        if workflow.is_main_process and workflow.non_local_exec:
            _complain(line)

    return Requests(plan, tell=tell, retries=lambda: workflow.execution_settings.retries)


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def table(requests: Requests, runs: Sequence[PlannedRun]) -> list[str]:
    """Lines of Markdown: a row for each algorithm and variant, with ranges over environments."""
    lines = [
        "| method | jobs | hours a job | asked for, minutes | attempts | memory, MB | disk, MB |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for label in dict.fromkeys(run.label for run in runs):
        names = [run.name for run in runs if run.label == label]
        asked = [requests.of_run(name) for name in names]
        cells = [
            label,
            str(len(names)),
            _range([requests.seconds(name) / 3600 for name in names], 1),
            _range([request.runtime_minutes for request in asked]),
            _range([requests.attempts(name) for name in names]),
            _range([request.memory_megabytes for request in asked]),
            _range([request.disk_megabytes for request in asked]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _range(values: Sequence[float], digits: int = 0) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def summary(requests: Requests, runs: Sequence[PlannedRun], gpus: int) -> str:
    """A paragraph: jobs, hours and disk of all runs together, and what the hours are from."""
    hours = sum(requests.seconds(run.name) for run in runs) / 3600
    disks = [requests.of_run(run.name).disk_megabytes for run in runs]
    what = "GPU hours" if gpus else "hours of one core"
    machines = ", ".join(sorted(filter(None, requests.machines)))
    return (
        f"{len(runs)} jobs of one core{' and one GPU' if gpus else ''} each, about {hours:,.0f} "
        f"{what} in all (measured on {machines or 'nothing'}; asked for is {MARGIN:g} times that, "
        f"job by job), and at most {max(disks)} MB of disk for each that runs at the same time."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the jobs of a scale without a record ask for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m analysis.requests", description=main.__doc__)
    parser.add_argument("--scale", help="scale or study (the protocol's default where not given)")
    parser.add_argument("--protocol", default=str(PROTOCOL), help="file (%(default)s)")
    parser.add_argument("--overrides", default="{}", help="JSON, merged into the protocol")
    options = parser.parse_args(arguments)
    try:
        plan = Plan(json.loads(options.overrides), options.protocol)
        scale = options.scale or plan.default
        plan.protocol.scale(scale)
        requests = Requests(plan, tell=_complain)
        runs = plan.to_train(scale)
        if not runs:
            print(f"{scale}: every run is recorded, none is to be trained")
            return 0
        print("\n".join(table(requests, runs)), summary(requests, runs, plan.gpus), sep="\n\n")
    except (ProtocolError, PlanError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
