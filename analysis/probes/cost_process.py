"""One fresh process of the probe of costs; `costs` starts it and gathers what it leaves.

    python -m analysis.probes.cost_process --part times|training|memory --output FILE ...

FILE is JSON: {"samples": [[case, round, order, calls, seconds, process], ...],
"memory": [[case, process, part, bytes], ...], "cases": {case: what it is}}.
"""

import argparse
import ctypes
import gc
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from algorithms.train import prepare_process
from analysis.probes.samples import MemorySample, Sample

SEED = 0
MEMORY_VECTOR_STEPS = 20
"""After which the peak of a process is read; each with an update."""
ENVIRONMENT_STEPS = 200


class Effort(NamedTuple):
    """Samples of each case in one process."""

    latency_rounds: int
    latency_calls: int
    """In a round, timed one by one."""
    rounds: int
    training_rounds: int
    vector_steps: int
    """In a sample of training, each with an update; of a method with rollouts, one of those."""
    environment_rounds: int


FULL = Effort(10, 20, rounds=2, training_rounds=2, vector_steps=5, environment_rounds=5)
QUICK = Effort(2, 3, rounds=1, training_rounds=1, vector_steps=1, environment_rounds=1)


class Gathered:
    """What a process leaves."""

    def __init__(self, process: int):
        self.process = process
        self.samples: list[Sample] = []
        self.memory: list[MemorySample] = []
        self.cases: dict[str, dict[str, Any]] = {}

    def time(self, cases: list, rounds: int, device: Any, **options: Any) -> None:
        """Time cases, in an order that no other process has."""
        from analysis.probes import timing

        found = timing.measure(cases, rounds, device, SEED + self.process, **options)
        self.samples += [sample._replace(process=self.process) for sample in found]
        self.cases |= {case.name: case.about for case in cases}

    def add_bytes(self, name: str, about: dict[str, Any], parts: dict[str, int]) -> None:
        """Take in the parts of a case."""
        self.memory += [MemorySample(name, self.process, part, n) for part, n in parts.items()]
        self.cases[name] = about


def times(
    gathered: Gathered,
    names: Sequence[str],
    device: Any,
    is_quick: bool,
    compile: bool,
    sizes: Sequence[str],
) -> None:
    """Acting and updates of every variation of `sizes`, all in each round; then live bytes."""
    from analysis.probes import cost_subjects

    grid = cost_subjects.QUICK if is_quick else cost_subjects.FULL
    effort = QUICK if is_quick else FULL
    subjects = [
        cost_subjects.Subject(variation, device, compile)
        for name in names
        for variation in cost_subjects.variations(name, grid)
        if variation.size in ("base", *sizes)
    ]

    def acting(is_latency: bool) -> list:
        return [c for s in subjects for c in s.acting_cases(effort.latency_calls, is_latency)]

    gathered.time(acting(True), effort.latency_rounds, device)
    updates = [case for subject in subjects for case in subject.update_cases()]
    gathered.time(updates + acting(False), effort.rounds, device)
    for subject in subjects:
        is_slow = is_quick and subject.prepare is not None  # a rollout's fit is a million events
        if subject.variation.learns and subject.variation.is_weighed and not is_slow:
            gathered.add_bytes(*subject.live_bytes())


def training(gathered: Gathered, names: Sequence[str], device: Any, is_quick: bool, compile: bool):
    """Transitions a second by the number of environments; a step of each environment alone."""
    from analysis.probes import cost_subjects
    from analysis.probes.floors import protocol_environments
    from analysis.probes.timing import Case

    grid = cost_subjects.QUICK if is_quick else cost_subjects.FULL
    effort, env = QUICK if is_quick else FULL, cost_subjects.TRAINED_IN
    cases = []
    for name in names:
        for n in grid.environments:
            run, about = trained(name, env, n, effort.vector_steps, device, compile)
            cases.append(Case(f"training/{name}/environments={n}", about, run))
    gathered.time(cases, effort.training_rounds, device, shortest=0)
    stepped = [environment_case(env) for env in protocol_environments()]
    gathered.time(stepped, effort.environment_rounds, device, shortest=0)


