"""Compiles hot functions for fixed shapes, where that was asked for and can be had."""

import shutil
from collections.abc import Callable
from functools import cache

import torch

CPU_OPTIONS = {"cpp.enable_floating_point_contract_flag": "fast"}
"""Fused multiply-add in generated loops: a third off the elementwise part of a Langevin step."""


@cache
def can_compile(device_type: str) -> bool:
    """Whether torch.compile has what it needs here; says so once where it has not."""
    if device_type == "meta":
        return False
    if device_type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        print("no C++ compiler found: running eagerly, slower by about two")
        return False
    return True


def compiled_for(batch_size: int, wanted: bool, device: torch.device) -> Callable:
    """A decorator: compile a function for calls at one batch size, other calls run eagerly.

    So acting in a few environments, which happens at several sizes, compiles nothing. The batch is
    known by the largest first dimension among the tensors of up to two dimensions.
    """
    if not wanted or not can_compile(device.type):
        return lambda function: function
    if device.type == "cuda":
        settings = {"mode": "reduce-overhead"}
    else:
        settings = {"options": CPU_OPTIONS}

    def decorate(function: Callable) -> Callable:
        compiled = torch.compile(function, dynamic=False, fullgraph=True, **settings)

        def call(*arguments):
            at_batch_size = any(
                isinstance(argument, torch.Tensor) and argument.shape[:1] == (batch_size,)
                for argument in arguments
            )
            return (compiled if at_batch_size else function)(*arguments)

        return call

    return decorate
