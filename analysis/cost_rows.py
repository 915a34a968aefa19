"""Rows of `results/compute.csv` from the records of the probe of costs; see `analysis.compute`.

A measure is one quantity of one case, with a number from each process that measured it: medians of
times, bytes as they are. Processes are the repeats; whatever is compared (ratios, crossings,
exponents) is compared within each process first. Needs neither torch nor an algorithm.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.probes.samples import MEMORY_COLUMNS, ProbeRecord
from analysis.statistics import Interval, t_interval

SIZES = ("steps", "candidates", "critic_layers", "action_dimension", "batch", "environments")
DENOISER = "diffusion_ql"
ONE_CANDIDATE = "diffusion_ql_one_candidate"
"""As the protocol calls it."""
GROWTH = {
    "update_seconds": ("steps", "critic_layers", "action_dimension", "batch"),
    "action_seconds": ("steps", "critic_layers", "action_dimension", "batch"),
    "live_tensor_bytes_without_replay": ("steps", "critic_layers", "batch"),
    "transitions_per_second": ("environments",),
}
"""Quantities whose growth is fitted, and the sizes that it is fitted over."""
COMPARED = (
    "update_seconds",
    "action_seconds",
    "live_tensor_bytes_without_replay",
    "live_tensor_bytes",
    "peak_resident_bytes",
    "peak_device_memory_bytes",
)
"""Quantities of which ratios to the denoiser are taken, by its number of steps."""
CROSSED = (
    "update_seconds",
    "action_seconds",
    "live_tensor_bytes_without_replay",
    "peak_device_memory_bytes",
)
"""Quantities of which crossings with the denoiser are sought."""
COUNTED = {
    "networks": "network",
    "trained_networks": "network",
    "target_networks": "network",
    "trainable_parameters": "parameter",
    "target_parameters": "parameter",
    "hyperparameters": "hyperparameter",
}
MEMORY_NAMES = {
    "parameters": "parameter_bytes",
    "targets": "target_bytes",
    "gradients": "gradient_bytes",
    "optimiser_state": "optimiser_state_bytes",
    "replay": "replay_bytes",
    "other": "other_bytes",
    "activations": "activation_bytes",
    "resident_at_start": "resident_bytes_at_start",
    "peak_resident": "peak_resident_bytes",
    "peak_device": "peak_device_memory_bytes",
    "peak_device_reserved": "peak_device_reserved_bytes",
}
LIVE = ("parameters", "targets", "gradients", "optimiser_state", "replay", "other", "activations")
TRAINED = "trained_parameters"
"""What an update trains, counted by its bytes: the networks' few buffers are among them."""
FLOAT32_BYTES = 4
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Measure:
    """A quantity of a case."""

    quantity: str
    about: Mapping[str, Any]
    values: pd.Series
    """By process."""
    unit: str
    samples: int
    """Raw samples of all processes together."""
    case: str
    record: ProbeRecord

    @property
    def algorithm(self) -> str:
        """As registered."""
        return self.about["algorithm"]

    def size(self, name: str) -> int | None:
        """One of SIZES; None for one that the method does not have."""
        return self.about["sizes"].get(name)

    def differs_in(self, other: "Measure") -> set[str]:
        """Sizes in which two measures of one quantity and algorithm differ."""
        return {name for name in SIZES if self.size(name) != other.size(name)}


class Machine:
    """All measures of one machine, from its record of times, of memory, or both."""

    def __init__(self, name: str, records: list[ProbeRecord]):
        self.name = name
        self.document = records[0].document
        self.measures = [m for record in records for m in _measures(record)]

    def find(self, **fields: Any) -> list[Measure]:
        """Measures with these attributes or these entries of `about`."""
        return [
            m
            for m in self.measures
            if all(getattr(m, k, m.about.get(k)) == v for k, v in fields.items())
        ]

    def bases(self, quantity: str) -> list[Measure]:
        """A quantity of each algorithm at its default sizes; acting at batch 1."""
        found = self.find(quantity=quantity, is_base=True)
        return [m for m in found if m.about["quantity"] != "action" or m.size("batch") == 1]

    def curve(self, base: Measure, axis: str) -> list[Measure]:
        """A base and all that differ from it in one size only, by that size."""
        found = [
            m
            for m in self.find(quantity=base.quantity, algorithm=base.algorithm)
            if m.differs_in(base) <= {axis} and m.size(axis) is not None
        ]
        return sorted(found, key=lambda m: m.size(axis))

    def row(self, quantity: str, estimate: Interval, of: Measure, **more: Any) -> Row:
        """A row with what every row has."""
        return {
            "quantity": quantity,
            "algorithm": of.algorithm,
            "comparator": "",
            "env": of.about.get("env", ""),
            **{name: of.size(name) for name in SIZES},
            "denoising_steps": of.size("steps") if of.algorithm == DENOISER else None,
            **estimate._asdict(),
            "repeats": len(of.values),
            "samples": of.samples,
            "unit": of.unit,
            "precision": of.about.get("precision"),
            "compiled": of.about.get("compiled"),
            "cases": of.case,
            "record": of.record.path,
            # Of its own record: one machine's times and bytes may be of two commits.
            **conditions(self.name, of.record.document),
            **more,
        }


