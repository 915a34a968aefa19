"""Records of probes: raw samples of time or memory, and what they were measured on and how.

A record is two files in a folder, `<machine>.csv` and `<machine>.json`, so that those of several
machines stand side by side and each can be replaced by itself. The CSV has one row a sample,

    case,round,order,calls,seconds[,process]     of time: `seconds` for `calls` calls of a case,
                                                 taken as the `order`-th of its round;
    case,process,part,bytes                      of memory: `bytes` of a part of a case.

`process` numbers the fresh processes in which everything was measured again. The document says what
each case is, how it was called, and has the digest of the CSV. Nothing in it names a host, a user
or a folder outside of the repository. Reading one imports neither torch nor an algorithm.
"""

import hashlib
import io
import json
import re
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from algorithms.files import written_whole

COLUMNS = ("case", "round", "order", "calls", "seconds", "process")
"""Of time; records of a single process may lack the last."""
MEMORY_COLUMNS = ("case", "process", "part", "bytes")
PROBED = ("algorithms", "envs", "analysis/probes", "pyproject.toml")
"""What `dirty` of a probe's record speaks of: what is measured, and what measures."""


class ProbeRecordError(Exception):
    """A record that cannot be used: its file and the reason in one line."""


class Sample(NamedTuple):
    """One timing."""

    case: str
    round: int
    order: int
    """Place among the samples of its round, which is shuffled."""
    calls: int
    seconds: float
    """Of all calls together."""
    process: int = 0


class MemorySample(NamedTuple):
    """One measurement of memory."""

    case: str
    process: int
    part: str
    bytes: int


class ProbeRecord(NamedTuple):
    """A record as it was read."""

    name: str
    """The machine's, as the files are called."""
    path: str
    """Of the CSV."""
    document: dict[str, Any]
    samples: pd.DataFrame
    """`COLUMNS` and `seconds_a_call`, or `MEMORY_COLUMNS`."""


def conditions(command: Sequence[str], device: Any) -> dict[str, Any]:
    """What every probe's document begins with; `device` is torch's."""
    import torch

    from algorithms import record

    return {
        "command": list(command),
        "commit": record.code_state()["commit"],
        "dirty": is_dirty(record.ROOT),
        "versions": record.versions(),
        "machine": record.machine(),
        "device": record.device_name(device),
        "threads": torch.get_num_threads(),
    }


def is_dirty(root: Path) -> bool | None:
    """Whether what is measured or what measures differs from the commit; None outside of git."""
    command = ["git", "-C", str(root), "status", "--porcelain", "--", *PROBED]
    try:
        return bool(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError):
        return None


def machine_name(document: Mapping[str, Any]) -> str:
    """`amd-epyc-avx512-2-cores`, `cuda-nvidia-h200`: what the record of a machine is called.

    With its vector instructions: virtual machines give processors of several generations one name.
    """
    words, machine = document["device"], document["machine"]
    if words == "cpu":
        parts = (machine["processor"], machine.get("instructions", ""), machine["cores"], "cores")
        words = " ".join(map(str, parts))
    words = re.sub(r"\((r|tm)\)|@.*?ghz|\bcpu\b|\bprocessor\b", " ", words.lower())
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


def write(
    folder: Path, document: Mapping[str, Any], samples: Sequence[Sample] | Sequence[MemorySample]
) -> Path:
    """Write a record under its machine's name, the document last; the CSV's path. Raises
    `algorithms.files.NotWritten`."""
    folder.mkdir(parents=True, exist_ok=True)
    is_memory = bool(samples) and isinstance(samples[0], MemorySample)
    lines = [",".join(MEMORY_COLUMNS if is_memory else COLUMNS)]
    lines += [",".join(map(_cell, sample)) for sample in samples]
    content = ("\n".join(lines) + "\n").encode()
    path = folder / f"{machine_name(document)}.csv"
    path.with_suffix(".json").unlink(missing_ok=True)
    digest = hashlib.sha256(content).hexdigest()
    text = json.dumps({**document, "samples_sha256": digest}, indent=1, allow_nan=False) + "\n"
    for file, whole in ((path, content), (path.with_suffix(".json"), text.encode())):
        with written_whole(file) as beside:
            beside.write_bytes(whole)
    return path


