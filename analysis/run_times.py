"""How long a run will take, from what the parts of its algorithm were measured to take.

What was measured stands in `results/throughput.csv`: each algorithm at its default settings, in
HalfCheetah, 5 environments side by side. A run of other sizes is taken to need time in proportion
to its work (weights of a network times batch times steps of the chain) where that is more, and to
the square root of it where it is less: time falls more slowly than work, since calls of small
networks are mostly overhead (`exponent` in the same table: 0.68 to 0.89 by batch and by steps).
"""

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from algorithms.options import planned_evaluations
from analysis.artefacts import RESULTS

TABLE = RESULTS / "throughput.csv"
ENVIRONMENTS, EPISODES, INPUTS = 5, 10, 17 + 6
"""As measured: environments side by side, episodes of an evaluation, observation and action."""
EPISODE_STEPS = 1000
"""Of HalfCheetah; no other environment of the protocol has longer episodes."""
SLOWEST_ENVIRONMENT = 5.0
"""How many times as long as HalfCheetah an environment may take to step (ours: a fifth of its
steps a second were seen of Ant)."""
STEPS = ("chain_steps", "noise_levels", "steps_per_level", "denoising_steps", "candidates")
"""Settings that time of acting and of learning is proportional to, where a method has them."""
PASSES = ("batch_size", "epochs")
"""Settings that time of learning is proportional to besides."""


@dataclasses.dataclass(frozen=True)
class Times:
    """What an algorithm's parts take, in seconds, at the sizes that were measured."""

    act: float
    """A vector step, but for the environments and what is learned."""
    environment: float
    """Stepping the environments of a vector step."""
    update: float
    """An update; 0 where learning is counted in `act` (measured from end to end only)."""
    evaluation: float
    """An evaluation."""
    compilation: float
    """First calls of a process, from an empty cache."""
    eager_act: float
    """How many times as long `act` takes where nothing is compiled."""
    eager_update: float
    """How many times as long an update takes where nothing is compiled."""
    machine: str
    """What it was measured on; empty where it was not."""


UNMEASURED = Times(0.03, 0.001, 0.3, 60.0, 120.0, 1.0, 1.0, machine="")
"""Of an algorithm without a measurement, ours: three times the slowest measured here, a Langevin
method on one core."""


def read_times(table: Path = TABLE, on_gpu: bool = False) -> dict[str, Times]:
    """Times by algorithm, on the slowest of the machines that measured it.

    Those of GPUs where `on_gpu`, if there are any of the algorithm, else those of CPUs. Empty where
    `table` is not there or is no such table: what asks then falls back on UNMEASURED.
    """
    try:
        with table.open(newline="") as opened:
            rows = [row for row in csv.DictReader(opened) if row["kind"] == "time"]
        times: dict[str, Times] = {}
        for device in ("cpu", "cuda") if on_gpu else ("cpu",):
            times |= _slowest([row for row in rows if row["device"].startswith(device)])
        return times
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error):
        return {}


def _slowest(rows: Sequence[Mapping[str, str]]) -> dict[str, Times]:
    found: dict[str, Times] = {}
    for machine in dict.fromkeys(row["machine"] for row in rows):
        of_machine = [row for row in rows if row["machine"] == machine]
        for algorithm in dict.fromkeys(row["algorithm"] for row in of_machine):
            times = _times(of_machine, algorithm, machine)
            if times is not None and (
                algorithm not in found
                or times.act + times.update > found[algorithm].act + found[algorithm].update
            ):
                found[algorithm] = times
    return found


def _times(rows: Sequence[Mapping[str, str]], algorithm: str, machine: str) -> Times | None:
    """None where the rows do not say what a vector step of the algorithm takes."""
    median = {row["cases"]: float(row["median"]) for row in rows}
    a_second = {r["cases"]: float(r["units_per_second"]) for r in rows if r["units_per_second"]}
    loop, calls = f"loop/{algorithm}/float32", f"updates/{algorithm}"
    end_to_end = f"end_to_end/{algorithm}/ours"
    if f"{loop}/vector_step" in median:
        environment, update = median[f"{loop}/environment"], median[f"{loop}/learn"]
        act = median[f"{loop}/vector_step"] - update - environment
        evaluation = median[f"{loop}/evaluation"]
    elif end_to_end in a_second:  # learning and the environments included
        act, update = ENVIRONMENTS / a_second[end_to_end], 0.0
        known = [median[case] for case in median if case.endswith("/environment")]
        environment = max(known, default=act)
        evaluation = EPISODE_STEPS * act
    else:
        return None
    compiling = [
        float(row["median"])
        for row in rows
        if (row["algorithm"], row["quantity"], row["value"]) == (algorithm, "compilation", "cold")
    ]

    def eager(call: str) -> float:
        case = f"{calls}/{call}/float32"
        if f"{case}/eager" not in median or f"{case}/compiled" not in median:
            return 1.0
        return max(1.0, median[f"{case}/eager"] / median[f"{case}/compiled"])

    return Times(
        act,
        environment,
        update,
        evaluation,
        max(compiling, default=0.0),
        eager("act") if update else max(eager("act"), eager("learn")),
        eager("learn"),
        machine,
    )


def training_seconds(
    configuration: Mapping[str, Any],
    times: Times,
    defaults: Mapping[str, Any],
    spaces: Sequence[int],
    is_compiled: bool,
) -> float:
    """Seconds that a run takes from its first vector step to its last, compilation included.

    `defaults` are the algorithm's settings as measured; `spaces` are the sizes of observations and
    actions.
    """
    c, settings = configuration, configuration["settings"]
    vector_steps = math.ceil(c["transitions"] / c["num_envs"])
    updates = math.ceil((c["transitions"] - c["warm_up"]) / c["num_envs"]) * c["updates_per_step"]
    work = _weights(settings, sum(spaces)) / _weights(defaults, INPUTS)
    work *= _ratio(settings, defaults, STEPS)
    acting, learning = _growth(work), _growth(work * _ratio(settings, defaults, PASSES))
    if not times.update:
        acting = max(acting, learning)
    if not is_compiled:
        acting, learning = acting * times.eager_act, learning * times.eager_update
    side_by_side = max(1.0, c["num_envs"] / ENVIRONMENTS)
    environment = SLOWEST_ENVIRONMENT * times.environment
    step = (times.act * acting + environment) * side_by_side
    episodes = c["evaluation_episodes"]
    evaluation = times.evaluation * acting * max(1.0, episodes / EPISODES)
    evaluation += EPISODE_STEPS * environment * episodes / ENVIRONMENTS
    return (
        vector_steps * step
        + updates * times.update * learning
        + len(planned_evaluations(dict(c))) * evaluation
        + (times.compilation if is_compiled else 0.0)
    )


def _weights(settings: Mapping[str, Any], inputs: int) -> float:
    """Of one network: what a pass through it takes is in proportion."""
    width, layers = settings.get("hidden_width", 256), settings.get("hidden_layers", 2)
    return inputs * width + (layers - 1) * width**2 + width


def _ratio(settings: Mapping[str, Any], defaults: Mapping[str, Any], names: Sequence[str]) -> float:
    """Product over the named settings of what each is over its default."""
    known = [name for name in names if settings.get(name) and defaults.get(name)]
    return math.prod(settings[name] / defaults[name] for name in known)


def _growth(work: float) -> float:
    return work if work >= 1 else math.sqrt(work)
