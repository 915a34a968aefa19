"""Records of probes that look at one run each: a table, and beside it what it was measured with.

`results/probes/<probe>/<study>/<env>/<label>/seed<k>.csv`, with columns of the probe's own, and
`.json`: the run's configuration, the digest of its record where a policy that it left was looked
at, what the probe was set to, code, versions and machine, and the digest of the table. They are
source files, as run records are, and are never made again while they are there and the run is.
Reading one imports neither torch nor an algorithm; that a field which the record lacks stands at
its default, `analysis.plan` sees to.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from algorithms.files import written_whole
from algorithms.options import disagreeing_field, value_of
from analysis.artefacts import PROBES
from analysis.records import RecordError, record_digest

FOLDER = PROBES
SETTINGS: dict[str, dict[str, Any]] = {
    "samples": {"count": 2000},
    "proposals": {"count": 1000, "uniform": 1000, "batches": 50, "grid": 256},
    "visits": {"widths": [0.25, 0.5, 1.0], "marks": 10},
}
"""What each probe is set to, in its module's words; a record of other settings is stale."""


RUN_DIGEST = "run_sha256"
"""Of the record of the run whose policy was looked at (`analysis.records.record_digest`). A policy
is no file of the record, and trained again, elsewhere, it is another of the same configuration."""
OF_ANOTHER = "stale: of the policy of a run that was made again since"


def path_of(probe: str, run: str) -> Path:
    """The table of a probe of the run with this name, `<study>/<env>/<label>/seed<k>`."""
    return FOLDER / probe / f"{run}.csv"


def write(probe: str, run: str, document: Mapping[str, Any], table: pd.DataFrame) -> Path:
    """Write a record, its document last. Raises `algorithms.files.NotWritten`."""
    path = path_of(probe, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()
    whole = {**document, "table_sha256": hashlib.sha256(content).hexdigest()}
    text = json.dumps(whole, indent=1, allow_nan=False) + "\n"
    for file, part in ((path, content), (path.with_suffix(".json"), text.encode())):
        with written_whole(file) as beside:
            beside.write_bytes(part)
    return path


def read(
    probe: str, planned: Mapping[str, Any], runs: str = "results/runs/"
) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """(table, document) of a planned run (as plan.json has it), or None where there is none, or
    where it is of a record that was deleted.

    Raises RecordError for one that is half there, was edited, or is of another configuration.
    """
    path = path_of(probe, planned["path"].removeprefix(runs))
    document_path = path.with_suffix(".json")
    if not document_path.exists():
        return None
    try:
        content = path.read_bytes()
        document = json.loads(document_path.read_bytes())
        told, configuration = document["table_sha256"], dict(document["configuration"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RecordError(
            document_path, f"{type(error).__name__}: {reason}; {advice(path)}"
        ) from None
    if hashlib.sha256(content).hexdigest() != told:
        raise RecordError(path, f"is not the table that its document is of; {advice(path)}")
    if document.get(RUN_DIGEST) is not None and document[RUN_DIGEST] != planned.get("digest"):
        if planned.get("digest") is None:
            return None  # Of a run that was deleted, and shown as a gap.
        raise RecordError(path, f"{OF_ANOTHER}; {advice(path)}")
    settings = SETTINGS.get(probe)
    if settings is not None and document.get("probe") != settings:
        told = f"set to {document.get('probe')}, where {settings} is asked"
        raise RecordError(path, f"stale: {told}; {advice(path)}")
    wanted = planned["configuration"]
    field = disagreeing_field(configuration, wanted)
    if field is not None:
        values = value_of(configuration, field), value_of(wanted, field)
        told = f"{field} is {values[0]!r} in the record, {values[1]!r} in the protocol"
        raise RecordError(path, f"stale: {told}; {advice(path)}")
    return pd.read_csv(io.BytesIO(content), float_precision="round_trip"), document


def documents(run: str) -> dict[Path, dict[str, Any]]:
    """The document of each probe's record of a run, if any, by the record's table."""
    found = {}
    for file in sorted(FOLDER.glob(f"*/{run}.json")):
        try:
            document = json.loads(file.read_bytes())
            dict(document["configuration"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # `read` refuses it, and says why.
        found[file.with_suffix(".csv")] = document
    return found


def is_of_record(document: Mapping[str, Any], run: str | Path) -> bool:
    """Whether a policy that was looked at is that of the run's record in the folder `run`, as far
    as can be told: older documents do not say which record they are of."""
    told = document.get(RUN_DIGEST)
    try:
        return told is None or told == record_digest(run)
    except RecordError:
        return True  # Half a record is refused as such.


def advice(path: Path) -> str:
    """How a record that is no good is made again."""
    return f"delete {path} and {path.with_suffix('.json').name} to measure it again"