def trained(name: str, env: str, environments: int, vector_steps: int, device: Any, compile: bool):
    """(a function that goes on with a run, what the record says of it)."""
    from algorithms import algorithm
    from algorithms.options import resolve_settings
    from analysis.probes.peers import ours

    run, transitions = ours(name, env, device, environments, vector_steps, compile)
    kind = algorithm(name)
    return run, {
        "quantity": "training",
        "algorithm": name,
        "precision": "float32",
        "compiled": compile,
        "env": env,
        "is_base": environments == 5,
        "sizes": {"environments": environments},
        "units": transitions,
        "has_warm_up": kind.has_warm_up,
        "settings": resolve_settings(kind.Configuration, {}),
    }


def environment_case(env: str):
    """Vector steps of an environment with random actions, episodes begun anew included."""
    import numpy as np

    from analysis.probes.subjects import ENVIRONMENTS
    from analysis.probes.timing import Case
    from envs import VectorEnvironment, sizes

    environment = VectorEnvironment(env, list(range(ENVIRONMENTS)))
    random, action_size = np.random.default_rng(SEED), sizes(env)[1]

    def run() -> None:
        for _ in range(ENVIRONMENT_STEPS):
            action = random.uniform(-1, 1, (ENVIRONMENTS, action_size))
            environment.step(action.astype(np.float32))

    about = {
        "quantity": "environment_step",
        "algorithm": "",
        "precision": "float64",
        "compiled": False,
        "env": env,
        "is_base": True,
        "sizes": {"environments": ENVIRONMENTS, "action_dimension": action_size},
        "units": ENVIRONMENT_STEPS * ENVIRONMENTS,
    }
    return Case(f"environment_step/{env}", about, run)


def memory(gathered: Gathered, label: str, device: Any, compile: bool) -> None:
    """The peak of this process in training, and the parts of live bytes at a desk run's sizes.

    `label` is an algorithm or, with `/steps=N` behind it, one with so many steps. Compiling is over
    before the peak is reset, and what it left free is given back.
    """
    import torch

    from algorithms import algorithm
    from algorithms.record import resident_bytes
    from analysis.probes import cost_subjects
    from analysis.probes.loop_parts import fill
    from analysis.probes.subjects import TRANSITIONS

    at_start, _ = resident_bytes()
    if device.type == "cuda":
        torch.zeros((), device=device)  # the driver's own memory is there from the start
    name, _, steps = label.partition("/steps=")
    settings = cost_subjects.subjects.settings_for(name, "float32")
    if steps:
        settings |= cost_subjects.STEP_SETTINGS[name](int(steps))
    default = algorithm(name).Configuration()
    more = {}
    if hasattr(default, "replay_capacity"):
        more["replay_capacity"] = default.replay_capacity
    variation = cost_subjects.Variation(name, f"steps={steps}" if steps else "base", settings)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    subject = cost_subjects.Subject(variation, device, compile, **more)
    agent = subject.agent
    agent.act(cost_subjects.subjects.normal_observations(agent, agent.run.environments), True)
    found = {"resident_at_start": at_start}
    if device.type == "cuda":
        # Graphs are captured in the first updates: the peak is that of the whole process. Filling
        # the replay would add copies of it, and on a device all of it is allocated anyhow.
        subject.learn_once()
        found["peak_device"] = torch.cuda.max_memory_allocated(device)
        found["peak_device_reserved"] = torch.cuda.max_memory_reserved(device)
    elif hasattr(agent, "replay"):
        fill(agent.replay, TRANSITIONS)
    if reset_peak():
        for _ in range(MEMORY_VECTOR_STEPS):
            subject.learn_once()
        found["peak_resident"] = resident_bytes()[1]
    about = subject.about("memory", subject.batch())
    gathered.add_bytes(f"memory/{variation.name}", about, found | subject.live_bytes()[2])


def reset_peak() -> bool:
    """Give free memory back and let VmHWM begin anew; whether this system can."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return False
    return True


def main() -> None:
    """Command line of a process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", required=True, choices=("times", "training", "memory"))
    parser.add_argument("--algorithms", nargs="+", required=True, help="memory: one label")
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sizes", nargs="*", default=[])
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    prepare_process([])
    import torch

    torch.set_num_threads(1)
    device, gathered = torch.device(options.device), Gathered(options.process)
    if options.part == "memory":
        memory(gathered, options.algorithms[0], device, options.compile)
    else:
        how = (gathered, options.algorithms, device, options.quick, options.compile)
        if options.part == "times":
            times(*how, options.sizes)
        else:
            training(*how)
    found = {name: getattr(gathered, name) for name in ("samples", "memory", "cases")}
    options.output.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
