"""What the probes of the sampler laboratory share: their command line, processes and documents."""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from algorithms.files import NotWritten
from algorithms.train import prepare_process
from analysis.artefacts import PROBES
from analysis.probes import quantities as records
from analysis.probes.quantities import Measurement
from analysis.probes.samples import conditions, machine_name, would_drop

SCALES = ("desk", "smoke")
FOLDERS = {"desk": PROBES, "smoke": Path("build/probes")}


class Place(NamedTuple):
    """A landscape by name, dimension and distance of its modes (None where it has none to
    choose)."""

    landscape: str
    dimension: int
    distance: float | None = None


def folder_of(scale: str, probe: str) -> Path:
    """Where a probe leaves its record."""
    return FOLDERS[scale] / probe


def measured_command(
    probe: str,
    description: str,
    arguments: Sequence[str] | None,
    places: Callable[[str], Sequence[Any]],
    measure: Callable[[Any, str], list[Measurement]],
    quantities: Sequence[str],
    configuration: Callable[[str], Mapping[str, Any]],
    landscapes: Callable[[Any], str] | None = None,
) -> int:
    """Command line of a probe: measure every place of a scale and write the record. Returns
    the exit status, 2 where a record is in the way. `landscapes` has the name that a place has in
    a record, where what there is to measure depends on what runs have left.

    Places are independent and have generators of their own, so that a record does not depend on how
    many processes measured it, nor on their order.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m analysis.probes.{probe}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", choices=SCALES, default="desk", help="(%(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="of one thread (%(default)s)")
    parser.add_argument("--output", type=Path, help="folder (default: by scale)")
    parser.add_argument("--name", help="of the record's files (default: the machine's)")
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(arguments)
    prepare_process([])
    began, planned = time.perf_counter(), places(options.scale)
    _one_thread()
    # Before anything is measured: somebody may commit meanwhile.
    document = {"probe": probe, **_conditions(probe, options.scale), "scale": options.scale}
    folder = options.output or folder_of(options.scale, probe)
    in_the_way = records.another(folder, options.name or machine_name(document))
    if landscapes:
        at_hand = {"landscapes": [landscapes(place) for place in planned]}
        in_the_way = in_the_way or would_drop(folder, document, _landscapes, at_hand)
    if in_the_way:
        print(in_the_way, file=sys.stderr)
        return 2
    measured = _measure_all(planned, measure, options.scale, options.processes)
    measurements = [m for place in planned for m in measured[place]]
    document |= {
        "configuration": dict(configuration(options.scale)),
        "processes": options.processes,
        "wall_seconds": round(time.perf_counter() - began, 1),
    }
    try:
        print(records.write(folder, document, measurements, quantities, options.name))
    except NotWritten as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _landscapes(document: Mapping[str, Any]) -> dict[str, list[str]]:
    """What a record is of."""
    return {"landscapes": sorted({case["landscape"] for case in document["cases"]})}


def _conditions(probe: str, scale: str) -> dict[str, Any]:
    import torch

    # As it is to be typed again: folders, names and processes leave no trace in the numbers.
    command = ["python", "-m", f"analysis.probes.{probe}", "--scale", scale]
    return conditions(command, torch.device("cpu"))


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _measure_all(
    planned: Sequence[Place],
    measure: Callable[[Place, str], list[Measurement]],
    scale: str,
    processes: int,
) -> dict[Place, list[Measurement]]:
    began, measured = time.perf_counter(), {}

    def take(place: Place, found: list[Measurement]) -> None:
        measured[place] = found
        seconds = time.perf_counter() - began
        print(f"{len(measured)} of {len(planned)}: {place}, {seconds:.0f} s", flush=True)

    if processes == 1:
        for place in planned:
            take(place, measure(place, scale))
        return measured
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_one_thread) as pool:
        jobs = {pool.submit(measure, place, scale): place for place in planned}
        for job in as_completed(jobs):
            take(jobs[job], job.result())
    return measured
