"""Reads `config/protocol.yaml`, merges overrides and checks it, before anything is planned.

Whatever the bytes, reading ends with scales or with `ProtocolError`, one line that names the key
and, where one is near, the name that was probably meant. Imports no algorithm: what a
configuration's own fields allow is checked by `analysis.plan`.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from algorithms import ALGORITHMS
from analysis.protocol_checks import (
    ProtocolError,
    check_environments,
    check_knobs,
    check_known,
    nearest,
)

PROTOCOL = Path("config/protocol.yaml")
SCHEMA = Path(__file__).resolve().parent.parent / "config" / "protocol.schema.yaml"
RESERVED = {
    *("figures", "laboratory", "probes", "runs"),  # folders under results/
    *("gap", "refuse", "costs", "critics", "throughput_digest"),
    *("all", "animate_rollouts", "choice", "claims", "compute", "count_visits", "figure", "plan"),
    *("report", "samplers", "samplers_smoke", "study_at_hand", "tables", "throughput", "train"),
    *(f"exactness{end}" for end in ("", "_derived", "_derived_smoke", "_digest", "_smoke")),
    *(f"mixing{end}" for end in ("", "_derived", "_derived_smoke", "_digest", "_smoke")),
}
"""Names that no scale may have: of folders and rules, and what `measure_` makes a rule's name."""
RESERVED_STARTS = ("measure_", "paper_")
"""Of the names of rules that there are for each scale or study."""
DAY_MINUTES = 24 * 60


@dataclasses.dataclass(frozen=True)
class Entry:
    """What has a row in the tables of a scale: an algorithm or a variant of one."""

    label: str
    algorithm: str
    description: str
    settings: dict[str, Any]
    """Hyperparameters changed by the variant."""
    updates_per_step: int | None
    """Where the variant changes it."""
    factors: dict[str, float] = dataclasses.field(default_factory=dict)
    """Multiples of what a hyperparameter would be otherwise."""
    knob: str = ""
    """What the grid that it is of varies."""

    @property
    def is_variant(self) -> bool:
        """Whether anything but the registered algorithm."""
        return self.label != self.algorithm


@dataclasses.dataclass(frozen=True)
class Scale:
    """A scale or study with everything filled in; sizes as the schema describes them."""

    name: str
    environments: tuple[str, ...]
    entries: tuple[Entry, ...]
    seeds: tuple[int, ...]
    sizes: dict[str, int]
    """transitions, num_envs, warm_up, updates_per_step, evaluate_every, evaluation_episodes."""
    compile: bool
    device: str
    settings: dict[str, Any]
    """For every algorithm that has the field."""
    thresholds: dict[str, list[float]]
    unvalidated: dict[str, str]
    tuning: bool
    left_out: tuple[str, ...]
    """What would have rows, were its algorithm registered."""
    like: str = ""
    """The scale whose sizes a study takes; empty for a scale."""
    laboratory: tuple[str, ...] = ()
    """The tables that a study is for, beside those of the scale that it is like."""
    settings_of: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    """By algorithm, for it and its variants."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Every scale and study by name."""

    default: str
    missing: str
    scales: dict[str, Scale]
    longest_job_minutes: int

    def scale(self, name: str) -> Scale:
        """Raises ProtocolError for a name that the protocol does not know."""
        if name not in self.scales:
            raise ProtocolError(f"unknown scale '{name}'{nearest(name, self.scales)}")
        return self.scales[name]


SIZES = (
    "transitions",
    "num_envs",
    "warm_up",
    "updates_per_step",
    "evaluate_every",
    "evaluation_episodes",
)


