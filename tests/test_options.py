"""What a run is asked to do: filled in, refused in one line, compared, and put back into flags."""

import dataclasses
import typing
from typing import Literal

import pytest

import algorithms
from algorithms.configuration import fields
from algorithms.options import (
    command_flags,
    configuration_hash,
    differing_field,
    disagreeing_field,
    planned_evaluations,
    resolve_configuration,
    resolve_settings,
    value_of,
)
from algorithms.train import parse

BASE = {"algorithm": "nc_lql", "env": "Hopper-v4", "seed": 0}


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_defaults_are_the_desk_scales_and_every_field_is_there(name):
    configuration = resolve_configuration(name, "Hopper-v4", 0)
    expected = {
        "algorithm": name,
        "revision": algorithms.algorithm(name).revision,
        "env": "Hopper-v4",
        "seed": 0,
        "transitions": 300_000,
        "num_envs": 5,
        "warm_up": 10_000,
        "evaluate_every": 10_000,
        "evaluation_episodes": 10,
        "updates_per_step": 1,
    }
    known = fields(algorithms.algorithm(name).Configuration)
    assert configuration == expected | {"settings": {f.name: f.default for f in known}}


@pytest.mark.parametrize(("transitions", "fifth"), [(1000, 200), (49_999, 9999), (50_000, 10_000)])
def test_a_short_run_warms_up_and_is_evaluated_by_fifths(transitions, fifth):
    configuration = resolve_configuration(**BASE, transitions=transitions)
    assert configuration["warm_up"] == configuration["evaluate_every"] == fifth
    assert len(planned_evaluations(configuration)) >= 6


def test_evaluations_are_counted_back_from_the_end():
    """The authors' code evaluates at 30,000 + k 125,000; counted from 0 the end would be missed."""
    paper = planned_evaluations({"transitions": 5_030_000, "evaluate_every": 125_000})
    assert paper[:3] == [0, 30_000, 155_000] and paper[-1] == 5_030_000 and len(paper) == 42
    assert planned_evaluations({"transitions": 100, "evaluate_every": 100}) == [0, 100]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"algorithm": "nc_lq"}, "unknown algorithm 'nc_lq'; the nearest known one is 'nc_lql'"),
        ({"env": "Hoper-v4"}, "unknown environment 'Hoper-v4'; the nearest known one is 'Hopper"),
        ({"env": "CartPole-v1"}, "'CartPole-v1' is refused: its actions are Discrete.*not a box"),
        ({"seed": -1}, "seed is -1, not between 0 and"),
        ({"seed": 1.0}, "seed is 1.0, not an integer"),
        ({"seed": True}, "seed is True, not an integer"),
        ({"transitions": 0}, "transitions is 0, not between 1 and"),
        ({"transitions": -5}, "transitions is -5"),
        ({"num_envs": 0}, "num_envs is 0"),
        ({"num_envs": 11, "transitions": 10}, "num_envs 11 is too large for 10 transitions"),
        ({"warm_up": -1}, "warm_up is -1"),
        ({"warm_up": 1000, "transitions": 1000}, "warm_up 1000 is too large for 1000 transitions"),
        ({"evaluate_every": 0}, "evaluate_every is 0"),
        ({"evaluate_every": 1001, "transitions": 1000}, "evaluate_every 1001 is too large"),
        ({"evaluation_episodes": 0}, "evaluation_episodes is 0"),
        ({"updates_per_step": 0}, "updates_per_step is 0"),
        ({"settings": {"inverse_temprature": 1}}, "unknown setting 'inverse_temprature'; .*ature'"),
        ({"settings": {"hidden_width": 0}}, "hidden_width is 0, less than 1"),
        ({"settings": {"hidden_width": 8.0}}, "hidden_width is 8.0, not an integer"),
        ({"settings": {"conditioning": 1}}, "conditioning is 1, not true or false"),
        ({"settings": {"gradient": "plane"}}, "gradient is 'plane', not one of 'normalised', 'pl"),
        ({"settings": {"learning_rate": "fast"}}, "learning_rate is 'fast', not a number"),
        ({"settings": {"learning_rate": float("nan")}}, "learning_rate is nan, not a finite"),
        ({"settings": {"learning_rate": True}}, "learning_rate is True, not a number"),
        ({"settings": {"discount": 1.0}}, r"discount is 1.0, not in \[0, 1\)"),
        ({"settings": {"boundary": "none"}}, "boundary is 'none', not one of 'clip', 'reflect'"),
        ({"algorithm": "ppo", "settings": {"smallest_minibatch": 1}}, r"is 1, not in \[2, inf\)"),
        ({"settings": {"smallest_noise": 0}}, r"smallest_noise is 0.0, not in \(0, inf\)"),
        ({"settings": {"target_rate": 2}}, r"target_rate is 2.0, not in \(0, 1\]"),
        ({"algorithm": "lql", "settings": {"step_size": -0.01}}, r"not in \(0, inf\)"),
        ({"algorithm": "diffusion_ql", "settings": {"gradient_norm": -1}}, r"not in \[0, inf\)"),
    ],
)
def test_nonsense_is_refused_in_one_line_that_names_it(changes, told):
    with pytest.raises(ValueError, match=told) as refusal:
        resolve_configuration(**BASE | changes)
    assert "\n" not in str(refusal.value)


