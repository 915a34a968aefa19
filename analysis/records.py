"""Reads run records; refuses what is missing, short, stale or not finite.

A record is a folder with `run.json`, `evaluations.csv` and `metrics.csv` (see `algorithms.record`).
Whatever the bytes in it, reading ends with a parsed record or with `RecordError`, which names the
file and the reason. Imports neither torch nor an algorithm: which runs were planned, and with which
configuration, comes from the `plan.json` that `analysis.plan` leaves beside the derived files:

    {"scale": "desk",                   the scale or study this plan is of
     "folder": "results",               where its derived files stand: table1.csv, figures/, ...
     "default_scale": "desk",
     "state": "<sha256>",               of all else here: it changes iff something below does
     "scales": {"desk": {
        "folder": "results",
        "environments": ["Hopper-v4", ...],                 in the order of the tables
        "algorithms": ["lql", "diffusion_ql_no_cloning", ...],   labels: algorithms and variants
        "variants": {"diffusion_ql_no_cloning": {"algorithm": "diffusion_ql",
                     "description": "...", "settings": {...}, "run": {...}}},
        "seeds": [0],
        "transitions": 300000,          of every run, warm-up included
        "warm_up": 10000, "num_envs": 5, "updates_per_step": 1,
        "evaluate_every": 10000, "evaluation_episodes": 10,
        "thresholds": {"Hopper-v4": [1000, 2000]},          returns, for sample efficiency
        "unvalidated": {"Swimmer-v4": "reason"},            environments to mark in the tables
        "runs": [{"path": "results/runs/desk/Hopper-v4/lql/seed0", "env": "Hopper-v4",
                  "algorithm": "lql" (the label), "seed": 0,
                  "configuration": {...}, "hash": "<configuration_hash>",
                  "digest": "<sha256 of the record's files>" or null while there is none}]}},
     "hyperparameters": {"lql": [{"name", "value", "description", "source"}, ...]},
     "artefacts": ["table1.csv", ...],  derived files of the scale, under its folder
     "others": {"paper": {              every other scale and study, for claims about it
        "folder": "results/paper", "algorithms": [...], "unvalidated": {...},
        "transitions": 5030000, "planned": 270, "recorded": 0,
        "derived": false}}}             whether its tables can be had without training

`hyperparameters` has a key for each label; `source` of a value that the protocol changes says so.
"""

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from algorithms.options import configuration_hash, disagreeing_field, planned_evaluations, value_of

FILES = ("run.json", "evaluations.csv", "metrics.csv")
EVALUATION_COLUMNS = ("transitions", "updates", "episode", "return", "length")
METRIC_COLUMNS = ("transitions", "updates")
RUN_COLUMNS = [
    *("env", "algorithm", "seed", "status", "gap", "transitions", "updates", "optimiser_steps"),
    *("wall_seconds", "path"),
]
_PLAIN = re.compile(r"[0-9eE+.,\n-]*")
COUNTERS = ("transitions", "updates", "optimiser_steps")
STATUSES = ("complete", "diverged")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf)", re.ASCII)


class RecordError(Exception):
    """A record or plan that cannot be used: `file` and `reason`, together one line."""

    def __init__(self, file: str | Path, reason: str):
        super().__init__(f"{file}: {reason}")
        self.file = str(file)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """One finished run, checked for itself (not yet against a plan)."""

    path: str
    document: dict[str, Any]
    """run.json as it stands."""
    evaluations: pd.DataFrame
    """One row an episode: transitions, updates, episode, return, length."""
    metrics: pd.DataFrame
    """Training metrics over time; begins with transitions, updates."""

    @property
    def status(self) -> str:
        """`complete` or `diverged`."""
        return self.document["status"]

    @property
    def configuration(self) -> dict[str, Any]:
        """What was asked for."""
        return self.document["configuration"]


@dataclasses.dataclass(frozen=True)
class Records:
    """All runs of one scale, in the plan's order."""

    plan: dict[str, Any]
    """The scale's part of the plan."""
    runs: pd.DataFrame
    """One row a planned run: env, algorithm (label), seed, status (`complete`, `diverged`,
    `missing`), gap (bool: no record), transitions, updates, optimiser_steps, wall_seconds, path.
    Numbers of a gap are NaN. A diverged run has the transitions at which it stopped."""
    evaluations: pd.DataFrame
    """One row an evaluation, its episodes averaged first: env, algorithm, seed, transitions,
    updates, return_mean, return_count. Gaps have no rows; a diverged run has those up to its end,
    whose mean may not be finite."""

    def metrics(self, path: str) -> pd.DataFrame:
        """`metrics.csv` of the run in folder `path`; empty cells are NaN."""
        return read_run(path).metrics


