"""Killed at random moments and started again, a run ends as if nothing had been."""

import dataclasses

import pytest
import torture

import algorithms
from algorithms.options import command_flags, resolve_configuration

SMALL = {
    "lql": {"chain_steps": 4, "hidden_layers": 2},
    "nc_lql": {"noise_levels": 3, "hidden_layers": 2},
    "diffusion_ql": {"candidates": 4, "hidden_layers": 2},
    "ppo": {"rollout_transitions": 40, "minibatches": 4, "epochs": 4},
}
"""Settings that make an algorithm cheap; what it computes does not matter here."""


def arguments(algorithm: str) -> list[str]:
    settings = SMALL.get(algorithm, {})
    for field in dataclasses.fields(algorithms.algorithm(algorithm).Configuration):
        if field.name in ("hidden_width", "batch_size"):
            settings = settings | {field.name: 16}
    configuration = resolve_configuration(
        algorithm, "Point-v0", seed=3, transitions=400, num_envs=2, warm_up=20, settings=settings
    )
    return [*command_flags(configuration), "--evaluation-episodes", "2", "--no-compile"]


@pytest.mark.parametrize("algorithm", algorithms.ALGORITHMS)
def test_killed_three_times_a_run_ends_with_the_same_bytes(tmp_path, algorithm):
    report = torture.torture(
        tmp_path,
        arguments(algorithm),
        kills=3,
        start=torture.start_forked,
        checkpoint_seconds=0.1,
    )
    assert report.is_same
    assert report.kills == 3 and report.runs >= 1
    assert report.moments["after a checkpoint"] > 0
    assert report.moments["in the middle of an episode"] > 0
