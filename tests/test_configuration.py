"""Hyperparameters are read where they are declared."""

from dataclasses import MISSING, dataclass

import pytest

from algorithms import ALGORITHMS, algorithm
from algorithms.configuration import fields
from algorithms.options import resolve_settings


@dataclass(frozen=True)
class Documented:
    """Two fields, documented as they should be."""

    step_size: float = 1e-4
    """epsilon, in squared
    actions, in (0, inf).   Source: ours:
    a guess."""
    chain_steps: int = 20
    """K. Source: Ho et al. (2020), arXiv 2006.11239, section 4."""


def test_docstrings_are_split_at_the_source_and_their_lines_joined():
    step_size, chain_steps = fields(Documented)
    assert step_size == (
        "step_size",
        1e-4,
        "epsilon, in squared actions, in (0, inf).",
        "ours: a guess",
    )
    assert chain_steps.source == "Ho et al. (2020), arXiv 2006.11239, section 4"
    assert chain_steps.description == "K."


def test_what_is_missing_is_empty():
    @dataclass(frozen=True)
    class Forgetful:
        a: int
        """Has no default. Source: ours: none."""
        b: int = 2
        """No word of where it comes from."""
        c: int = 3
        # A comment is no docstring. Source: nowhere.
        d: int = 4
        e = 5
        """Of no field: it has no annotation. Source: ours: none."""

    a, b, c, d = fields(Forgetful)
    assert a.default is MISSING and a.source
    assert b.description and not b.source
    for field in (c, d):
        assert (field.description, field.source) == ("", "")


def test_a_field_that_is_inherited_keeps_its_docstring_and_may_change_it():
    @dataclass(frozen=True)
    class Child(Documented):
        chain_steps: int = 10
        """K, halved. Source: ours: half the time."""

    step_size, chain_steps = fields(Child)
    assert step_size.source == "ours: a guess"
    assert chain_steps == ("chain_steps", 10, "K, halved.", "ours: half the time")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_defaults_are_plain_values_within_the_intervals_that_they_state(name):
    configuration = algorithm(name).Configuration
    resolved = resolve_settings(configuration, {})
    assert resolved == {field.name: field.default for field in fields(configuration)}
    # The same docstrings refuse what lies outside.
    if "discount" in resolved:
        with pytest.raises(ValueError, match="discount is 1.0"):
            resolve_settings(configuration, {"discount": 1.0})
