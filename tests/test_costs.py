"""Which costs are measured, and how. Nothing here depends on the clock."""

import argparse
import dataclasses
import json
import subprocess
import sys

import pytest
import repository
import torch
from cost_records import CPU, small

import algorithms
from algorithms import ALGORITHMS, algorithm
from algorithms.record import machine
from analysis import compute
from analysis.probes import cost_process, cost_subjects, costs, loop_parts, subjects
from analysis.probes import samples as records
from analysis.time_to_threshold import COSTLESS


def test_a_method_is_measured_once_it_is_registered(monkeypatch):
    monkeypatch.setitem(algorithms.ALGORITHMS, "mine", "sac.SAC")
    found = {v.label for v in cost_subjects.variations("mine", cost_subjects.FULL)}
    assert {"base", "critic_layers=8", "action_dimension=100", "batch=1024", "acting=4"} <= found
    assert "critic_layers=2" not in found, "SAC's own, which the base is"
    subject = small("mine", batch_size=8)
    (case,) = subject.update_cases()
    assert case.about["units"] == 1 and case.about["sizes"]["critic_layers"] == 2
    (case,) = subject.acting_cases(20, is_latency=False)
    assert case.run().shape == (1, 6)
    assert costs.counts(["mine"])[0]["networks"] == 5


def test_the_grid_is_that_of_the_question():
    grid = cost_subjects.FULL
    labels = {
        n: [v.label for v in cost_subjects.variations(n, grid)] for n in algorithms.ALGORITHMS
    }
    by_steps = {n: {s for s in found if s.startswith("steps=")} for n, found in labels.items()}
    # 20 and 5 are the defaults.
    assert by_steps["nc_lql"] == by_steps["lql"] == {f"steps={n}" for n in (5, 10, 40, 80)}
    assert by_steps["diffusion_ql"] == {f"steps={n}" for n in (1, 2, 10, 20, 50, 100)}
    assert not by_steps["ppo"] and not by_steps["sac"]
    assert (
        "candidates=1" in labels["diffusion_ql"]
        and "candidates=1/steps=100" in labels["diffusion_ql"]
    )
    effort = cost_process.FULL
    calls = costs.PROCESSES * effort.latency_rounds * effort.latency_calls
    assert calls >= 1_000 and costs.PROCESSES >= 5


def test_every_variation_is_of_a_size_that_can_be_asked_for():
    grid, found = cost_subjects.FULL, set()
    for name in algorithms.ALGORITHMS:
        found |= {v.size for v in cost_subjects.variations(name, grid)}
    assert found == {"base", *costs.SIZES}


@pytest.mark.parametrize("sizes", [(), ("steps",)])
def test_only_the_sizes_asked_for_are_measured(sizes):
    gathered = cost_process.Gathered(0)
    cost_process.times(gathered, ["lql"], CPU, is_quick=True, compile=False, sizes=sizes)
    changed = {"steps": ["update/lql/steps=5"]}
    updates = [case for case in gathered.cases if case.startswith("update/")]
    assert updates == ["update/lql/base", *(c for size in sizes for c in changed[size])]


def test_a_method_that_learns_from_rollouts_is_fed_one(monkeypatch):
    """As PPO is, but without its attributes being known."""
    agent = subjects.make("ppo", CPU, compile=False, rollout_transitions=30, epochs=1)
    run, prepare = subjects.learner(agent, "mine")
    before = agent.updates
    prepare()
    assert agent.updates == before
    assert run() and agent.updates > before
    assert not run(), "nothing is left to learn from"


def test_single_calls_are_samples_of_their_own():
    from analysis.probes import timing

    case = timing.Case("a", {}, lambda: None)
    case.single_calls = 7
    samples = timing.measure([case], 2, CPU, shortest=1.0)
    assert [(s.round, s.calls) for s in samples] == [(0, 1)] * 7 + [(1, 1)] * 7