def load_plan(scale: str | None = None, root: str | Path = "results") -> dict[str, Any]:
    """The plan of a scale or study (None: of the default scale), as described above.

    Raises RecordError where there is none or it is damaged.
    """
    own = Path(root) / str(scale) / "plan.json"
    path = own if scale is not None and own.exists() else Path(root) / "plan.json"
    plan = _read_json(path, f"missing (python -m analysis.plan --scale {scale or 'desk'} makes it)")
    wanted = plan.get("scale") if scale is None else scale
    if not isinstance(plan.get("scales"), dict) or wanted not in plan["scales"]:
        make = f"python -m analysis.plan --scale {wanted} makes it"
        raise RecordError(path, f"has no plan of scale '{wanted}' ({make})")
    return plan


def read_scale(plan: dict[str, Any], scale: str, missing: str = "refuse") -> Records:
    """Every planned run of `scale`.

    `missing="refuse"` raises RecordError for a run without a record, `missing="gap"` makes it a row
    with `gap` set. Either way a damaged record, one of another configuration, and one that changed
    since the plan was made raise RecordError.
    """
    if missing not in ("refuse", "gap"):
        raise ValueError(f"missing must be 'refuse' or 'gap', not {missing!r}")
    part = plan["scales"][scale]
    rows, evaluations = [], []
    for planned in part["runs"]:
        row = {key: planned[key] for key in ("env", "algorithm", "seed")}
        if missing == "gap" and not (Path(planned["path"]) / "run.json").exists():
            gap = dict.fromkeys(("transitions", "updates", "optimiser_steps", "wall_seconds"))
            rows.append(row | {"status": "missing", "gap": True} | gap | {"path": planned["path"]})
            continue
        record = read_run(planned["path"])
        check_current(record, planned)
        rows.append(row | _summary(record) | {"path": planned["path"]})
        evaluations.append(average_episodes(record.evaluations).assign(**row))
    columns = ["env", "algorithm", "seed", "transitions", "updates", "return_mean", "return_count"]
    # By name, since a study whose methods are not registered has no run at all.
    runs = pd.DataFrame(rows, columns=RUN_COLUMNS).astype({"gap": bool})
    for name in ("transitions", "updates", "optimiser_steps", "wall_seconds"):
        runs[name] = runs[name].astype(float)
    if not evaluations:
        return Records(part, runs, pd.DataFrame(columns=columns))
    return Records(part, runs, pd.concat(evaluations, ignore_index=True)[columns])


def average_episodes(episodes: pd.DataFrame) -> pd.DataFrame:
    """One row an evaluation from one row an episode: transitions, updates, return_mean,
    return_count."""
    grouped = episodes.groupby(["transitions", "updates"], sort=True)["return"]
    return grouped.agg(return_mean="mean", return_count="size").reset_index()


def check_current(record: RunRecord, planned: dict[str, Any]) -> None:
    """RecordError unless the record is the one that the plan saw, naming the field that differs
    from the planned configuration where one does."""
    if planned["digest"] == record_digest(record.path):
        return
    wanted = planned["configuration"]
    field = disagreeing_field(record.configuration, wanted)
    if field is not None:
        raise stale(record.path, field, record.configuration, wanted)
    raise RecordError(record.path, "changed since plan.json was made; run snakemake again")


def stale(path: str | Path, field: str, recorded: dict, wanted: dict) -> RecordError:
    """The error of a record of another configuration; says which folder to delete."""
    values = value_of(recorded, field), value_of(wanted, field)
    reason = "stale: {} is {!r} in the record, {!r} in the protocol".format(field, *values)
    return RecordError(Path(path) / "run.json", f"{reason}; delete {path} to run it again")


