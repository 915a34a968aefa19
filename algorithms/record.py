"""What a finished run leaves behind: `evaluations.csv`, `metrics.csv`, `policy.pt`, `run.json`.

Each file is written beside its place and moved into it, `run.json` last: a record with a `run.json`
is whole. `analysis.records` reads records for the tables and checks every number in them; here
only as much is read as it takes not to run a run twice.
"""

import hashlib
import importlib.metadata
import io
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from algorithms import algorithm
from algorithms.agent import Agent, Run, Spaces
from algorithms.files import written_whole
from algorithms.options import Refused
from algorithms.randomness import agent_generators
from envs import sizes

ROOT = Path(__file__).resolve().parent.parent
TABLES = ("evaluations.csv", "metrics.csv")
EVALUATION_COLUMNS = ("transitions", "updates", "episode", "return", "length")
POLICY = "policy.pt"
DOCUMENT = "run.json"
CODE = ("algorithms", "envs", "config", "pyproject.toml")
"""What `dirty` speaks of."""
PACKAGES = ("torch", "numpy", "gymnasium", "mujoco", "diffusers")
"""What the numbers depend on, beside Python."""


def read_document(folder: Path) -> dict[str, Any] | None:
    """`run.json` of a finished run in `folder`, or None where no run has finished.

    Raises Refused for one that is damaged, or that lacks its tables.
    """
    file = folder / DOCUMENT
    try:
        document = json.loads(file.read_bytes())
        if not isinstance(document["configuration"], dict):
            raise TypeError("configuration is no object")
        if document["status"] not in ("complete", "diverged"):
            raise ValueError(f"status is {document['status']!r}")
    except (FileNotFoundError, NotADirectoryError):
        return None  # the second is for the one who writes there to tell
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Refused(
            f"{file} is damaged ({type(error).__name__}: {reason}); delete {folder} to run it again"
        ) from None
    for name in TABLES:
        if not (folder / name).is_file():
            raise Refused(f"{folder / name} is missing; delete {folder} to run it again")
    return document


def table(columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV with the shortest digits that give each float back to the bit; None is an empty cell."""
    lines = [",".join(columns)]
    lines += [",".join("" if cell is None else repr(cell) for cell in row) for row in rows]
    return "\n".join(lines) + "\n"


def metrics_table(rows: Sequence[dict[str, Any]]) -> str:
    """CSV of rows by name; a column for every name, in the order in which they first appear."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    # A run that diverges before its first row has no row; the columns that every table has stay.
    columns = columns or ["transitions", "updates"]
    return table(columns, ([row.get(name) for name in columns] for row in rows))


def write_record(folder: Path, document: dict[str, Any], tables: dict[str, str]) -> None:
    """Write tables by file name and then `run.json`, with their digests as `tables_sha256`. Raises
    NotWritten."""
    digests = {name: hashlib.sha256(of.encode("ascii")).hexdigest() for name, of in tables.items()}
    text = json.dumps(document | {"tables_sha256": digests}, indent=1, allow_nan=False)
    for name, content in (tables | {DOCUMENT: text + "\n"}).items():
        with written_whole(folder / name) as file:
            file.write_text(content, encoding="ascii")


def write_policy(folder: Path, agent: Agent, configuration: dict[str, Any]) -> None:
    """Write `policy.pt`: all that acting depends on, without replay, rollout and optimisers."""
    components = {
        name: part.state_dict()
        for name, part in agent.components().items()
        if name not in ("replay", "rollout") and not isinstance(part, torch.optim.Optimizer)
    }
    content = {
        "configuration": configuration,
        "counters": agent.state_dict()["counters"],
        "components": components,
    }
    buffer = io.BytesIO()  # a full disk is then an OSError like any other
    torch.save(content, buffer)
    with written_whole(folder / POLICY) as file:
        file.write_bytes(buffer.getbuffer())


def read_policy(
    folder: Path,
    device: torch.device,
    compile: bool = False,
    settings: dict[str, Any] | None = None,
) -> Agent:
    """The trained agent of the run in `folder`, able to act and to evaluate its networks.

    Its replay is empty and its generators are those of the run's seed. `settings` replaces
    hyperparameters with which it acts, such as a temperature. Raises FileNotFoundError where the
    run left no `policy.pt` (records that were committed have none).
    """
    content = torch.load(folder / POLICY, map_location=device, weights_only=True)
    configuration = content["configuration"]
    kind = algorithm(configuration["algorithm"])
    agent = kind(
        kind.Configuration(**configuration["settings"] | (settings or {})),
        Spaces(*sizes(configuration["env"])),
        Run(
            configuration["num_envs"],
            configuration["transitions"],
            configuration["warm_up"],
            configuration["updates_per_step"],
            compile,
        ),
        device,
        agent_generators(device, configuration["seed"]),
    )
    components = agent.components()
    for name, state in content["components"].items():
        components[name].load_state_dict(state)
    for name, value in content["counters"].items():
        setattr(agent, name, value)
    return agent


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def code_state() -> dict[str, Any]:
    """`commit`, and whether what a run is made by is `dirty`; both None outside of a repository."""

    def git(*arguments: str) -> str:
        # Without its optional locks: somebody may be committing.
        command = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--", *CODE)),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def machine() -> dict[str, Any]:
    """The machine without its name: processor, the vector instructions that torch uses on it, cores
    usable, memory, operating system, kernel."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor()
    has_affinity = hasattr(os, "sched_getaffinity")
    return {
        "processor": processor.strip(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "kernel": platform.release(),
    }


def device_name(device: torch.device) -> str:
    """`cpu`, or `cuda` with the model's name."""
    if device.type != "cuda":
        return device.type
    return f"cuda: {torch.cuda.get_device_name(device)}"


def resident_bytes() -> tuple[int, int]:
    """(resident now, resident at most so far) of this process.

    Not `ru_maxrss`, which is inherited through exec; (0, 0) where there is no `/proc`.
    """
    found = {"VmRSS": 0, "VmHWM": 0}
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0]) * 1024
    except OSError:
        pass
    return found["VmRSS"], found["VmHWM"]
