"""Resolves what the protocol asks for into full configurations; the one door to the algorithms.

Torch takes seconds to import, so the result is kept in `.snakemake/resolved` under a digest of all
that it depends on, and algorithms are imported only where that has changed.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from algorithms.files import NotWritten, written_whole
from algorithms.options import configuration_hash
from analysis.artefacts import RESULTS
from analysis.protocol import Entry, Scale
from analysis.protocol_checks import nearest

ROOT = Path(__file__).resolve().parent.parent
RUNS = f"{RESULTS}/runs"
CACHE = Path(".snakemake/resolved")


class PlanError(Exception):
    """Why nothing can be planned: one line for each reason."""


def refuse(error: Exception) -> NoReturn:
    """Say why nothing is done, and end the process with status 2."""
    print(error, file=sys.stderr, flush=True)
    sys.exit(2)


def read_overrides(text: str) -> dict[str, Any]:
    """What `--overrides` of a command gives, merged into the protocol. Raises PlanError."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"--overrides is not JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict):
        raise PlanError(f"--overrides is {text!r:.60}, not an object")
    return found


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of a scale."""

    name: str
    """`<scale>/<env>/<label>/seed<k>`: its folder under `results/runs`, its log under `logs`."""
    env: str
    label: str
    seed: int

    @property
    def path(self) -> str:
        """Folder of its record."""
        return f"{RUNS}/{self.name}"

    @property
    def is_recorded(self) -> bool:
        """Whether there is a record, be it good or not; `run.json` is written last."""
        return os.path.lexists(f"{self.path}/run.json")


def resolved(part: Scale, runs: Sequence[PlannedRun]) -> dict[str, Any]:
    """{"runs": {name: {"configuration", "hash", "arguments"}}, "hyperparameters": {label: [{"name",
    "value", "description", "source"}]}, "defaults": {algorithm: {setting: value}}, "spaces": {env:
    [observation size, action size]}} of a scale; `arguments` are those of `algorithms.train`,
    quoted for a shell.

    Raises PlanError for settings, sizes or environments that an algorithm cannot run.
    """
    key = _cache_key(part)
    file = CACHE / f"{part.name}.json"
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("key") != key:
        # Through JSON, so that what is compared and hashed is the same from the cache.
        found = json.loads(json.dumps({"key": key} | _resolve(part)))
        write_whole(file, found)
    of_seeds = found.pop("of_seeds")
    machine_flags = ["--compile" if part.compile else "--no-compile", "--device", part.device]
    found["runs"] = {
        run.name: _of_seed(run.seed, **of_seeds[run.label][run.env], machine_flags=machine_flags)
        for run in runs
    }
    return found


def _of_seed(
    seed: int, configuration: dict[str, Any], flags: list[str], machine_flags: list[str]
) -> dict[str, Any]:
    """A run of `runs` from what those of all seeds share."""
    configuration = configuration | {"seed": seed}
    at = flags.index("--seed") + 1
    return {
        "configuration": configuration,
        "hash": configuration_hash(configuration),
        "arguments": shlex.join([*flags[:at], str(seed), *flags[at + 1 :], *machine_flags]),
    }


def _resolve(part: Scale) -> dict[str, Any]:
    """As `resolved`, but "of_seeds": {label: {env: {"configuration", "flags"}}} for the runs: those
    of a thousand seeds differ in the seed, and each takes a while."""
    from algorithms import algorithm
    from algorithms.configuration import fields
    from algorithms.options import command_flags, resolve_configuration
    from envs import sizes

    known, hyperparameters, defaults, of_seeds = {}, {}, {}, {}
    for entry in part.entries:
        label = entry.label
        known[label] = fields(algorithm(entry.algorithm).Configuration)
        hyperparameters[label] = _hyperparameters(part, entry, known[label])
        defaults[entry.algorithm] = {field.name: field.default for field in known[label]}
        settings = _settings(part, entry, known[label])
        own = {} if entry.updates_per_step is None else {"updates_per_step": entry.updates_per_step}
        of_seeds[label] = {}
        for env in part.environments:
            try:
                configuration = resolve_configuration(
                    algorithm=entry.algorithm,
                    env=env,
                    seed=0,
                    **part.sizes | own,
                    settings=settings,
                )
            except ValueError as error:
                raise PlanError(f"{part.name}: {label} on {env}: {error}") from None
            flags = command_flags(configuration)
            of_seeds[label][env] = {"configuration": configuration, "flags": flags}
    _check_settings(part, {field.name for each in known.values() for field in each})
    return {
        "of_seeds": of_seeds,
        "hyperparameters": hyperparameters,
        "defaults": defaults,
        "spaces": {env: sizes(env) for env in part.environments},
    }


def _check_settings(part: Scale, known: set[str]) -> None:
    """Raises PlanError for a setting of the scale that no registered algorithm has: methods without
    a field pass it over, so that a slip of the pen would change nothing and say nothing."""
    from algorithms import ALGORITHMS, algorithm
    from algorithms.configuration import fields

    if set(part.settings) <= known:
        return
    every = [field.name for name in ALGORITHMS for field in fields(algorithm(name).Configuration)]
    for name in part.settings:
        if name not in every:
            near = nearest(name, every)
            raise PlanError(f"{part.name}: settings: no algorithm has '{name}'{near}")


def _settings(part: Scale, entry: Entry, known: Sequence[Any]) -> dict[str, Any]:
    """Hyperparameters that are no defaults. Raises PlanError for a factor on what is no number."""
    defaults = {field.name: field.default for field in known}
    settings = {name: value for name, value in part.settings.items() if name in defaults}
    settings |= part.settings_of.get(entry.algorithm, {}) | entry.settings
    for name, factor in entry.factors.items():
        value = settings.get(name, defaults.get(name))
        if isinstance(value, bool) or not isinstance(value, int | float):
            reason = f"a factor on {name}, which is no number" if name in defaults else "no " + name
            raise PlanError(f"{part.name}: {entry.label}: {reason}")
        settings[name] = value * factor
    return settings


def _hyperparameters(part: Scale, entry: Entry, known: Sequence[Any]) -> list[dict[str, Any]]:
    """Name, value, description and source of each, and of what else a variant changes."""
    rows = []
    changed = _settings(part, entry, known)
    for field in known:
        value, source = changed.get(field.name, field.default), field.source
        if field.name in changed:
            source = f"protocol: scale {part.name}"
        if field.name in entry.settings or field.name in entry.factors:
            source = f"protocol: variant {entry.label}"
        rows.append((field.name, value, field.description, source))
    if entry.updates_per_step is not None:
        told = "Updates owed for each step of all environments."
        source = f"protocol: variant {entry.label}"
        rows.append(("updates_per_step", entry.updates_per_step, told, source))
    return [dict(zip(("name", "value", "description", "source"), row, strict=True)) for row in rows]


def _cache_key(part: Scale) -> str:
    """Digest of all that a resolved configuration depends on."""
    code = [path for name in ("algorithms", "envs") for path in (ROOT / name).rglob("*.py")]
    code = [*sorted(code), Path(__file__)]
    versions = [importlib.metadata.version(name) for name in ("torch", "gymnasium", "mujoco")]
    # What is left out is put in afterwards, or is no part of a configuration.
    part = dataclasses.replace(part, seeds=(), device="", compile=True)
    return digest(repr(part), *versions, *(path.read_bytes() for path in code))


def digest(*parts: str | bytes) -> str:
    """SHA-256 over parts, each with its length."""
    total = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        total.update(f"{len(content)}\n".encode() + content)
    return total.hexdigest()


def write_whole(path: Path, document: dict[str, Any]) -> None:
    """Write JSON beside `path` and move it into place. Raises PlanError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Jobs that Snakemake starts side by side resolve the same scale.
        with written_whole(path, is_shared=True) as beside:
            beside.write_text(json.dumps(document, indent=1) + "\n")
    except NotWritten as error:
        raise PlanError(str(error)) from None
    except OSError as error:
        raise PlanError(f"{path.parent} cannot be made: {error.strerror}") from None


def use_this_python() -> None:
    """Let `python` in the shell of a job be the interpreter that runs now: without an activated
    environment PATH has another one first, or none."""
    folder = os.path.dirname(sys.executable)
    os.environ["PATH"] = os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])