def record_digest(path: str | Path) -> str:
    """SHA-256 over the record's files, in the order of FILES."""
    digest = hashlib.sha256()
    for name in FILES:
        content = _read_bytes(Path(path) / name)
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def read_run(path: str | Path) -> RunRecord:
    """The record in a folder, checked by itself: every file whole, every planned evaluation there
    with every episode, every number of a complete run finite, its hash that of its configuration,
    its tables those that it was written with (older records have no digests of them).

    Raises RecordError.
    """
    folder = Path(path)
    document = _read_json(folder / "run.json")
    _check_document(folder / "run.json", document)
    complete = document["status"] == "complete"
    evaluations = _read_table(folder / "evaluations.csv", EVALUATION_COLUMNS, complete)
    _check_evaluations(folder / "evaluations.csv", evaluations, document)
    metrics = _read_table(folder / "metrics.csv", METRIC_COLUMNS, complete)
    _check_metrics(folder / "metrics.csv", metrics, document)
    _check_digests(folder, document)
    return RunRecord(str(path), document, evaluations, metrics)


def _summary(record: RunRecord) -> dict[str, Any]:
    """The row of `Records.runs`, without what names the run."""
    counters = {name: record.document[name] for name in COUNTERS}
    wall_seconds = record.document["wall_seconds"]
    return {"status": record.status, "gap": False} | counters | {"wall_seconds": wall_seconds}


def _check_document(file: Path, document: dict[str, Any]) -> None:
    if document.get("status") not in STATUSES:
        raise RecordError(file, f"status is {document.get('status')!r}, not complete or diverged")
    configuration = document.get("configuration")
    if not isinstance(configuration, dict):
        raise RecordError(file, "has no configuration")
    if not isinstance(document.get("configuration_hash"), str):
        raise RecordError(file, "has no configuration_hash")
    for name in ("transitions", "evaluate_every", "evaluation_episodes", "num_envs"):
        if not _is_count(configuration.get(name)) or configuration[name] < 1:
            value = configuration.get(name)
            raise RecordError(file, f"configuration: {name} is {value!r}, not a positive integer")
    wall = document.get("wall_seconds")
    if isinstance(wall, bool) or not isinstance(wall, int | float) or not 0 <= wall < math.inf:
        raise RecordError(file, f"wall_seconds is {wall!r}, not a duration")
    for name in COUNTERS:
        if not _is_count(document.get(name)):
            raise RecordError(file, f"{name} is {document.get(name)!r}, not a count")
    total = configuration["transitions"]
    if document["status"] == "complete" and document["transitions"] < total:
        raise RecordError(file, f"complete at {document['transitions']} of {total} transitions")
    try:
        is_own = document["configuration_hash"] == configuration_hash(configuration)
    except (ValueError, RecursionError):  # a number beyond all, or objects within objects
        is_own = False
    if not is_own:
        raise RecordError(file, "configuration_hash is of another configuration than stands there")