def conditions(name: str, document: Mapping[str, Any]) -> Row:
    """Machine and versions of a record of a probe or of a run; `several` for what was not the same
    on all machines that a run was at."""
    row = {
        "machine": name,
        "device": document["device"],
        "device_type": document["device"].partition(":")[0],
        "processor": document["machine"]["processor"],
        "cores": document["machine"]["cores"],
        "threads": document["threads"],
        "python": document["versions"]["python"],
        "torch": document["versions"]["torch"],
        "system": document["machine"]["system"],
        "commit": document["commit"],
        "dirty": document["dirty"],
    }
    for earlier in document.get("earlier_machines", ()):
        differing = (key for key in earlier if key in row and row[key] != earlier[key])
        row |= dict.fromkeys(differing, "several")
    return row


def estimate(values: pd.Series | list[float], is_log: bool) -> Interval:
    """Mean over processes with Student's interval, of logarithms where the numbers are times or
    ratios; no interval from fewer processes than `statistics` asks of seeds."""
    values = np.asarray(values, float)
    if not is_log:
        return t_interval(values)
    return Interval(*np.exp(t_interval(np.log(values))).tolist())


def _is_log(unit: str) -> bool:
    return unit not in ("byte", "parameter")


# Measures ----------------------------------------------------------------------------------------


def _measures(record: ProbeRecord) -> Iterator[Measure]:
    is_memory = tuple(record.samples) == MEMORY_COLUMNS
    of_case = _memory_measures if is_memory else _time_measures
    # In the order in which they were declared, an algorithm's default sizes first: that of the
    # samples is shuffled.
    cases = record.document["cases"]
    declared = {case: k for k, case in enumerate(cases)}
    by_case = record.samples.groupby("case", sort=False)
    for case, rows in sorted(by_case, key=lambda pair: declared[pair[0]]):
        about = cases[case]
        for quantity, values, unit in of_case(about, rows):
            yield Measure(quantity, about, values, unit, len(rows), case, record)


def _time_measures(about: Mapping[str, Any], rows: pd.DataFrame) -> Iterator[tuple]:
    processes = rows.groupby("process")["seconds_a_call"]
    seconds, units = processes.median(), about["units"]
    if about["quantity"] == "update":
        yield "update_seconds", seconds / units, "second"
    elif about["quantity"] == "action":
        yield "action_seconds", seconds, "second"
        if about["is_latency"]:
            yield "action_seconds_p95", processes.quantile(0.95), "second"
        yield "actions_per_second", units / seconds, "1 / second"
    elif about["quantity"] == "training":
        yield "transitions_per_second", units / seconds, "1 / second"
    else:
        yield "environment_step_seconds", seconds / units, "second"


def _memory_measures(about: Mapping[str, Any], rows: pd.DataFrame) -> Iterator[tuple]:
    parts = rows.pivot(index="process", columns="part", values="bytes")
    live = [part for part in LIVE if part in parts]
    if about["quantity"] == "live_bytes":
        kept = [part for part in live if part != "replay"]
        yield "live_tensor_bytes_without_replay", parts[kept].sum(axis=1), "byte"
        yield TRAINED, parts["parameters"] / FLOAT32_BYTES, "parameter"
        return
    for part, quantity in MEMORY_NAMES.items():
        if part in parts:
            yield quantity, parts[part], "byte"
    yield "live_tensor_bytes", parts[live].sum(axis=1), "byte"


# Rows --------------------------------------------------------------------------------------------


def measured(machine: Machine) -> Iterator[Row]:
    """What was measured, by itself."""
    for m in machine.measures:
        yield machine.row(m.quantity, estimate(m.values, _is_log(m.unit)), m)


def batching(machine: Machine) -> Iterator[Row]:
    """Actions a second at each batch, to those at batch 1."""
    for single in machine.bases("actions_per_second"):
        for m in machine.curve(single, "batch"):
            if m is not single:
                yield _ratio(machine, "batching_gain", m, single)


def equal_depths(machine: Machine) -> Iterator[Row]:
    """Trained parameters to those of each other method with as many hidden layers: one may be
    published with more of them than another."""
    bases = [m for m in machine.bases(TRAINED) if m.size("critic_layers") is not None]
    for base, other in itertools.permutations(bases, 2):
        for m in machine.curve(other, "critic_layers"):
            if m.size("critic_layers") == base.size("critic_layers"):
                quantity = f"{TRAINED}_at_equal_depth"
                yield _ratio(machine, quantity, base, m, comparator=other.algorithm)


