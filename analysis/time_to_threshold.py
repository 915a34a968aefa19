"""Rows of `results/compute.csv` on how long runs take to reach the declared returns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparisons import crossings
from analysis.cost_rows import Machine, Measure, Row, conditions, estimate
from analysis.records import Records, read_run
from analysis.statistics import restricted_interval


def threshold_rows(
    machines: Sequence[Machine], plan: Mapping[str, Any], runs: Records
) -> Iterator[Row]:
    """For each algorithm or variant, environment and return: transitions, seconds by each machine's
    rates, and seconds by the clock of the runs, over seeds. Runs that never reach it are cut at
    their end and counted as `censored`."""
    part = plan["scales"][plan["scale"]]
    planned = {(r["env"], r["algorithm"], r["seed"]): r for r in part["runs"]}
    table = crossings(runs)
    for (algorithm, env, threshold), cell in table.groupby(
        ["algorithm", "env", "threshold"], sort=False
    ):
        of = [planned[env, algorithm, seed] for seed in cell["seed"]]
        common = {
            "algorithm": algorithm,
            "comparator": "",
            "env": env,
            "threshold": threshold,
            "environments": part["num_envs"],
            "repeats": len(cell),
            "samples": len(cell),
            "censored": int(np.isinf(cell["crossed"]).sum()),
            "cases": "evaluations.csv",
            "record": " + ".join(run["path"] for run in of),
        }
        documents = [read_run(run["path"]).document for run in of]
        common |= _shared([conditions("", document) for document in documents])
        reached = np.isfinite(cell["crossed"])
        spread = restricted_interval(cell["restricted"], reached)._asdict()
        yield common | {"quantity": "transitions_to_threshold", "unit": "transition"} | spread
        clock = [
            wall_seconds(runs.metrics(run["path"]), at)
            for run, at in zip(of, cell["restricted"], strict=True)
        ]
        recorded = {"quantity": "recorded_seconds_to_threshold", "unit": "second"}
        recorded |= {"cases": "metrics.csv", "note": "evaluations included"}
        yield common | recorded | restricted_interval(clock, reached)._asdict()
        for machine in machines:
            configuration = of[0]["configuration"]
            own = plan["hyperparameters"].get(configuration["algorithm"], [])
            defaults = {row["name"]: row["value"] for row in own}
            rate = Rate.of(machine, configuration, defaults)
            if rate is not None:
                took = [rate.seconds(at) for at in cell["restricted"]]
                seconds = restricted_interval(took, reached)
                yield {
                    **common,
                    **conditions(machine.name, machine.document),
                    **seconds._asdict(),
                    "quantity": "seconds_to_threshold",
                    "unit": "second",
                    "note": "by rates measured; without evaluations",
                    "cases": " + ".join(rate.cases),
                    "record": f"{rate.record} + {common['record']}",
                }


def _shared(found: Sequence[Row]) -> Row:
    """What runs have in common; `several` where they differ."""
    return {
        name: found[0][name] if all(row[name] == found[0][name] for row in found) else "several"
        for name in found[0]
    }


def wall_seconds(metrics: pd.DataFrame, transitions: float) -> float:
    """Of a run until so many transitions, between the rows of its metrics.csv."""
    at = np.r_[0.0, metrics["transitions"]]
    return float(np.interp(transitions, at, np.r_[0.0, metrics["wall_seconds"]]))


COSTLESS = ("inverse_temperature", "step_size", "finest_step_size", "learning_rate", "discount")
"""Settings whose values a step's time does not depend on."""


class Rate:
    """Seconds of a run by its transitions, as a machine does them.

    A transition in training, with the environment's own step exchanged for that of the run's
    environment; until the end of the warm-up less the updates that are not done then.
    """

    def __init__(self, transition: float, update: float, warm_up: int, cases: list[str], record):
        self.transition, self.update, self.warm_up = transition, update, warm_up
        self.cases, self.record = cases, record

    @classmethod
    def of(
        cls, machine: Machine, configuration: Mapping[str, Any], defaults: Mapping[str, Any]
    ) -> "Rate | None":
        """Of a run's configuration; None where nothing of its sizes was measured. A setting that
        a record lacks is younger than it and counts as its default, as in a run's record."""
        c = configuration
        found = [
            m
            for m in machine.find(quantity="transitions_per_second", algorithm=c["algorithm"])
            if m.size("environments") == c["num_envs"]
            and _costing({**defaults, **m.about["settings"]}) == _costing(c["settings"])
        ]
        if not found or c["updates_per_step"] != 1:
            return None
        trained = found[0]
        (step,) = machine.find(quantity="environment_step_seconds", env=trained.about["env"])
        wanted = machine.find(quantity="environment_step_seconds", env=c["env"])
        if not wanted:
            return None
        used = [trained, step, wanted[0]]
        transition = 1 / _value(trained) - _value(step) + _value(wanted[0])
        update, warm_up = 0.0, 0
        if trained.about["has_warm_up"]:
            updates = machine.find(
                quantity="update_seconds", algorithm=c["algorithm"], is_base=True
            )
            if not updates:
                return None
            used.append(updates[0])
            update, warm_up = _value(updates[0]) / c["num_envs"], c["warm_up"]
        return cls(transition, update, warm_up, [m.case for m in used], trained.record.path)

    def seconds(self, transitions: float) -> float:
        """Of so many transitions from the beginning of a run."""
        return transitions * self.transition - min(transitions, self.warm_up) * self.update


def _costing(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in COSTLESS}


def _value(measure: Measure) -> float:
    return estimate(measure.values, is_log=True).value
