"""Compiles hot functions for fixed shapes, where that was asked for and can be had."""

import shutil
import types
from collections.abc import Callable
from functools import cache

import torch
from torch.utils._pytree import tree_map_only

CPU_OPTIONS = {
    # Fused multiply-add in generated loops: a third off the elementwise part of a Langevin step.
    "cpp.enable_floating_point_contract_flag": "fast",
    # A value that is used twice is computed once: torch would write the few operations behind it
    # into each place of use, and those behind them, and leave it to the C++ compiler to find out.
    "realize_opcount_threshold": 4,
    # C++ compilers at a time. Not one a core, since other runs have those.
    "compile_threads": 2,
}


MOST_SIZES = 4
"""Sets of shapes that one function is compiled for."""


@cache
def can_compile(device_type: str) -> bool:
    """Whether torch.compile has what it needs here; says so once where it has not."""
    if device_type == "meta":
        return False
    if device_type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        print("no C++ compiler found: running eagerly, slower by about two")
        return False
    return True


def compiled_for(batch_size: int | None, wanted: bool, device: torch.device) -> Callable:
    """A decorator: compile a function for one batch size, or (None) anew for the shapes that occur.

    The batch size of a call is the leading dimension of its first tensor. A run has three: that of
    an update, of its environments and of its evaluation episodes. Calls whose tensors have other
    shapes have code of their own. Calls at other batch sizes than the one given, or with more than
    `MOST_SIZES` sets of shapes, run eagerly.
    """
    if not wanted or not can_compile(device.type):
        return lambda function: function
    if device.type == "cuda":
        settings = {"mode": "reduce-overhead"}
    else:
        settings = {"options": CPU_OPTIONS}

    def decorate(function: Callable) -> Callable:
        by_shapes: dict[tuple, Callable] = {}

        def call(*arguments):
            shapes = tuple(a.shape for a in arguments if isinstance(a, torch.Tensor))
            if shapes not in by_shapes:
                if batch_size not in (None, shapes[0][0]) or len(by_shapes) == MOST_SIZES:
                    return function(*arguments)
                by_shapes[shapes] = torch.compile(
                    _private_copy(function), dynamic=False, fullgraph=True, **settings
                )
            result = by_shapes[shapes](*arguments)
            if device.type != "cuda":
                return result
            # A CUDA graph writes to the same memory at its next call.
            return tree_map_only(torch.Tensor, torch.clone, result)

        return call

    return decorate


def _private_copy(function: Callable) -> Callable:
    """A copy with a code object of its own. Torch keeps compiled code by code object, tries what it
    has there in turn, and gives up after a few: what serves one agent at one set of shapes is the
    first that it finds, and adds to no other agent's few.

    What it checks before each call stays on. Without (`skip_all_guards_unsafe`) an update of NC-LQL
    takes 0.3 % less and an action on 5 observations 4 %; and a call that differs in what nobody
    thought of would be answered wrongly.
    """
    plain = getattr(function, "__func__", function)
    copy = types.FunctionType(
        plain.__code__.replace(), plain.__globals__, plain.__name__, plain.__defaults__
    )
    return types.MethodType(copy, function.__self__) if plain is not function else copy