def _check_evaluations(file: Path, table: pd.DataFrame, document: dict[str, Any]) -> None:
    configuration = document["configuration"]
    for name in ("transitions", "updates", "episode", "length"):
        values = table[name].to_numpy(float)
        if not np.all((values >= 0) & (values == np.floor(values)) & (values < 2**53)):
            raise RecordError(file, f"column {name} has a value that is not a count")
        table[name] = values.astype(np.int64)
    count = configuration["evaluation_episodes"]
    # A vector step moves num_envs transitions at once, so an evaluation comes at the first whole
    # step at or after the planned transitions.
    step = configuration["num_envs"]
    if configuration["transitions"] // configuration["evaluate_every"] > 10**6:
        raise RecordError(file, "is too short for the evaluations that its configuration plans")
    points = (-(-at // step) * step for at in planned_evaluations(configuration))
    planned = list(dict.fromkeys(points))
    found = table["transitions"].drop_duplicates().tolist()
    if document["status"] == "diverged":
        # Those before its end are there; one at its very end may be what diverged, none is later.
        end = document["transitions"]
        before = sum(point < end for point in planned)
        reached = sum(point <= end for point in planned)
        planned = planned[: min(max(before, len(found)), reached)]
    if found != planned:
        pairs = itertools.zip_longest(planned, found)
        at = next(f if p is None else p for p, f in pairs if p != f)
        raise RecordError(
            file,
            f"has {len(found)} of {len(planned)} evaluations; the one at {at} is wrong or absent",
        )
    at, updates, numbers = (
        table[name].to_numpy() for name in ("transitions", "updates", "episode")
    )
    counts = [int(np.sum(at == point)) for point in found]
    for point, episodes in zip(found, counts, strict=True):
        if episodes != count:
            reason = f"has {episodes} of {count} episodes of the evaluation at {point} transitions"
            raise RecordError(file, reason)
    if not np.array_equal(at, np.repeat(found, count)):
        raise RecordError(file, "evaluations are mixed up")
    by_evaluation = (len(found), count)
    numbers, updates = numbers.reshape(by_evaluation), updates.reshape(by_evaluation)
    if np.any(numbers != numbers[:, :1] + np.arange(count)):
        raise RecordError(file, "episodes are out of order")
    if np.any(updates != updates[:, :1]) or np.any(np.diff(updates[:, 0]) < 0):
        raise RecordError(file, "updates run backwards, or change within an evaluation")


def _check_metrics(file: Path, table: pd.DataFrame, document: dict[str, Any]) -> None:
    at = table["transitions"].to_numpy(float)
    if np.any(np.diff(at) < 0):
        raise RecordError(file, "transitions run backwards")
    end, total = at[-1] if len(at) else 0, document["transitions"]
    if end != total:
        raise RecordError(file, f"ends at {end:.0f} of {total} transitions")


def _check_digests(folder: Path, document: dict[str, Any]) -> None:
    digests = document.get("tables_sha256")
    for name in FILES[1:] if digests is not None else ():
        found = hashlib.sha256(_read_bytes(folder / name)).hexdigest()
        if not isinstance(digests, dict) or digests.get(name) != found:
            raise RecordError(folder / name, "is not the table that its run.json was written with")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _read_bytes(file: Path, absent: str = "missing") -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise RecordError(file, absent) from None
    except OSError as error:
        raise RecordError(file, f"cannot be read: {error.strerror}") from None


def _read_text(file: Path, absent: str = "missing") -> str:
    content = _read_bytes(file, absent)
    # Every writer ends its file with a newline, so that a file cut at any byte shows it.
    if not content.endswith(b"\n"):
        raise RecordError(file, "cut short: no newline at its end" if content else "empty")
    try:
        return content.decode("ascii")
    except UnicodeDecodeError as error:
        raise RecordError(file, f"byte {error.start} is not text") from None


def _read_json(file: Path, absent: str = "missing") -> dict[str, Any]:
    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is not a finite number")

    try:
        document = json.loads(_read_text(file, absent), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise RecordError(file, f"not JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(document, dict):
        raise RecordError(file, f"holds a {type(document).__name__}, not an object")
    return document


def _read_table(file: Path, columns: tuple[str, ...], finite: bool) -> pd.DataFrame:
    """A table of numbers that begins with `columns`; an empty cell is NaN and counts as absent."""
    text = _read_text(file)
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise RecordError(file, f"not a table: {error}") from None
    except ValueError:
        raise RecordError(file, "has no header") from None
    if tuple(header[: len(columns)]) != columns:
        raise RecordError(file, f"header begins {','.join(header[: len(columns)])!r:.200}")
    if len(set(header)) != len(header):
        raise RecordError(file, "a column stands twice")
    try:
        # The whole table at once, which is fast, where nothing is suspicious; ...
        if not _PLAIN.fullmatch(text, text.index("\n")):
            raise ValueError
        values = np.array([[cell or "nan" for cell in row] for row in rows], float)
        values = values.reshape(len(rows), len(header))
        if np.isinf(values).any() or np.isnan(values[:, : len(columns)]).any():
            raise ValueError
    except ValueError:
        values = _cell_by_cell(file, header, rows, columns, finite)
    return pd.DataFrame(values, columns=header)


def _cell_by_cell(
    file: Path, header: list[str], rows: list[list[str]], columns: tuple[str, ...], finite: bool
) -> np.ndarray:
    """... and else one by one, to name the cell."""
    values = np.full((len(rows), len(header)), np.nan)
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise RecordError(file, f"line {line} has {len(row)} of {len(header)} values")
        for column, (name, cell) in enumerate(zip(header, row, strict=True)):
            if not cell and name not in columns:
                continue
            if not _NUMBER.fullmatch(cell):
                raise RecordError(file, f"line {line}: {name} is {cell!r:.60}, not a number")
            if finite and not math.isfinite(float(cell)):
                raise RecordError(file, f"line {line}: {name} is {cell:.60}, not finite")
            values[line - 2, column] = float(cell)
    return values
