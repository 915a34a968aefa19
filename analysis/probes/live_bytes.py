"""Bytes of live tensors: what an agent keeps, by part, and what an update adds at its highest.

What is kept is counted storage by storage, each once, however many tensors look into it. What an
update adds is measured: on a CPU from the allocations and releases that torch's allocator reports
to its profiler, which sees those of compiled code too; on CUDA by the allocator's own peak.
"""

import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from algorithms.agent import Agent
from analysis.probes.timing import synchronise

PARTS = ("parameters", "targets", "gradients", "optimiser_state", "replay", "other")
"""Of what is kept between updates; `replay` is a rollout's where a method has one. `other` is
levels, moments, latches, and whatever else an agent holds."""
ACTIVATIONS = "activations"
"""What an update adds to the parts at its highest: batch, activations, and other temporaries."""
MARK = "the measured call"


def kept_bytes(agent: Agent) -> dict[str, int]:
    """Bytes of each of `PARTS`. Gradients are those that the last update left."""
    components, networks = agent.components(), agent.networks().values()
    optimisers = [p for p in components.values() if isinstance(p, torch.optim.Optimizer)]
    optimised = [
        p for optimiser in optimisers for group in optimiser.param_groups for p in group["params"]
    ]
    stored = [components[name] for name in ("replay", "rollout") if name in components]
    tensors = {
        # What is trained without being a network (SAC's alpha) has an optimiser.
        "parameters": [t for n in networks if n.trained for t in _of_module(n.module)] + optimised,
        "targets": [t for n in networks if not n.trained for t in _of_module(n.module)],
        "optimiser_state": list(reachable([optimiser.state for optimiser in optimisers])),
        "gradients": [p.grad for p in optimised if p.grad is not None],
        "replay": list(reachable(stored)),
        "other": list(reachable(agent)),
    }
    # What a network was counted with is not counted with its optimiser too.
    seen: set[int] = set()
    return {part: storage_bytes(tensors[part], seen) for part in PARTS}


def storage_bytes(tensors: list[Tensor], seen: set[int]) -> int:
    """Bytes of the storages under some tensors that were not `seen`; adds to those."""
    total = 0
    for tensor in tensors:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            total += storage.nbytes()
    return total


def reachable(root: Any) -> Iterator[Tensor]:
    """Every tensor in an object, its attributes and containers; functions are not looked into."""
    seen, waiting = set(), [root]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, _OPAQUE):
            continue
        seen.add(id(found))
        if isinstance(found, Tensor):
            yield found
            waiting.append(found.grad)
        elif isinstance(found, dict):
            waiting += [*found.keys(), *found.values()]
        elif isinstance(found, list | tuple | set):
            waiting += found
        elif hasattr(found, "__dict__"):
            waiting += vars(found).values()


_OPAQUE = (type, types.ModuleType, types.FunctionType, types.MethodType, str, bytes)


def _of_module(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def peak_rise(
    run: Callable[[], Any], device: torch.device, prepare: Callable[[], Any] | None = None
) -> int:
    """Bytes by which live tensors exceed, at most, during a call of `run` what they are before it.

    The call is the second of two, so that tensors which each call leaves to the next are released
    in one as they are made in the other. CUDA graphs keep their temporaries in a pool of their own,
    which the allocator's peak has only while a graph is captured.
    """
    prepare = prepare or (lambda: None)
    if device.type == "cuda":
        prepare()
        run()
        prepare()
        synchronise(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        synchronise(device)
        return torch.cuda.max_memory_allocated(device) - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        prepare()
        run()
        prepare()
        with torch.profiler.record_function(MARK):
            run()
    changes, window = [], (0, 0)
    for number, event in enumerate(profiler.profiler.kineto_results.events()):
        name = event.name()
        if name == "[memory]":
            changes.append((event.start_ns(), number, event.nbytes()))
        elif name == MARK:
            window = event.start_ns(), event.start_ns() + event.duration_ns()
    level = highest = 0
    for at, _, change in sorted(changes):
        if window[0] <= at <= window[1]:
            level += change
            highest = max(highest, level)
    return highest


def live_bytes(
    agent: Agent, run: Callable[[], Any], prepare: Callable[[], Any] | None = None
) -> dict[str, int]:
    """`PARTS` and `ACTIVATIONS` of a method that has learnt already: together the peak of live
    tensors in an update."""
    rise = peak_rise(run, agent.device, prepare)
    if prepare:
        prepare()  # what is learnt from is kept
    return kept_bytes(agent) | {ACTIVATIONS: rise}
