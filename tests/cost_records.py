"""Planted records of the probe of costs, with numbers that are known."""

import random
from pathlib import Path

import torch

from analysis.probes import cost_subjects
from analysis.probes import samples as records
from analysis.probes.samples import MemorySample, Sample

CPU = torch.device("cpu")
BASE = {"action_dimension": 6, "environments": 5}
PARTS = ("parameters", "targets", "gradients", "optimiser_state", "other")
ENVIRONMENTS = ("Hopper-v4", "HalfCheetah-v4")
NETWORKS = {"nc_lql": (4, 100, 20), "diffusion_ql": (6, 150, 22), "sac": (5, 120, 9)}
"""Networks, trainable parameters, hyperparameters."""


def update_seconds(name: str, **sizes) -> float:
    """NC-LQL: 4 ms a step, depth^1.2 and batch^0.9. Diffusion-QL: 10 ms and 5 ms a step."""
    factor = (sizes["critic_layers"] / 3) ** 1.2 * (sizes["batch"] / 256) ** 0.9
    if name == "diffusion_ql":
        return (0.010 + 0.005 * sizes["steps"]) * factor
    return {"nc_lql": 0.004 * (sizes["steps"] or 0), "sac": 0.008}[name] * factor


def action_seconds(name: str, **sizes) -> float:
    """On a batch b: NC-LQL 0.1 ms a step, Diffusion-QL 0.02 ms a step and as much for each 10
    candidates; times b^0.5."""
    one = {"nc_lql": 1e-4 * (sizes["steps"] or 0), "sac": 5e-5}.get(name)
    if name == "diffusion_ql":
        one = 2e-5 * sizes["steps"] * (1 + sizes["candidates"] / 10)
    return one * sizes["batch"] ** 0.5


def activation_bytes(name: str, **sizes) -> int:
    """NC-LQL: 6,000. Diffusion-QL: 1,000 a step."""
    return 1_000 * sizes["steps"] if name == "diffusion_ql" else 6_000


def planted_cases() -> dict[str, tuple[dict, float]]:
    """{case: (what it is, seconds of a call)}"""
    found: dict[str, tuple[dict, float]] = {}

    def add(case: str, seconds: float, **about) -> None:
        common = {"precision": "float32", "compiled": True, "env": "", "units": 1}
        found[case] = (common | about, seconds)

    def add_sizes(name: str, label: str, **changed) -> None:
        steps = {"nc_lql": 20, "diffusion_ql": 5}.get(name)
        candidates = 50 if name == "diffusion_ql" else None
        sizes = BASE | {"steps": steps, "candidates": candidates, "critic_layers": 3, "batch": 256}
        sizes |= changed
        about = {"algorithm": name, "is_base": label == "base", "sizes": sizes}
        if sizes["candidates"] != 1:
            units = 4 if name == "sac" else 1
            seconds = units * update_seconds(name, **sizes)
            add(f"update/{name}/{label}", seconds, quantity="update", **about | {"units": units})
            add(f"live_bytes/{name}/{label}", 0, quantity="live_bytes", **about)
        if "batch" not in changed:
            for rows in (1, 16, 256) if label == "base" else (1,):
                seconds = action_seconds(name, **sizes | {"batch": rows})
                own = about | {"sizes": sizes | {"batch": rows}, "units": rows}
                own |= {"is_latency": rows == 1}
                add(f"action/{name}/{label}/{rows}", seconds, quantity="action", **own)

    for name in NETWORKS:
        add_sizes(name, "base")
        for layers in (2, 6):
            add_sizes(name, f"critic_layers={layers}", critic_layers=layers)
        add_sizes(name, "batch=64", batch=64)
    for steps in (5, 80):
        add_sizes("nc_lql", f"steps={steps}", steps=steps)
    for steps in (1, 10, 20, 50, 100):
        add_sizes("diffusion_ql", f"steps={steps}", steps=steps)
    for steps in (1, 5, 10, 20, 50, 100):
        add_sizes("diffusion_ql", f"candidates=1/steps={steps}", steps=steps, candidates=1)
    for name, has_warm_up in (("nc_lql", True), ("ppo", False)):
        for n in (1, 5, 20):
            about = {"quantity": "training", "algorithm": name, "env": "HalfCheetah-v4"}
            about |= {"sizes": {"environments": n}, "is_base": n == 5, "units": 10 * n}
            about |= {"settings": {"a": 1}, "has_warm_up": has_warm_up}
            add(f"training/{name}/environments={n}", 1.0, **about)
    for env, seconds in (("Hopper-v4", 0.002), ("HalfCheetah-v4", 0.001)):
        about = {"quantity": "environment_step", "algorithm": "", "env": env, "is_base": True}
        add(f"environment_step/{env}", 10 * seconds, sizes={"environments": 5}, **about)
        found[f"environment_step/{env}"][0]["units"] = 10
    return found


