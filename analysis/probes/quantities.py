"""Records of probes that measure samplers: one row a case and repeat, a column a quantity.

Two files in a folder, as `analysis.probes.samples` has them for times: `<name>.csv` with

    case,repeat,<quantities>

where an empty cell is a quantity that the case does not have, and `<name>.json`, which says what
each case is, under which configuration, machine and versions it was measured, and the digest of
the CSV. `<name>` is the machine's. Reading one imports neither torch nor an algorithm.
"""

import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from algorithms.files import written_whole
from analysis.probes.samples import ProbeRecordError, machine_name, read_whole

Case = dict[str, Any]


class Measurement(NamedTuple):
    """A case with its quantities, by repeat."""

    case: Case
    repeats: list[dict[str, float]]


class QuantityRecord(NamedTuple):
    """A record as it was read."""

    path: str
    """Of the CSV."""
    document: dict[str, Any]
    rows: pd.DataFrame
    """`case`, `repeat`, the quantities, and every field of the case."""


def write(
    folder: Path,
    document: Mapping[str, Any],
    measurements: Sequence[Measurement],
    quantities: Sequence[str],
    name: str | None = None,
) -> Path:
    """Write a record, the document last; the CSV's path. `name` stands for the machine's. Raises
    `algorithms.files.NotWritten`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join(["case", "repeat", *quantities])]
    for number, measurement in enumerate(measurements):
        for repeat, values in enumerate(measurement.repeats):
            cells = [_cell(values.get(quantity)) for quantity in quantities]
            lines.append(",".join([str(number), str(repeat), *cells]))
    content = ("\n".join(lines) + "\n").encode()
    path = folder / f"{name or machine_name(document)}.csv"
    path.with_suffix(".json").unlink(missing_ok=True)
    whole = {**document, "rows_sha256": hashlib.sha256(content).hexdigest()}
    text = json.dumps(whole, indent=1, allow_nan=False).removesuffix("\n}")
    # A line a case: a thousand of them stay readable.
    cases = [json.dumps(measurement.case, allow_nan=False) for measurement in measurements]
    text += ',\n "cases": [\n  ' + ",\n  ".join(cases) + "\n ]\n}\n"
    for file, inside in ((path, content), (path.with_suffix(".json"), text.encode())):
        with written_whole(file) as beside:
            beside.write_bytes(inside)
    return path


def another(folder: Path, name: str) -> str | None:
    """Why no record of this name can be written into a folder, in a sentence: the one of another
    name that it holds, of which `read_only` could not choose; None where there is none."""
    others = [file.name for file in sorted(folder.glob("*.csv")) if file.stem != name]
    if not others:
        return None
    return (
        f"{folder} holds {', '.join(others)}, and one record stands for all machines; measure "
        "elsewhere (--output DIR), or delete that record"
    )


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    if not math.isfinite(value):
        raise ValueError(f"{value} is no measurement")
    return f"{value:.5g}"


def read(path: Path) -> QuantityRecord:
    """One record by its CSV. Raises ProbeRecordError for one that is half there or was edited."""
    content, document = read_whole(path, "rows")
    table = pd.read_csv(io.BytesIO(content), float_precision="round_trip")
    cases = pd.DataFrame(document["cases"])
    if not set(table["case"]) <= set(cases.index):
        raise ProbeRecordError(f"{path}: a row is of no case of its document")
    return QuantityRecord(path.as_posix(), document, table.join(cases, on="case"))


def read_only(folder: Path, probe: str) -> QuantityRecord:
    """The record in a folder. Raises ProbeRecordError where there is none, or where there are
    several: laws do not depend on the machine, so that one record is the result, and which is not
    for a program to choose."""
    found = sorted(folder.glob("*.csv"))
    if not found:
        raise ProbeRecordError(
            f"{folder} holds no record; measure with `python -m analysis.probes.{probe}`"
        )
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ProbeRecordError(f"{folder} holds several records ({names}); keep one")
    return read(found[0])