def would_drop(
    folder: Path,
    conditions: Mapping[str, Any],
    contents: Callable[[Mapping[str, Any]], Mapping[str, Collection[str]]],
    measured: Mapping[str, Collection[str]],
) -> str | None:
    """What a record of this machine in `folder` has and a measurement of `measured` would not,
    in a sentence; None for nothing. `contents` of its document has the keys of `measured`."""
    path = folder / f"{machine_name(conditions)}.json"
    try:
        had = contents(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None
    for key, values in had.items():
        lost = [value for value in values if value not in measured[key]]
        if lost:
            return (
                f"{path} is of the {key} {', '.join(lost)}, which are not measured now and would "
                "be lost; measure them too, or elsewhere (--output DIR), or delete that record"
            )
    return None


def _cell(value: Any) -> str:
    return f"{value:.9f}" if isinstance(value, float) else str(value)


def read_all(folder: Path) -> list[ProbeRecord]:
    """Every record in a folder, by name. Raises ProbeRecordError."""
    return [read(path) for path in sorted(folder.glob("*.csv"))]


def usable(folder: Path, results: Path, command: str) -> list[ProbeRecord]:
    """Every record in a folder, to derive from. Raises ProbeRecordError where there is none (it
    says the command that measures), or where `folder` is that of the results and one was taken
    with --quick."""
    found = read_all(folder)
    if not found:
        raise ProbeRecordError(f"{folder} holds no record; measure with `{command}`")
    for record in found:
        if record.document["is_quick"] and folder == results:
            raise ProbeRecordError(f"{record.path}: taken with --quick, too few samples to derive")
    return found


def read_whole(path: Path, what: str) -> tuple[bytes, dict[str, Any]]:
    """(the CSV, its document) of a record of `what`, whose digest the document has. Raises
    ProbeRecordError for one that is half there or was edited."""
    try:
        content = path.read_bytes()
        document = json.loads(path.with_suffix(".json").read_bytes())
    except OSError as error:
        raise ProbeRecordError(f"{error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise ProbeRecordError(f"{path.with_suffix('.json')}: no JSON: {error}") from None
    if document.get(f"{what}_sha256") != hashlib.sha256(content).hexdigest():
        raise ProbeRecordError(f"{path}: its {what} are not those that its document was made of")
    return content, document


def read(path: Path) -> ProbeRecord:
    """One record by its CSV. Raises ProbeRecordError for one that is half there or was edited."""
    content, document = read_whole(path, "samples")
    samples = pd.read_csv(io.BytesIO(content), float_precision="round_trip")
    columns = tuple(samples)
    if columns not in (COLUMNS, COLUMNS[:-1], MEMORY_COLUMNS):
        raise ProbeRecordError(f"{path}: columns {list(samples)}, not {list(COLUMNS)}")
    unknown = sorted(set(samples["case"]) - set(document["cases"]))
    if unknown:
        raise ProbeRecordError(f"{path}: no case '{unknown[0]}' in its document")
    positive = ("bytes",) if columns == MEMORY_COLUMNS else ("seconds", "calls")
    # No bytes are a measurement; no time is none.
    is_bad = [~(samples[c] >= 0 if c == "bytes" else samples[c] > 0) for c in positive]
    bad = np.any(is_bad, axis=0)
    if bad.any():
        row = int(bad.argmax()) + 2
        told = "negative" if positive == ("bytes",) else "have to be above zero"
        raise ProbeRecordError(f"{path}: line {row}: {' and '.join(positive)} {told}")
    if columns != MEMORY_COLUMNS:
        samples["seconds_a_call"] = samples["seconds"] / samples["calls"]
        samples["process"] = samples.get("process", 0)
    return ProbeRecord(path.stem, path.as_posix(), document, samples)