def plant_costs(
    folder: Path, device: str = "cpu", processes: int = 5, slowed: str = "", **changes
) -> None:
    """Both records. Process k is (1 + k / 4) times as slow as the first, in everything; the case
    `slowed` takes half as long again."""
    cases = planted_cases()
    samples, memory = [], []
    for case, (about, seconds) in cases.items():
        for process in range(processes):
            if about["quantity"] == "live_bytes":
                name, sizes = about["algorithm"], about["sizes"]
                parts = dict.fromkeys(PARTS, 100) | {"replay": 50_000}
                parts["activations"] = activation_bytes(name, **sizes)
                memory += [MemorySample(case, process, *part) for part in parts.items()]
                continue
            of_process = seconds * (1 + process / 4) * (1.5 if case == slowed else 1)
            for k in range(20):
                # The slowest of twenty calls takes ten times as long: no median moves.
                call = of_process * (10 if k == 19 else 1)
                samples.append(Sample(case, k, 0, 2, 2 * call, process))
    steps = ("base", "steps=20", "steps=100") if device != "cpu" else ("base",)
    for name, label in [("nc_lql", "base"), *(("diffusion_ql", label) for label in steps)]:
        cases[f"memory/{name}/{label}"] = (
            cases[f"update/{name}/{label}"][0] | {"quantity": "memory"},
            0,
        )
        for process in range(processes):
            parts = {"resident_at_start": 500, "peak_resident": 800 + process, "replay": 50_000}
            parts |= dict.fromkeys(PARTS, 100) | {"activations": 6_000}
            if device != "cpu":
                parts["peak_device"] = 70_000
            memory += [MemorySample(f"memory/{name}/{label}", process, *p) for p in parts.items()]
    counts = [
        dict(zip(("networks", "trainable_parameters", "hyperparameters"), found, strict=True))
        | {"algorithm": name, "env": env}
        | {"trained_networks": 2, "target_networks": 2, "target_parameters": 100}
        for env in ENVIRONMENTS
        for name, found in NETWORKS.items()
    ]
    took = {"part": "times", "load_average_before": 0.1, "wall_seconds": 10.0, "cpu_seconds": 9.9}
    document = {
        "probe": "costs",
        **records.conditions(["python", "-m", "analysis.probes.costs"], CPU),
        "is_quick": False,
        "device": device,
        "commit": "0" * 40,
        "dirty": False,
        "processes": [took | {"process": k} for k in range(processes)],
        "counts": counts,
        **changes,
    }
    for name, rows in (("costs", samples), ("memory", memory)):
        named = {row.case for row in rows}
        about = {case: cases[case][0] for case in cases if case in named}
        # Cases stand in the samples in no order.
        shuffled = random.Random(0).sample(rows, len(rows))
        records.write(folder / name, document | {"cases": about}, shuffled)


def small(name: str, **settings) -> cost_subjects.Subject:
    """An agent of width 16 as it is measured, uncompiled."""
    variation = cost_subjects.Variation(name, "base", settings | {"hidden_width": 16})
    return cost_subjects.Subject(variation, CPU, compile=False)
