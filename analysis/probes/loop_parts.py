"""Where the time of a desk run goes: `learn`, and the loop around it.

A run's own loop (`algorithms.loop.Training`) goes on for some vector steps a sample, with a clock
around what it calls; an evaluation and a checkpoint are timed beside. How often a desk run does
each of them follows from its configuration, so a run of minutes tells the shares of one of hours.
"""

import io
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

from algorithms.checkpoint import Checkpoints
from algorithms.loop import Training
from algorithms.metrics import Progress, steps_per_row
from algorithms.options import planned_evaluations, resolve_configuration
from algorithms.train import Options
from analysis.probes.samples import Sample
from analysis.probes.timing import synchronise

ENVIRONMENT = "HalfCheetah-v4"
VECTOR_STEPS = 20
"""In a sample; each with an update."""
PARTS = ("act", "environment", "observe", "learn")


class Clock:
    """Adds up the time spent in a function, to the end of what it asked of the device: a GPU's call
    returns before its work is done, which would be counted where somebody waits for it."""

    def __init__(self, function: Callable, device: torch.device):
        self.function, self.device, self.seconds = function, device, 0.0

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        synchronise(self.device)
        began = time.perf_counter()
        result = self.function(*arguments, **keywords)
        synchronise(self.device)
        self.seconds += time.perf_counter() - began
        return result


def counts(configuration: dict[str, Any]) -> dict[str, int]:
    """How often a whole run does what is timed here; a checkpoint comes by the clock."""
    c = configuration
    steps = -(-c["transitions"] // c["num_envs"])
    return {
        "vector_step": steps,
        "learning_step": steps - c["warm_up"] // c["num_envs"],
        "evaluation": len(planned_evaluations(c)),
        "metrics_row": steps // steps_per_row(steps),
        "checkpoint_seconds": Options.checkpoint_seconds,
    }


def measure(
    prefix: str,
    name: str,
    settings: dict[str, Any],
    device: torch.device,
    rounds: int,
    is_compiled: bool = True,
    env: str = ENVIRONMENT,
) -> tuple[list[Sample], dict[str, dict[str, Any]]]:
    """Samples of the parts of a desk run of an algorithm, and what each case is.

    The replay is full to the size that it has at the run's end.
    """
    configuration = resolve_configuration(name, env, seed=0, settings=settings)
    training = Training(configuration | {"warm_up": 0}, device, is_compiled)
    agent = training.agent
    clocks = {
        "act": Clock(agent.act, device),
        "environment": Clock(training.environment.step, device),
        "observe": Clock(agent.observe, device),
        "learn": Clock(agent.learn, device),
    }
    agent.act, agent.observe, agent.learn = clocks["act"], clocks["observe"], clocks["learn"]
    training.environment.step = clocks["environment"]
    progress = Progress(configuration["transitions"], 0, name, io.StringIO())
    for _ in range(-(-2 * agent.configuration.batch_size // configuration["num_envs"])):
        agent.learn = dict  # nothing, until there is a batch to draw
        training.advance()
    agent.learn = clocks["learn"]
    fill(agent.replay, configuration["transitions"])
    training.advance()
    samples: list[Sample] = []

    def note(part: str, number: int, order: int, calls: int, seconds: float) -> None:
        samples.append(Sample(f"{base}/{part}", number, order, calls, seconds))

    precision = settings.get("sampling_precision", "float32")
    base = f"{prefix}/{name}/{precision}"
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(folder)
        for number in range(rounds):
            for clock in clocks.values():
                clock.seconds = 0.0
            advance = Clock(training.advance, device)
            for _ in range(VECTOR_STEPS):
                advance()
            note("vector_step", number, 0, VECTOR_STEPS, advance.seconds)
            for part in PARTS:
                note(part, number, 0, VECTOR_STEPS, clocks[part].seconds)
            row = Clock(training.add_metrics_row, device)
            row(lambda kind, values, at: None)
            note("metrics_row", number, 1, 1, row.seconds)
            if number < max(1, rounds // 10):
                evaluation = Clock(training.evaluate, device)
                evaluation(progress, lambda kind, values, at: None)
                note("evaluation", number, 2, 1, evaluation.seconds)
                checkpoint = Clock(training.save, device)
                checkpoint(checkpoints.save)
                note("checkpoint", number, 3, 1, checkpoint.seconds)
    training.close()
    about = {
        "group": prefix,
        "algorithm": name,
        "precision": precision,
        "compiled": is_compiled,
        "env": env,
        "run": counts(configuration),
        "units": 1,
        "unit": "call",
    }
    cases = {
        f"{base}/{part}": about | {"quantity": part}
        for part in ("vector_step", *PARTS, "metrics_row", "evaluation", "checkpoint")
    }
    transitions = {"units": configuration["num_envs"], "unit": "transition"}
    cases[f"{base}/vector_step"] |= transitions
    return samples, cases


def fill(replay: Any, transitions: int) -> None:
    """Repeat what is stored until the replay holds so many transitions."""
    state = replay.state_dict()
    filled = {
        name: torch.cat([stored] * -(-transitions // len(stored)))[:transitions]
        for name, stored in state["filled"].items()
    }
    replay.load_state_dict({"position": transitions, "size": transitions, "filled": filled})