def _ratio(machine: Machine, quantity: str, top: Measure, bottom: Measure, **more: Any) -> Row:
    values = (top.values / bottom.values).dropna()
    return machine.row(
        quantity,
        estimate(values, is_log=True),
        top,
        **{
            "repeats": len(values),
            "samples": top.samples + bottom.samples,
            "unit": "1",
            "cases": f"{top.case} / {bottom.case}",
            **more,
        },
    )


def denoisers(machine: Machine, quantity: str) -> Iterator[tuple[str, list[Measure]]]:
    """(label, the denoiser by its number of steps), as it acts and with one candidate."""
    for base in machine.bases(quantity):
        if base.algorithm == DENOISER:
            yield DENOISER, machine.curve(base, "steps")
            single = [
                m
                for m in machine.find(quantity=quantity, algorithm=DENOISER)
                if m.differs_in(base) - {"steps"} == {"candidates"} and m.size("candidates") == 1
            ]
            if quantity == "action_seconds" and single:
                yield ONE_CANDIDATE, sorted(single, key=lambda m: m.size("steps"))


def comparisons(machine: Machine) -> Iterator[Row]:
    """Every other method at its default sizes, to the denoiser by its number of steps."""
    for quantity in COMPARED:
        for label, curve in denoisers(machine, quantity):
            for own in machine.bases(quantity):
                for other in curve if own.algorithm != DENOISER else ():
                    more = {"comparator": label, "denoising_steps": other.size("steps")}
                    yield _ratio(machine, quantity, own, other, **more)


def crossings(machine: Machine) -> Iterator[Row]:
    """The number of denoising steps beyond which another method, by its own number of steps, costs
    less: within each process, on the line between the two numbers measured that enclose it."""
    for quantity in CROSSED:
        for label, curve in denoisers(machine, quantity):
            steps = [m.size("steps") for m in curve]
            for base in machine.bases(quantity) if len(curve) > 1 else ():
                for own in machine.curve(base, "steps") or [base]:
                    if own.algorithm == DENOISER:
                        continue
                    costs = pd.concat([own.values, *(m.values for m in curve)], axis=1).dropna()
                    found = [crossing(row[0], steps, row[1:]) for row in costs.to_numpy()]
                    value, note = _of_crossings(found, steps)
                    yield machine.row(
                        f"{quantity}_crossing",
                        value,
                        own,
                        comparator=label,
                        over="denoising_steps",
                        unit="denoising step",
                        repeats=len(found),
                        samples=own.samples + sum(m.samples for m in curve),
                        note=note,
                        cases=f"{own.case} / {' + '.join(m.case for m in curve)}",
                    )


def crossing(cost: float, steps: list[int], costs: np.ndarray) -> float:
    """Steps beyond which `costs` stay above `cost`: 0 if they are from the first number on,
    infinite if the last one is not."""
    below = np.flatnonzero(costs <= cost)
    if not len(below):
        return 0.0
    k = below[-1]
    if k == len(steps) - 1:
        return np.inf
    share = (cost - costs[k]) / (costs[k + 1] - costs[k])
    return float(steps[k] + share * (steps[k + 1] - steps[k]))


def _of_crossings(found: list[float], steps: list[int]) -> tuple[Interval, str]:
    inside = [value for value in found if 0 < value < np.inf]
    if len(inside) == len(found):
        return estimate(inside, is_log=True), ""
    none = Interval(np.nan, np.nan, np.nan)
    notes = {
        f"costs less at every number of steps measured, {steps[0]} to {steps[-1]}": found.count(0),
        f"costs no less at {steps[-1]}, the most steps measured": found.count(np.inf),
        "crosses in between": len(inside),
    }
    told = [f"{note} ({n} of {len(found)} processes)" for note, n in notes.items() if n]
    return none, "; ".join(told)


def exponents(machine: Machine) -> Iterator[Row]:
    """k of cost ~ size^k, by least squares of logarithms in each process."""
    for quantity, axes in GROWTH.items():
        for base in machine.bases(quantity):
            for axis in axes:
                curve = machine.curve(base, axis)
                if len(curve) < 2:
                    continue
                costs = pd.concat([m.values for m in curve], axis=1).dropna()
                logs = np.log([m.size(axis) for m in curve])
                slopes = np.polyfit(logs, np.log(costs.to_numpy(float).T), 1)[0]
                yield machine.row(
                    f"{quantity}_exponent",
                    estimate(slopes, is_log=False),
                    base,
                    **{axis: None},
                    over=axis,
                    unit="1",
                    repeats=len(slopes),
                    samples=sum(m.samples for m in curve),
                    cases=" + ".join(m.case for m in curve),
                )


ROWS: tuple[Callable[[Machine], Iterator[Row]], ...] = (
    measured,
    batching,
    equal_depths,
    comparisons,
    crossings,
    exponents,
)
