"""Measures what each method costs in time and memory, by the sizes that its cost depends on.

    python -m analysis.probes.costs [--quick] [--algorithms NAME ...] [--device NAME]
                                    [--parts PART ...] [--sizes SIZE ...] [--processes N]
                                    [--output DIR]

Everything is measured in each of several fresh processes, which are the repeats that intervals are
over; one thread, float32, after compilation and burn-in, every case once a round in an order that
is shuffled anew. All registered algorithms, at the sizes of HalfCheetah and with one size changed
at a time: steps of the chain, candidates, layers of the critic, action dimension, batch.

- `times`: actions at batch 1 (call by call) to 4,096, updates, and the live bytes of an update.
- `training`: transitions a second in HalfCheetah-v4 by number of environments; a step of each
  environment of the protocol.
- `memory`: a process each: its peak in training, and live bytes at the sizes of a desk run.

Leaves two records, `costs/<machine>` (times) and `memory/<machine>` (bytes), each a CSV of raw
samples and a JSON of what they are of and were measured on, in results/probes/; `python -m
analysis.compute` derives tables and figures from them. Nothing else should run meanwhile: the load
before each process, and its seconds of processor and of clock, are kept (`processes` of the record;
the first also compiles). --sizes changes fewer of the sizes, where a machine is lent for minutes.
--quick measures a few sizes once and eagerly, to see that it works, and
leaves them in build/.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from algorithms.files import NotWritten
from analysis.artefacts import PROBES
from analysis.probes import samples as records
from analysis.probes.command import parser_of, prepared_device, shown
from analysis.probes.samples import MemorySample, Sample

FOLDER = PROBES
QUICK_FOLDER = Path("build/probes")
PARTS = ("times", "training", "memory")
SIZES = ("steps", "candidates", "critic_layers", "action_dimension", "batch", "acting")
"""`cost_subjects.Variation.size`: what `times` changes one at a time."""
PROCESSES = 5
RECORDS = {"costs": ("times", "training"), "memory": ("memory",)}
"""Parts by the record that they are left in."""
SIDE_BY_SIDE = 4
"""Processes of `memory` at a time, at most."""


class Probe:
    """Starts the processes of every part and keeps what they leave."""

    def __init__(self, options: argparse.Namespace, device: str):
        self.options, self.device = options, device
        self.samples: list[Sample] = []
        self.memory: list[MemorySample] = []
        self.cases: dict[str, dict[str, Any]] = {}
        self.processes: list[dict[str, Any]] = []
        """What each process took, in the order in which they ended."""

    def run(self) -> None:
        """All parts once, then all again: what drifts on a machine drifts through all of them.
        Bytes neither drift nor depend on what the other cores do."""
        o = self.options
        for number in range(o.processes):
            for part in (part for part in o.parts if part != "memory"):
                began = time.perf_counter()
                self.process(part, number, o.algorithms)
                seconds = time.perf_counter() - began
                print(f"{part}, process {number}: {seconds:.0f} s", flush=True)
        if "memory" in o.parts:
            runs = product(range(o.processes), memory_labels(o))
            with ThreadPoolExecutor(min(os.cpu_count() or 1, SIDE_BY_SIDE)) as pool:
                list(pool.map(lambda run: self.process("memory", run[0], [run[1]]), runs))

    def process(self, part: str, number: int, algorithms: Sequence[str]) -> None:
        """One process to its end. Raises CalledProcessError if it fails."""
        o, load = self.options, os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "samples.json")
            command = [sys.executable, "-m", "analysis.probes.cost_process", "--part", part]
            command += ["--process", str(number), "--device", self.device, "--output", str(output)]
            command += ["--quick"] if o.quick else []
            command += ["--compile" if o.compile else "--no-compile", "--sizes", *o.sizes]
            began, spent = time.perf_counter(), _children_seconds()
            subprocess.run([*command, "--algorithms", *algorithms], check=True)
            wall, cpu = time.perf_counter() - began, _children_seconds() - spent
            found = json.loads(output.read_bytes())
        self.samples += [Sample(*sample) for sample in found["samples"]]
        self.memory += [MemorySample(*sample) for sample in found["memory"]]
        self.cases |= found["cases"]
        took = {"part": part, "process": number, "load_average_before": round(load, 2)}
        took["wall_seconds"] = round(wall, 1)
        if part != "memory":  # those run side by side, and have no clock of their own
            took["cpu_seconds"] = round(cpu, 1)
        self.processes.append(took)

    def write(self, folder: Path, document: dict[str, Any]) -> None:
        """Both records. Raises NotWritten."""
        for name, samples in (("costs", self.samples), ("memory", self.memory)):
            if samples:
                named = {sample.case for sample in samples}
                cases = {case: about for case, about in self.cases.items() if case in named}
                path = records.write(folder / name, document | {"cases": cases}, samples)
                print(path)


def would_drop(
    folder: Path, conditions: Mapping[str, Any], options: argparse.Namespace
) -> str | None:
    """`records.would_drop` of the records that `options` measure."""
    measured = {key: getattr(options, key) for key in ("parts", "algorithms", "sizes")}
    for name, parts in RECORDS.items():
        if set(parts) & set(options.parts):
            contents = partial(_contents, parts)
            told = records.would_drop(folder / name, conditions, contents, measured)
            if told:
                return told
    return None


def _contents(parts: Sequence[str], document: Mapping[str, Any]) -> dict[str, Collection[str]]:
    """By option; of the `parts` of one record, since the document is of both."""
    found = {process["part"] for process in document["processes"]}
    return {
        "parts": [part for part in parts if part in found],
        "algorithms": document["algorithms"],
        "sizes": document.get("sizes", ()),
    }


def memory_labels(options: argparse.Namespace) -> list[str]:
    """What has a process of its own: every algorithm, and Diffusion-QL by denoising steps."""
    from analysis.probes import cost_subjects

    grid = cost_subjects.QUICK if options.quick else cost_subjects.FULL
    labels = list(options.algorithms)
    if "diffusion_ql" in labels:
        default = cost_subjects.algorithm("diffusion_ql").Configuration().denoising_steps
        steps = [n for n in grid.denoising_steps if n != default]
        labels += [f"diffusion_ql/steps={n}" for n in steps]
    return labels


def counts(names: Sequence[str]) -> list[dict[str, Any]]:
    """Networks and parameters of each algorithm in each environment of the protocol, and its
    hyperparameters that are numbers."""
    import dataclasses

    import torch

    from algorithms.agent import Spaces
    from analysis.probes import subjects
    from analysis.probes.floors import protocol_environments
    from envs import sizes

    rows = []
    for env in protocol_environments():
        for name in names:
            agent = subjects.make(name, torch.device("cpu"), Spaces(*sizes(env)), compile=False)
            networks = agent.networks().values()
            parameters = {
                trained: sum(
                    p.numel()
                    for network in networks
                    if network.trained == trained
                    for p in network.module.parameters()
                )
                for trained in (True, False)
            }
            values = dataclasses.asdict(agent.configuration).values()
            # Switches, and choices by name, are no numbers.
            numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
            rows.append(
                {
                    "algorithm": name,
                    "env": env,
                    "networks": sum(n.copies for n in networks),
                    "trained_networks": sum(n.copies for n in networks if n.trained),
                    "target_networks": sum(n.copies for n in networks if not n.trained),
                    "trainable_parameters": parameters[True],
                    "target_parameters": parameters[False],
                    "hyperparameters": len(numbers),
                }
            )
    return rows


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("costs", __doc__, PARTS, FOLDER, quick="few sizes, once, in build/")
    parser.add_argument(
        "--sizes",
        nargs="*",
        choices=SIZES,
        default=list(SIZES),
        help="which to change, one at a time, in `times`, beside all defaults (default: each)",
    )
    parser.add_argument("--processes", type=int, help=f"repeats (default: {PROCESSES}; quick: 1)")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="compile hot code (default: unless --quick)",
    )
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    if options.compile is None:
        options.compile = not options.quick
    if options.processes is None:
        options.processes = 1 if options.quick else PROCESSES
    device = prepared_device(options.device)
    if device is None:
        return 2
    # Before anything is measured: somebody may commit meanwhile.
    conditions = records.conditions(shown("costs", arguments), device)
    folder = options.output or (QUICK_FOLDER if options.quick else FOLDER)
    if not options.quick:
        dropped = would_drop(folder, conditions, options)
        if dropped:
            print(dropped, file=sys.stderr)
            return 2
    probe = Probe(options, str(device))
    try:
        probe.run()
        document = {
            "probe": "costs",
            **conditions,
            "is_quick": options.quick,
            "algorithms": options.algorithms,
            "sizes": options.sizes,
            "repeats": options.processes,
            "processes": probe.processes,
            "counts": counts(options.algorithms),
        }
        probe.write(folder, document)
    except subprocess.CalledProcessError as error:
        print(f"a process of the probe failed (status {error.returncode})", file=sys.stderr)
        return 1
    except NotWritten as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
