"""Where every run of a scale comes from: code, machine, versions and what it took."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.records import Records, read_run

VERSIONS = ("python", "torch", "numpy", "gymnasium", "mujoco", "diffusers")
COLUMNS = [
    *("env", "algorithm", "seed", "status", "transitions", "updates", "optimiser_steps"),
    *("wall_seconds", "cpu_seconds", "peak_memory_bytes", "resumptions"),
    *("device", "threads", "processor", "cores", "system", "machines", "commit", "dirty"),
    *(f"{name}_version" for name in VERSIONS),
    *("configuration_hash", "divergence", "command", "path"),
]
COUNTS = (
    *("transitions", "updates", "optimiser_steps", "peak_memory_bytes", "resumptions"),
    *("threads", "cores", "machines"),
)


def provenance_table(records: Records) -> pd.DataFrame:
    """One row a planned run, in the plan's order; cells are empty where a record does not say.

    The machine is the last of `machines` that a run was at; `run.json` has the others.
    """
    rows = []
    for run in records.runs.itertuples():
        row = {"env": run.env, "algorithm": run.algorithm, "seed": run.seed, "status": run.status}
        if not run.gap:
            row |= _of_document(read_run(run.path).document)
        rows.append(row | {"path": run.path})
    return pd.DataFrame(rows, columns=COLUMNS)


def _of_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Cells of a run from its `run.json`."""
    machine = document.get("machine", {})
    versions = document.get("versions", {})
    divergence = document.get("divergence", {})
    earlier = {tuple(sorted(other.items())) for other in document.get("earlier_machines", ())}
    return {
        **{name: document.get(name) for name in COLUMNS if name in document},
        **{name: machine.get(name) for name in ("processor", "cores", "system")},
        "machines": 1 + len(earlier),
        **{f"{name}_version": versions.get(name) for name in VERSIONS},
        "divergence": " ".join(f"{name} {value}" for name, value in divergence.items()),
        "command": " ".join(document.get("command", ())),
    }