@pytest.mark.parametrize(
    ("seconds", "burnt_in", "rounds"), [(0.01, 3, [0, 1]), (0.3, 2, [0, 1]), (8.0, 2, [0])]
)
def test_long_calls_are_burnt_in_and_sampled_less_often(seconds, burnt_in, rounds, monkeypatch):
    """Compiling is no call of theirs: the first may take as long as it likes."""
    from analysis.probes import timing

    taken = iter([60.0] + [seconds] * 9)
    monkeypatch.setattr(timing, "sample_seconds", lambda case, device: next(taken))
    samples = timing.measure([timing.Case("a", {}, lambda: None)], 2, CPU)
    assert [s.round for s in samples] == rounds
    assert len(list(taken)) == 10 - burnt_in - len(rounds)


def test_a_part_of_a_loop_is_timed_to_the_end_of_its_work(monkeypatch):
    """A GPU's call returns before its work is done: its time would land where somebody waits."""
    clock, seen = [0.0], []
    monkeypatch.setattr(loop_parts.time, "perf_counter", lambda: clock[0])

    def wait(device):
        clock[0] += 2.0 if seen else 1.0  # what was asked before, and what this call asks

    monkeypatch.setattr(loop_parts, "synchronise", wait)
    part = loop_parts.Clock(seen.append, torch.device("cuda"))
    part("asked")
    assert part.seconds == 2.0 and clock[0] == 3.0, "what was asked before is waited for first"


@pytest.mark.long
def test_the_probe_runs_from_end_to_end(tmp_path):
    command = [sys.executable, "-m", "analysis.probes.costs", "--quick"]
    command += ["--algorithms", "nc_lql", "diffusion_ql", "sac", "--output", str(tmp_path)]
    subprocess.run(command, check=True)
    table = compute.compute_table(compute.read_records(tmp_path))
    denoised = table[(table["comparator"] == "diffusion_ql") & (table["algorithm"] == "nc_lql")]
    assert (denoised["quantity"] == "update_seconds").sum() == 2


def test_what_a_record_of_this_machine_has_is_not_dropped_by_measuring_less(tmp_path, capsys):
    """It would be written over: a method of one's own would cost everybody else's rows."""
    conditions = {"machine": machine(), "device": "cpu"}
    options = argparse.Namespace(algorithms=["sac"], sizes=["steps"], parts=["times"])
    assert costs.would_drop(tmp_path, conditions, options) is None
    file = tmp_path / "costs" / f"{records.machine_name(conditions)}.json"
    file.parent.mkdir()
    document = {"algorithms": ["ppo", "sac"], "sizes": ["steps"], "processes": [{"part": "times"}]}
    file.write_text(json.dumps(document))
    told = costs.would_drop(tmp_path, conditions, options)
    assert told.startswith(f"{file} is of the algorithms ppo, which")
    options.algorithms = ["ppo", "sac", "own"]
    assert costs.would_drop(tmp_path, conditions, options) is None
    options.sizes = ["batch"]
    assert "is of the sizes steps, which" in costs.would_drop(tmp_path, conditions, options)
    options.sizes, options.parts = ["steps"], ["training"]
    assert "is of the parts times, which" in costs.would_drop(tmp_path, conditions, options)
    options.parts = ["memory"]
    assert costs.would_drop(tmp_path, conditions, options) is None, "that is another record"
    told = costs.main(["--parts", "times", "--algorithms", "sac", "--output", str(tmp_path)])
    assert told == 2 and "would be lost" in capsys.readouterr().err


def test_the_records_at_hand_are_of_the_defaults_as_far_as_time_depends_on_them():
    """A default that was changed since would stand beside seconds that it does not take."""
    checked = set()
    for file in sorted((repository.ROOT / "results/probes/costs").glob("*.json")):
        cases = json.loads(file.read_text())["cases"]
        for name in ALGORITHMS:
            default = algorithm(name).Configuration(**subjects.settings_for(name, "float32"))
            case = cases.get(f"training/{name}/environments=5")
            if case is not None:
                present = dataclasses.asdict(default) | case["settings"]
                changed = {
                    field
                    for field, value in dataclasses.asdict(default).items()
                    if present[field] != value and field not in COSTLESS
                }
                assert not changed, (file.name, name)
                checked.add(name)
    assert checked, "no case of a training at the default sizes"
