"""Kills a training run again and again, and compares what it leaves with an undisturbed run's.

    python tests/torture.py --algorithm nc_lql --env Ant-v4 --kills 20

SIGKILL lands at random moments after the run's first update and before its end; a part of the kills
waits for an evaluation, or for a checkpoint that is being written, and lands in its middle. The run
under test writes what it is at into a small shared file, which outlives it.
"""

import argparse
import json
import mmap
import multiprocessing
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from algorithms import ALGORITHMS

STEPPING, EVALUATING, SAVING = 1, 2, 3
_LAYOUT = struct.Struct("=6q")


class Status(NamedTuple):
    """What a run is at."""

    phase: int = 0
    """0 before the first vector step of this process."""
    steps: int = 0
    """Vector steps done by this process."""
    updates: int = 0
    """Updates done by the run."""
    checkpoints: int = 0
    """Written by this process."""
    rollout: int = 0
    """Vector steps in a rollout that is not yet learned from."""
    episode: int = 0
    """Steps of the longest episode under way."""


class StatusFile:
    """A `Status` shared between a run and who watches it; `path` has to be there."""

    def __init__(self, path: Path):
        self._map = mmap.mmap(os.open(path, os.O_RDWR), _LAYOUT.size)

    def read(self) -> Status:
        return Status(*_LAYOUT.unpack(self._map))

    def write(self, status: Status) -> None:
        self._map[:] = _LAYOUT.pack(*status)


def watched(path: Path, arguments: list[str]) -> None:
    """Train as the command line does, and tell the file at `path` what is going on."""
    from algorithms import train

    train.prepare_process(arguments)
    from algorithms import checkpoint, loop

    file = StatusFile(path)
    advance, evaluate = loop.Training.advance, loop.evaluate
    save = checkpoint.Checkpoints.save

    def told_advance(training):
        advance(training)
        agent, copies = training.agent, training.environment._copies
        rollout = len(agent.rollout) if hasattr(agent, "rollout") else 0
        episode = max(copy.length for copy in copies)
        before = file.read()
        status = Status(STEPPING, before.steps + 1, agent.updates, before.checkpoints)
        file.write(status._replace(rollout=rollout, episode=episode))

    def told(phase, function, counts=0):
        def call(*arguments):
            before = file.read()
            file.write(before._replace(phase=phase))
            result = function(*arguments)
            done = before.checkpoints + counts
            file.write(before._replace(checkpoints=done))
            return result

        return call

    loop.Training.advance = told_advance
    loop.evaluate = told(EVALUATING, evaluate)
    checkpoint.Checkpoints.save = told(SAVING, save, counts=1)
    sys.exit(train.main(arguments))


class Life(NamedTuple):
    """A process at work on a run."""

    pid: int
    exit_code: Callable[[], int | None]
    """None while it lives, -9 once killed."""


def start_fresh(path: Path, arguments: list[str], log: Path) -> Life:
    """A process of its own, as a user starts one."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, __file__, "--watched", str(path), *arguments],
            stdout=output,
            stderr=output,
        )
    return Life(process.pid, process.poll)


def start_forked(path: Path, arguments: list[str], log: Path) -> Life:
    """Forked from a process that has torch loaded already: in tests, where seconds count."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_quiet, args=(path, arguments, log))
    process.start()
    return Life(process.pid, lambda: process.exitcode)


PRELOADED = ["pytest", "torture", "mujoco", "tyro", "torch._dynamo", "algorithms.session"]
PRELOADED += [f"algorithms.{place.split('.')[0]}" for place in ALGORITHMS.values()]


