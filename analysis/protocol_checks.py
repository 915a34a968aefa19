"""Checks of parts of a protocol; each refusal is one line that names the key."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium

import envs  # noqa: F401  registers the suite's own environments


class ProtocolError(ValueError):
    """A protocol that makes no sense; one line."""


def nearest(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f"; the nearest known is '{near[0]}'" if near else ""


def check_known(where: str, env: str) -> None:
    if env not in gymnasium.registry:
        near = nearest(env, gymnasium.registry)
        raise ProtocolError(f"{where}: unknown environment '{env}'{near}")


def check_environments(where: str, environments: tuple[str, ...]) -> None:
    versions: dict[str, str] = {}
    for env in environments:
        check_known(f"{where}.environments", env)
        # v4 and v5 of MuJoCo's differ in observations, rewards and ends: no table mixes them.
        name, _, version = env.rpartition("-")
        for other in (name, "MuJoCo") if version in ("v4", "v5") else (name,):
            if versions.setdefault(other, version) != version:
                raise ProtocolError(
                    f"{where}.environments: '{env}' beside another version ({versions[other]})"
                )


def check_knobs(where: str, grids: Mapping[str, Mapping[str, Any]]) -> None:
    """A knob of a method has one score at each factor."""
    grid_of: dict[tuple[str, str], str] = {}
    for name, grid in grids.items():
        if "knob" not in grid:
            continue
        turned, fixed = grid.get("factors", {}), grid.get("settings", {})
        if len(turned) != 1:
            told = f"a knob is turned by factors of one hyperparameter, not of {len(turned)}"
            raise ProtocolError(f"{where}.{name}: {told}")
        if any(len(values) > 1 for values in fixed.values()):
            raise ProtocolError(f"{where}.{name}: settings beside a knob have one value each")
        other = grid_of.setdefault((grid["algorithm"], grid["knob"]), name)
        if other != name:
            raise ProtocolError(f"{where}.{name}: turns the same knob as '{other}'")
