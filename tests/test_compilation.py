"""Compiled code is asked nothing that it was not made for."""

import pytest
import torch
from learners import CPU

from algorithms.compilation import CPU_OPTIONS, MOST_SIZES, compiled_for


def walk(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """x and all rows of noise."""
    for z in noise:
        x = torch.tanh(x + z)
    return x


def calls_are_right(function) -> bool:
    """Whether walks of two steps and of one are, at one batch size."""
    source, is_right = torch.Generator().manual_seed(0), True
    for steps in (2, 1, 2):
        x = torch.randn(8, 3, generator=source)
        noise = torch.randn(steps, 8, 3, generator=source)
        is_right &= torch.allclose(function(x, noise), walk(x, noise), atol=1e-6)
    return is_right


def test_calls_of_other_shapes_are_right():
    assert calls_are_right(compiled_for(None, True, CPU)(walk))


def test_code_that_checks_nothing_fails_at_another_shape():
    """What its checks are for."""
    blind = {**CPU_OPTIONS, "guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
    with pytest.raises(AssertionError, match="expected size"):
        calls_are_right(torch.compile(walk, dynamic=False, fullgraph=True, options=blind))


EAGER = []


def noted(x: torch.Tensor) -> torch.Tensor:
    """x + 1, leaving a trace where it is run as it is written."""
    if not torch.compiler.is_compiling():
        EAGER.append(len(x))
    return x + 1


def test_beyond_the_most_sizes_calls_are_eager():
    function = compiled_for(None, True, CPU)(noted)
    for rows in (*range(1, MOST_SIZES + 3), 1):
        assert function(torch.zeros(rows)).sum() == rows
    assert EAGER == [MOST_SIZES + 1, MOST_SIZES + 2]