def _quiet(path: Path, arguments: list[str], log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    watched(path, arguments)


class Report(NamedTuple):
    """What a torture came to."""

    kills: int
    """That landed after a run's first update and before its end."""
    moments: Counter
    """How many of them landed when; one kill may count at several."""
    runs: int
    """That came to their end; a new one is begun where kills are left."""
    is_same: bool
    """Whether every `evaluations.csv` is that of the undisturbed run, to the byte."""


def torture(
    folder: Path,
    arguments: list[str],
    kills: int,
    start: Callable = start_fresh,
    seed: int = 0,
    checkpoint_seconds: float = 1.0,
) -> Report:
    """Run `arguments` undisturbed, then with `kills` kills, in subfolders of `folder`."""
    generator = random.Random(seed)
    arguments = [*arguments, "--checkpoint-seconds", str(checkpoint_seconds)]
    log = folder / "log.txt"
    undisturbed, killed = folder / "undisturbed", folder / "killed"

    def begin(output: Path) -> tuple[Life, StatusFile]:
        path = folder / f"status-{time.monotonic_ns()}"
        path.write_bytes(_LAYOUT.pack(*Status()))
        return start(path, [*arguments, "--output", str(output)], log), StatusFile(path)

    finish(begin(undisturbed)[0], log)
    expected = (undisturbed / "evaluations.csv").read_bytes()
    seconds = json.loads((undisturbed / "run.json").read_text())["seconds"]
    # So long on average that one run suffices for all kills.
    longest = 1.6 * (seconds["learning"] + seconds["evaluating"]) / kills
    moments: Counter = Counter()
    landed, runs, is_same = 0, 0, True
    while landed < kills or killed.exists():
        life, file = begin(killed)
        if landed < kills:
            # Mostly after a checkpoint of this process: else a run might never get on.
            checkpoints = int(landed > 0 and generator.random() < 0.75)
            aim = (STEPPING, STEPPING, EVALUATING, SAVING, STEPPING)[landed % 5]
            wait = generator.uniform(0, longest)
            status = kill(life, file, wait, checkpoints, aim, generator)
            if status is not None:
                landed += 1
                moments.update(moments_of(status, killed / "checkpoint"))
                continue
        finish(life, log)
        runs += 1
        is_same &= (killed / "evaluations.csv").read_bytes() == expected
        shutil.rmtree(killed)
    return Report(landed, moments, runs, is_same)


def finish(life: Life, log: Path) -> None:
    """Wait for a run to end; RuntimeError with its last words if it did not end well."""
    while (code := life.exit_code()) is None:
        time.sleep(0.02)
    if code != 0:
        raise RuntimeError(f"the run ended with {code}: {log.read_text()[-2000:]}")


def kill(
    life: Life,
    file: StatusFile,
    seconds: float,
    checkpoints: int,
    aim: int,
    generator: random.Random,
) -> Status | None:
    """SIGKILL a run `seconds` after this process has made a vector step and written `checkpoints`,
    the run an update, and then in the phase aimed at. What it was at, or None if it ended before.
    """

    def wait(condition: Callable[[Status], bool], at_most: float = float("inf")) -> None:
        deadline = time.monotonic() + at_most
        while not condition(file.read()) and time.monotonic() < deadline:
            if life.exit_code() is not None:
                return
            time.sleep(0.0005)

    wait(lambda s: s.steps > 0 and s.updates > 0 and s.checkpoints >= checkpoints)
    wait(lambda s: False, at_most=seconds)
    if aim != STEPPING:
        wait(lambda s: s.phase == aim, at_most=20.0)
        time.sleep(generator.uniform(0, 0.1 if aim == EVALUATING else 0.005))
    if life.exit_code() is not None:
        return None
    os.kill(life.pid, signal.SIGKILL)
    status = file.read()
    while life.exit_code() is None:
        time.sleep(0.001)
    return status if life.exit_code() == -signal.SIGKILL else None


def moments_of(status: Status, checkpoints: Path) -> list[str]:
    """What can be said of the moment in which a kill landed."""
    said = {
        "after a checkpoint": any(checkpoints.glob("*.safetensors")),
        "during an evaluation": status.phase == EVALUATING,
        "while a checkpoint was written": status.phase == SAVING,
        "in the middle of a rollout": status.rollout > 0,
        "in the middle of an episode": status.episode > 0,
    }
    return [name for name, is_so in said.items() if is_so]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--algorithm", required=True)
    parser.add_argument("--env", default="Ant-v4")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--transitions", type=int, default=10_000)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options, rest = parser.parse_known_args()
    arguments = ["--algorithm", options.algorithm, "--env", options.env, "--seed", "0"]
    arguments += ["--transitions", str(options.transitions), "--warm-up", "500"]
    arguments += ["--evaluate-every", str(options.transitions // 8), "--evaluation-episodes", "3"]
    arguments += ["--compile" if options.compile else "--no-compile", *rest]
    with tempfile.TemporaryDirectory() as folder:
        report = torture(Path(folder), arguments, options.kills, seed=options.seed)
    print(f"{options.algorithm} on {options.env}, {'' if options.compile else 'not '}compiled:")
    print(f"  {report.kills} kills landed over {report.runs} whole runs")
    for name, count in sorted(report.moments.items()):
        print(f"  {count:3d} {name}")
    print(f"  evaluations.csv is {'the same' if report.is_same else 'ANOTHER'}, byte for byte")
    return 0 if report.is_same else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--watched"]:
        watched(Path(sys.argv[2]), sys.argv[3:])
    sys.exit(main())
