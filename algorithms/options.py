"""What a run is asked to do: resolved, hashed, compared and turned into command-line flags.

A configuration is a plain dictionary, as it stands in `run.json`: what was asked for, and nothing
of how or where it is run (device, threads, compiled or not, folders). Torch is imported only when
an algorithm's own fields are looked at.
"""

import difflib
import hashlib
import json
import math
import re
import types
import typing
from collections.abc import Iterable
from typing import Any

from algorithms import ALGORITHMS, algorithm


class Refused(Exception):
    """Why a run is not begun; one line."""

    def __init__(self, reason: object):
        super().__init__(" ".join(str(reason).split()))


LARGEST_SEED = 2**63 - 1
LARGEST_COUNT = 10**12
DEFAULTS = {"transitions": 300_000, "num_envs": 5, "evaluation_episodes": 10, "updates_per_step": 1}
"""The desk scale's sizes."""
INTERVAL = 10_000
"""The desk scale's warm-up and evaluation interval; at most a fifth of the run by default."""


def resolve_configuration(
    algorithm: str,
    env: str,
    seed: int,
    transitions: int = DEFAULTS["transitions"],
    num_envs: int = DEFAULTS["num_envs"],
    warm_up: int | None = None,
    evaluate_every: int | None = None,
    evaluation_episodes: int = DEFAULTS["evaluation_episodes"],
    updates_per_step: int = DEFAULTS["updates_per_step"],
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The configuration of a run with every default filled in, as plain JSON.

    `settings` holds hyperparameters by the names of the algorithm's `Configuration`. Raises
    ValueError, one line, for what is unknown (with the nearest known name) or makes no sense.
    """
    sizes = {
        "seed": _count("seed", seed, 0, LARGEST_SEED),
        "transitions": _count("transitions", transitions),
        "num_envs": _count("num_envs", num_envs),
        "warm_up": warm_up,
        "evaluate_every": evaluate_every,
        "evaluation_episodes": _count("evaluation_episodes", evaluation_episodes),
        "updates_per_step": _count("updates_per_step", updates_per_step),
    }
    fifth = min(INTERVAL, transitions // 5)
    sizes["warm_up"] = _count("warm_up", fifth if warm_up is None else warm_up, least=0)
    sizes["evaluate_every"] = _count(
        "evaluate_every", max(fifth, 1) if evaluate_every is None else evaluate_every
    )
    # A warm-up as long as the run leaves nothing to learn from.
    for name, most in (
        ("num_envs", transitions),
        ("warm_up", transitions - 1),
        ("evaluate_every", transitions),
    ):
        if sizes[name] > most:
            raise ValueError(f"{name} {sizes[name]} is too large for {transitions} transitions")
    agent = known_algorithm(algorithm)
    from envs import sizes as environment_sizes

    environment_sizes(env)  # raises EnvironmentRefused, a ValueError
    return {
        "algorithm": algorithm,
        "revision": agent.revision,
        "env": env,
        **sizes,
        "settings": resolve_settings(agent.Configuration, settings or {}),
    }


def known_algorithm(name: str) -> type:
    """The `Agent` subclass of a registered name; ValueError with the nearest one otherwise."""
    if name not in ALGORITHMS:
        raise ValueError(f"unknown algorithm '{name}'{_nearest(name, ALGORITHMS)}")
    return algorithm(name)


def resolve_settings(configuration: type, settings: dict[str, Any]) -> dict[str, Any]:
    """Every field of a configuration dataclass by name, with `settings` over its defaults.

    A number has to lie in the interval that its docstring states, "in [0, 1)"; where it states
    none, an integer is at least 1, or 0 if 0 is its default. Raises ValueError, one line.
    """
    from algorithms.configuration import fields

    known = {field.name: field for field in fields(configuration)}
    for name in settings:
        if name not in known:
            raise ValueError(f"unknown setting '{name}'{_nearest(name, known)}")
    hints = typing.get_type_hints(configuration)
    resolved = {}
    for name, field in known.items():
        value = _as(hints[name], name, settings.get(name, field.default))
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not isinstance(number, bool):
                _check_interval(name, number, field.description, field.default)
        resolved[name] = value
    return resolved


def planned_evaluations(configuration: dict[str, Any]) -> list[int]:
    """Transitions at which a run is evaluated: at 0, and every `evaluate_every` counted back from
    its end, so that the authors' 5,030,000 by 125,000 begins at 30,000, where learning does."""
    total, every = configuration["transitions"], configuration["evaluate_every"]
    return [0, *range(total - every * ((total - 1) // every), total + 1, every)]


def configuration_hash(configuration: dict[str, Any]) -> str:
    """SHA-256 of a configuration."""
    text = json.dumps(configuration, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def differing_field(recorded: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    """The first field by which a recorded configuration is not the one wanted, or None.

    A field that the record lacks counts as the present default (which therefore must keep the old
    behaviour); one that it has and nobody knows any more differs. Hyperparameters are named
    `settings.<name>`.
    """
    defaults: dict[str, Any] = DEFAULTS | {"settings": {}}
    if wanted.get("algorithm") in ALGORITHMS:
        agent = algorithm(wanted["algorithm"])
        defaults["revision"] = agent.revision
        defaults["settings"] = resolve_settings(agent.Configuration, {})
    recorded, wanted = _flat(recorded), _flat(wanted)
    defaults = _flat(defaults)
    for name in [*wanted, *(name for name in recorded if name not in wanted)]:
        if name not in wanted or not _same(recorded.get(name, defaults.get(name)), wanted[name]):
            return name
    return None


def disagreeing_field(recorded: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    """The first field that both configurations have and in which they differ, or None: what can be
    said without an algorithm, whose defaults stand for what one of them lacks."""
    recorded, wanted = _flat(recorded), _flat(wanted)
    shared = (name for name in wanted if name in recorded)
    return next((name for name in shared if not _same(recorded[name], wanted[name])), None)


def value_of(configuration: dict[str, Any], field: str) -> Any:
    """The value of a field as `differing_field` names it; 'absent' where there is none."""
    return _flat(configuration).get(field, "absent")


def command_flags(configuration: dict[str, Any]) -> list[str]:
    """Flags of `python -m algorithms.train` that ask for a resolved configuration; of its settings,
    those that are not defaults."""
    flags = []
    for name, value in configuration.items():
        if name not in ("revision", "settings"):
            flags += [_flag(name), str(value)]
    defaults = resolve_settings(algorithm(configuration["algorithm"]).Configuration, {})
    for name, value in configuration["settings"].items():
        if _same(value, defaults[name]):
            continue
        if isinstance(value, bool):
            flags.append(_flag(name if value else f"no_{name}"))
        else:
            flags += [_flag(name), *map(str, value if isinstance(value, list) else [value])]
    return flags


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _flat(configuration: dict[str, Any]) -> dict[str, Any]:
    settings = configuration.get("settings", {})
    rest = {name: value for name, value in configuration.items() if name != "settings"}
    if not isinstance(settings, dict):
        return rest | {"settings": settings}
    return rest | {f"settings.{name}": value for name, value in settings.items()}


def _same(a: Any, b: Any) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _count(name: str, value: Any, least: int = 1, most: int = LARGEST_COUNT) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} is {value!r}, not an integer")
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}, not between {least} and {most}")
    return value


def _as(hint: Any, name: str, value: Any) -> Any:
    """`value` as plain JSON of the type that a field declares; ValueError if it is none."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for option in typing.get_args(hint):
            try:
                return _as(option, name, value)
            except ValueError:
                continue
        raise ValueError(f"{name} is {value!r}, not one of {hint}")
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        if not any(_same(value, choice) for choice in choices):
            raise ValueError(f"{name} is {value!r}, not one of {', '.join(map(repr, choices))}")
        return value
    if typing.get_origin(hint) is tuple:
        items, kinds = (
            list(value) if isinstance(value, list | tuple) else None,
            typing.get_args(hint),
        )
        if items is None or (kinds[-1] is not Ellipsis and len(kinds) != len(items)):
            raise ValueError(f"{name} is {value!r}, not a list of {len(kinds)} values")
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(items)
        return [_as(kind, name, item) for kind, item in zip(kinds, items, strict=True)]
    if hint is type(None) and value is None:
        return None
    is_bool, is_number = isinstance(value, bool), isinstance(value, int | float)
    if hint is float and is_number and not is_bool:
        if abs(value) > 1e300 or not math.isfinite(value):
            raise ValueError(f"{name} is {value}, not a finite number")
        return float(value)
    if hint in (bool, str, int) and isinstance(value, hint) and (hint is bool or not is_bool):
        return value
    told = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
    raise ValueError(f"{name} is {value!r}, not {told.get(hint, hint)}")


_INTERVAL = re.compile(r"\bin ([\[(])(-?[\d.]+(?:e-?\d+)?|-inf), (-?[\d.]+(?:e-?\d+)?|inf)([\])])")


def _check_interval(name: str, value: float, description: str, default: Any) -> None:
    stated = _INTERVAL.search(description)
    if stated:
        opening, low, high, closing = stated.groups()
        is_above = value >= float(low) if opening == "[" else value > float(low)
        is_below = value <= float(high) if closing == "]" else value < float(high)
        if not (is_above and is_below):
            raise ValueError(f"{name} is {value}, not {stated[0]}")
    elif isinstance(value, int) and value < (least := 0 if default == 0 else 1):
        raise ValueError(f"{name} is {value}, less than {least}")


def _nearest(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.0)
    return f"; the nearest known one is '{near[0]}'" if near else ""