def read_protocol(
    file: str | Path = PROTOCOL, overrides: Mapping[str, Any] | None = None
) -> Protocol:
    """The protocol in `file` with `overrides` merged in (mappings deeply, all else replaced).

    Raises ProtocolError.
    """
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise ProtocolError(f"{file}: cannot be read: {error.strerror}") from None
    try:
        document = yaml.load(content, _Loader)
        if overrides and isinstance(document, Mapping):
            document = _merge(document, overrides)
        _check_schema(document)
        return _fill_in(document)
    except yaml.YAMLError as error:
        reason = f"not YAML: {' '.join(str(error).split())[:300]}"
    except ProtocolError as error:
        reason = str(error)
    except RecursionError:
        reason = "nested too deeply, or contains itself"
    except ValueError as error:  # such as a date that is none
        reason = f"not YAML: {' '.join(str(error).split())[:300]}"
    raise ProtocolError(f"{file}: {reason}")


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would keep the last."""

    def construct_mapping(self, node, deep=False):
        merge = "tag:yaml.org,2002:merge"  # `<<`, whose keys may be said again
        keys = [self.construct_object(k, deep=True) for k, _ in node.value if k.tag != merge]
        for number, key in enumerate(keys):
            if not isinstance(key, str):
                raise ProtocolError(f"line {node.start_mark.line + 1}: key {key!r:.60} is no text")
            if key in keys[:number]:
                raise ProtocolError(f"line {node.start_mark.line + 1}: key '{key}' stands twice")
        return super().construct_mapping(node, deep)


def _merge(below: Any, above: Any) -> Any:
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        merged = {k: _merge(below[k], v) if k in below else v for k, v in above.items()}
        return {**below, **merged}
    return above


@cache
def _validator():
    kind = jsonschema.Draft202012Validator
    # JSON Schema counts 1.0 as an integer; as a seed it would stand in a path as "1.0".
    strict = kind.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    schema = yaml.safe_load(SCHEMA.read_bytes())
    return jsonschema.validators.extend(kind, type_checker=strict)(schema)


def _check_schema(document: Any) -> None:
    error = jsonschema.exceptions.best_match(_validator().iter_errors(document))
    if error is None:
        return
    where = ".".join(str(part) for part in error.absolute_path)
    prefix = f"{where}: " if where else ""
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(key for key in error.instance if key not in known)
        raise ProtocolError(f"{prefix}unknown key '{unknown}'{nearest(unknown, known)}")
    if error.validator == "required":
        absent = next(key for key in error.validator_value if key not in error.instance)
        raise ProtocolError(f"{prefix}lacks '{absent}'")
    if "refusal" in error.schema:
        told = f"{error.instance!r:.90} {error.schema['refusal']}"
        raise ProtocolError(f"{prefix}{' '.join(told.split())}")
    raise ProtocolError(f"{prefix}{' '.join(error.message.split())[:300]}")


def _fill_in(document: dict[str, Any]) -> Protocol:
    scales: dict[str, dict] = document["scales"]
    studies: dict[str, dict] = document.get("studies", {})
    for name in (*scales, *studies):
        is_reserved = name in RESERVED or name.startswith(RESERVED_STARTS)
        if is_reserved or (name in scales and name in studies):
            raise ProtocolError(f"'{name}' cannot be the name of a scale or study")
    for name, part in studies.items():
        if part["like"] not in scales:
            raise ProtocolError(
                f"studies.{name}.like: unknown scale '{part['like']}'"
                f"{nearest(part['like'], scales)}"
            )
    named = {f"scales.{name}": part for name, part in scales.items()} | {
        f"studies.{name}": _inherit(part, scales[part["like"]]) for name, part in studies.items()
    }
    for name, variant in document.get("variants", {}).items():
        if name in ALGORITHMS:
            raise ProtocolError(f"variants.{name}: is the name of an algorithm")
        if variant["algorithm"] not in document.get("optional", []):
            _check_algorithm(f"variants.{name}.algorithm", variant["algorithm"])
    filled = {
        where.partition(".")[2]: _scale(where, part, document) for where, part in named.items()
    }
    if document["default"] not in scales:
        unknown = document["default"]
        raise ProtocolError(f"default: unknown scale '{unknown}'{nearest(unknown, scales)}")
    _check_tuning_seeds(filled.values())
    _check_laboratory(filled.values())
    longest = document.get("longest_job_minutes", DAY_MINUTES)
    return Protocol(document["default"], document.get("missing", "refuse"), filled, longest)


def _inherit(study: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """The study with what it does not say; what it trains (algorithms, variants) is its own."""
    own = ("algorithms", "variants", "grids", "like", "tuning", "laboratory")
    return {"algorithms": []} | {k: v for k, v in base.items() if k not in own} | study


def _scale(where: str, part: dict[str, Any], document: dict[str, Any]) -> Scale:
    environments = tuple(part["environments"])
    check_environments(where, environments)
    by_environment = {}
    for key in ("thresholds", "unvalidated"):
        values = part.get(key, {})
        for env in values:
            check_known(f"{where}.{key}", env)
        # More may stand there than is run, since an override cannot take a key away.
        by_environment[key] = {env: values[env] for env in environments if env in values}
    sizes = {name: part[name] for name in SIZES}
    for name in ("warm_up", "evaluate_every", "num_envs"):
        # A warm-up as long as the run leaves nothing to learn from.
        if sizes[name] > sizes["transitions"] - (name == "warm_up"):
            raise ProtocolError(
                f"{where}.{name}: {sizes[name]} is too large for {sizes['transitions']} transitions"
            )
    optional = document.get("optional", [])
    entries, left_out = _entries(where, part, document.get("variants", {}), optional)
    for name in part.get("settings_of", {}):
        if name not in optional:
            _check_algorithm(f"{where}.settings_of", name)
    return Scale(
        name=where.partition(".")[2],
        environments=environments,
        entries=entries,
        seeds=tuple(part["seeds"]),
        sizes=sizes,
        compile=part.get("compile", True),
        device=document.get("device", "auto"),
        settings=part.get("settings", {}),
        **by_environment,
        tuning=part.get("tuning", False),
        left_out=left_out,
        like=part.get("like", ""),
        laboratory=tuple(part.get("laboratory", ())),
        settings_of=part.get("settings_of", {}),
    )


def _entries(
    where: str, part: dict[str, Any], variants: dict[str, dict], optional: Sequence[str]
) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """(what has rows, in order; labels of what is left out)."""
    names = part["algorithms"]
    candidates = [
        (name, {"algorithm": name}, f"{where}.algorithms")
        for name in (ALGORITHMS if names == "registered" else names)
    ]
    for name in part.get("variants", []):
        if name not in variants:
            raise ProtocolError(
                f"{where}.variants: unknown variant '{name}'{nearest(name, variants)}"
            )
        candidates.append((name, variants[name], f"variants.{name}"))
    check_knobs(f"{where}.grids", part.get("grids", {}))
    for name, grid in part.get("grids", {}).items():
        for label, cell in _cells(grid):
            candidates.append((label, {**grid, **cell}, f"{where}.grids.{name}"))
    entries, left_out = [], []
    for label, definition, place in candidates:
        algorithm = definition["algorithm"]
        if algorithm not in ALGORITHMS and algorithm in optional:
            left_out.append(label)
            continue
        _check_algorithm(place, algorithm)
        if any(label == entry.label for entry in entries):
            raise ProtocolError(f"{place}: '{label}' stands twice in {where}")
        entries.append(
            Entry(
                label,
                algorithm,
                definition.get("description", ""),
                definition.get("settings", {}),
                definition.get("updates_per_step"),
                definition.get("factors", {}),
                definition.get("knob", ""),
            )
        )
    if not entries and not left_out:
        raise ProtocolError(f"{where}: names no algorithm and no variant")
    return tuple(entries), tuple(left_out)


def _cells(grid: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(label, its settings and factors) of each combination of a grid."""
    axes = [
        (kind, key, grid[kind][key])
        for kind in ("settings", "factors")
        for key in sorted(grid.get(kind, {}))
    ]
    for values in itertools.product(*(choices for _, _, choices in axes)):
        cell: dict[str, Any] = {"settings": {}, "factors": {}}
        words = [grid["algorithm"], *([grid["knob"]] if "knob" in grid else [])]
        for (kind, key, choices), value in zip(axes, values, strict=True):
            cell[kind][key] = value
            if "knob" not in grid:
                words.append(key)
            if "knob" not in grid or len(choices) > 1:
                words.append(f"x{value:g}" if kind == "factors" else str(value))
        yield re.sub(r"[^A-Za-z0-9_.-]", "-", "_".join(words)), cell


def _check_algorithm(where: str, name: str) -> None:
    if name not in ALGORITHMS:
        raise ProtocolError(f"{where}: unknown algorithm '{name}'{nearest(name, ALGORITHMS)}")


def _check_tuning_seeds(scales: Iterable[Scale]) -> None:
    """Seeds that a value was chosen on would flatter it where it is reported."""
    scales = list(scales)
    for study in (scale for scale in scales if scale.tuning):
        for other in scales:
            shared = set() if other.tuning else set(study.seeds) & set(other.seeds)
            if shared:
                raise ProtocolError(
                    f"studies.{study.name}.seeds: {min(shared)} is a seed of '{other.name}', "
                    "which reports it"
                )


def _check_laboratory(scales: Iterable[Scale]) -> None:
    """A table of the laboratory tells its rows apart by environment, not by study."""
    first: dict[tuple[str, str, str], str] = {}
    for study in scales:
        for table, env in itertools.product(study.laboratory, study.environments):
            other = first.setdefault((study.like, table, env), study.name)
            if other != study.name:
                told = f"studies.{study.name}: table '{table}' has {env} by '{other}'"
                raise ProtocolError(f"{told}; add to that study, or take another environment")