def test_a_number_has_to_lie_in_the_interval_that_its_docstring_states():
    @dataclasses.dataclass(frozen=True)
    class Configuration:
        share: float = 0.5
        """A share, in (0, 1]. Source: ours: a test."""
        delay: int = 3
        """Updates to wait, in [0, inf). Source: ours: a test."""
        count: int = 3
        """How many. Source: ours: a test."""
        index: int = 0
        """Which one. Source: ours: a test."""
        limits: tuple[float, float] = (0.0, 1.0)
        """Two numbers. Source: ours: a test."""
        often: int | None = None
        """How often; none for never. Source: ours: a test."""
        kind: Literal["a", 1] = "a"
        """Which. Source: ours: a test."""

    def value(**settings):
        return resolve_settings(Configuration, settings)[next(iter(settings))]

    assert value(share=1) == 1.0 and isinstance(value(share=1), float)
    assert value(delay=0) == 0 and value(index=0) == 0 and value(often=None) is None
    assert value(limits=(1, 2)) == [1.0, 2.0] and value(often=4) == 4 and value(kind=1) == 1
    for wrong in (
        {"share": 0.0},
        {"share": 1.1},
        {"delay": -1},
        {"count": 0},
        {"index": -1},
        {"limits": [1.0]},
        {"limits": 3},
        {"often": "x"},
        {"kind": True},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            value(**wrong)


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_flags_ask_for_the_configuration_again(name, tmp_path):
    """Every field changed, by the command line that the workflow uses; and none changed."""
    configuration = algorithms.algorithm(name).Configuration
    hints = typing.get_type_hints(configuration)
    changed = {}
    for field in fields(configuration):
        others = [c for c in typing.get_args(hints[field.name]) if c not in (field.default, int)]
        by_type = {bool: not field.default, int: 7, float: 0.25, type(None): 7}
        changed[field.name] = by_type.get(type(field.default), *others[:1])
    for settings in (changed, {}):
        wanted = resolve_configuration(name, "Hopper-v4", 3, 7000, settings=settings)
        flags = command_flags(wanted)
        is_set = [_is_set(field, flags) for field in changed]
        assert all(is_set) if settings else not any(is_set)
        assert parse([*flags, "--output", str(tmp_path)])[1] == wanted


def _is_set(field: str, flags: list[str]) -> bool:
    return any(f"--{no}{field}".replace("_", "-") in flags for no in ("", "no_"))


def test_a_record_is_current_if_every_field_agrees():
    wanted = resolve_configuration(**BASE)
    assert differing_field(wanted, wanted) is None
    for field in ("algorithm", "revision", "env", "seed", "transitions", "warm_up", "num_envs"):
        assert differing_field(wanted | {field: 99}, wanted) == field
    settings = wanted["settings"]
    other = wanted | {"settings": settings | {"inverse_temperature": 1.0}}
    assert differing_field(other, wanted) == "settings.inverse_temperature"
    assert value_of(other, "settings.inverse_temperature") == 1.0
    assert differing_field(wanted | {"settings": settings | {"gone": 1}}, wanted) == "settings.gone"
    assert differing_field(wanted | {"settings": None}, wanted) == "settings"
    assert configuration_hash(other) != configuration_hash(wanted)


def test_what_two_configurations_share_is_compared_without_an_algorithm():
    """By a comparison of values alone, true would be 1."""
    wanted = {"algorithm": "x", "seed": 1, "settings": {"order": "constant", "clips": True}}
    assert disagreeing_field(wanted, wanted) is None
    assert disagreeing_field({"settings": {"clips": 1}}, wanted) == "settings.clips"
    assert disagreeing_field({"seed": True}, wanted) == "seed"
    assert (
        disagreeing_field({"seed": 1.0, "settings": {"order": "constant", "more": 2}}, wanted)
        is None
    )
    assert differing_field(wanted | {"seed": True}, wanted) == "seed"


def test_a_field_that_a_record_lacks_counts_as_the_present_default():
    """It was added later, and its default keeps the old behaviour; another value does not."""
    wanted = resolve_configuration(**BASE)
    without = {k: v for k, v in wanted["settings"].items() if k != "boundary"}
    older = {k: v for k, v in wanted.items() if k != "updates_per_step"} | {"settings": without}
    assert differing_field(older, wanted) is None
    changed = resolve_configuration(**BASE, settings={"boundary": "reflect"})
    assert differing_field(older, changed) == "settings.boundary"
    assert differing_field(older, wanted | {"updates_per_step": 5}) == "updates_per_step"
