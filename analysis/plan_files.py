"""What stands in a plan.json, and when it is written anew; see `analysis.plan`."""

import contextlib
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from analysis.artefacts import PROBES, RESULTS
from analysis.protocol import Scale

SOURCES = (
    "analysis/*.py",
    "analysis/figures/*.py",
    "analysis/probes/run_probes.py",
    "analysis/probes/quantities.py",
    "analysis/probes/samples.py",
    "analysis/probes/crossing.py",
    "algorithms/options.py",
    "algorithms/files.py",
    "envs/bandit.py",
    "paper/*.csv",
    "results/probes/*/*.csv",
    "results/probes/*/*.json",
)
"""What derived files are made from beside records of runs."""


def probe_digests(study: str) -> dict[str, str]:
    """SHA-256 of every table and document that a probe has left of the runs of a study."""
    files = sorted(f for end in ("csv", "json") for f in PROBES.glob(f"*/{study}/**/*.{end}"))
    return {file.as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def renew(stamp: Path, plan_file: Path, state: str | None) -> None:
    """Write `stamp` anew unless `plan_file` has this state, so that Snakemake makes the plan again,
    and with it all that is derived from it, whatever the dates of records and protocol.

    `state` is None while runs are to be trained: with a plan in place Snakemake would train nothing
    for it, since it takes absent inputs for intermediate ones that were cleared away.
    """
    try:
        found = json.loads(plan_file.read_bytes()).get("state")
    except FileNotFoundError:
        found = "none"
    except (ValueError, AttributeError):
        found = "damaged"
    if found != state or not stamp.exists():
        stamp.parent.mkdir(parents=True, exist_ok=True)
        # Never the same twice: Snakemake goes by content where a date is newer.
        stamp.write_text(f"{time.time_ns()}\n")


def remove_plan_elsewhere(scale: str, folder: str) -> None:
    """The plan that a scale left in another folder than its own, when it was the default one or was
    not yet: a reader would take it for the present one."""
    for other in {RESULTS, RESULTS / scale} - {Path(folder)}:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if json.loads((other / "plan.json").read_bytes())["scale"] == scale:
                (other / "plan.json").unlink()


def scale_document(part: Scale, folder: str) -> dict[str, Any]:
    variants = {
        entry.label: {
            "algorithm": entry.algorithm,
            "description": entry.description,
            "settings": entry.settings,
            "factors": entry.factors,
            "knob": entry.knob,
            "run": {"updates_per_step": entry.updates_per_step} if entry.updates_per_step else {},
        }
        for entry in part.entries
        if entry.is_variant
    }
    return {
        "folder": folder,
        "environments": list(part.environments),
        "algorithms": [entry.label for entry in part.entries],
        "variants": variants,
        "seeds": list(part.seeds),
        **part.sizes,
        "thresholds": part.thresholds,
        "unvalidated": part.unvalidated,
        "tuning": part.tuning,
    }
