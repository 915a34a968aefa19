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
"""Batch sizes that one function is compiled for."""


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
    """A decorator: compile a function for one batch size, or (None) anew for each that occurs.

    The batch size of a call is the leading dimension of its first tensor. A run has three: that of
    an update, of its environments and of its evaluation episodes. Calls at other sizes than the one
    given, or at more than `MOST_SIZES` sizes, run eagerly.
    """
    if not wanted or not can_compile(device.type):
        return lambda function: function
    if device.type == "cuda":
        settings = {"mode": "reduce-overhead"}
    else:
        settings = {"options": CPU_OPTIONS}

    def decorate(function: Callable) -> Callable:
        by_size: dict[int, Callable] = {}

        def call(*arguments):
            size = next(a.shape[0] for a in arguments if isinstance(a, torch.Tensor))
            if size not in by_size:
                if batch_size not in (None, size) or len(by_size) == MOST_SIZES:
                    return function(*arguments)
                by_size[size] = torch.compile(
                    _private_copy(function), dynamic=False, fullgraph=True, **settings
                )
            result = by_size[size](*arguments)
            if device.type != "cuda":
                return result
            # A CUDA graph writes to the same memory at its next call.
            return tree_map_only(torch.Tensor, torch.clone, result)

        return call

    return decorate


def _private_copy(function: Callable) -> Callable:
    """A copy with a code object of its own. Torch keeps compiled code by code object, tries what it
    has there in turn, and gives up after a few: what serves one agent at one batch size is the
    first that it finds, and adds to no other agent's few.

    What it checks before each call stays on, though that takes time: without
    (`skip_all_guards_unsafe`), the last of an odd number of LQL's steps, of another shape, fails.
    """
    plain = getattr(function, "__func__", function)
    copy = types.FunctionType(
        plain.__code__.replace(), plain.__globals__, plain.__name__, plain.__defaults__
    )
    return types.MethodType(copy, function.__self__) if plain is not function else copy
