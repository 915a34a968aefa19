"""Small runs by the command line, for tests of the training loop."""

import contextlib
import json
import os
import signal
from pathlib import Path

from algorithms.loop import Training
from algorithms.train import main

SMALL = {
    "algorithm": "sac",
    "env": "Point-v0",
    "seed": 0,
    "transitions": 200,
    "num_envs": 2,
    "warm_up": 20,
    "evaluate_every": 50,
    "evaluation_episodes": 2,
    "hidden_width": 8,
    "batch_size": 8,
}
"""100 vector steps and 90 updates, evaluated five times; a fifth of a second."""
FILES = ("evaluations.csv", "metrics.csv", "policy.pt", "run.json")


def arguments(output: Path, *flags: str, **changes) -> list[str]:
    """Command-line arguments of a small run; a change to None leaves an option out."""
    options = SMALL | changes
    pairs = [(f"--{k.replace('_', '-')}", str(v)) for k, v in options.items() if v is not None]
    words = [word for pair in pairs for word in pair]
    return [*words, "--no-compile", *flags, "--output", str(output)]


def run(output: Path, *flags: str, **changes) -> int:
    """Exit status of a small run in this process."""
    return main(arguments(output, *flags, **changes))


@contextlib.contextmanager
def before_step(number: int, act):
    """Within, `act(training)` is called before vector step `number` (from 0)."""
    advance = Training.advance

    def told(training):
        if training.step == number:
            act(training)
        advance(training)

    Training.advance = told
    try:
        yield
    finally:
        Training.advance = advance


def terminate(training: Training) -> None:
    """SIGTERM to this process; the run takes note of it and stops after its next vector step."""
    os.kill(os.getpid(), signal.SIGTERM)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def document(folder: Path) -> dict:
    """The run.json of a run."""
    return json.loads((folder / "run.json").read_text())
