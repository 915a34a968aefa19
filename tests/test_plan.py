"""The plan: which runs a protocol asks for, what is refused before any is trained."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from overrides import override

import analysis.protocol
import analysis.resolution
from algorithms import ALGORITHMS
from algorithms.options import configuration_hash
from analysis.estimate import describe_cost
from analysis.plan import Plan, PlanError
from analysis.protocol import PROTOCOL
from analysis.records import load_plan
from analysis.resolution import write_whole

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_a_study_of_methods_that_are_gone_is_no_evidence(monkeypatch):
    assert Plan().is_derived("comparator")
    monkeypatch.setattr(analysis.protocol, "ALGORITHMS", {"sac": ALGORITHMS["sac"]})
    assert not Plan().is_derived("comparator"), "though no run of it is lacking"


def test_runs_have_paths_of_their_own():
    plan = Plan()
    paths = [run.path for scale in plan.scales for run in plan.runs(scale)]
    assert len(set(paths)) == len(paths)
    assert "results/runs/desk/Ant-v4/diffusion_ql_no_cloning/seed0" in paths
    assert plan.folder("desk") == "results" and plan.folder("smoke") == "results/smoke"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("environments", ["CartPole-v1"], "lql on CartPole-v1: .*actions"),
        ("settings", {"hidden_width": 0}, "hidden_width is 0"),
        ("settings", {"hidden_width": 1.5}, "hidden_width is 1.5, not an integer"),
        ("settings", {"hiden_width": 64}, "no algorithm has 'hiden_width'.*'hidden_width'"),
        ("settings_of", {"sac": {"chain_steps": 5}}, "sac on Hopper-v4: .*'chain_steps'"),
    ],
)
def test_what_an_algorithm_cannot_run_is_refused(monkeypatch, tmp_path, path, value, told):
    monkeypatch.chdir(tmp_path)
    overrides = override(f"scales.smoke.{path}", value)
    plan = Plan(overrides, Path(__file__).parent.parent / PROTOCOL)
    with pytest.raises(PlanError, match=told) as refusal:
        plan.resolve("smoke")
    assert "\n" not in str(refusal.value)


def test_a_setting_of_a_scale_is_for_those_that_have_it_and_one_of_a_variant_is_not(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    file = Path(__file__).parent.parent / PROTOCOL
    resolved = Plan(protocol_file=file).resolve("smoke")["runs"]
    assert resolved["smoke/Hopper-v4/nc_lql/seed0"]["configuration"]["settings"]["batch_size"] == 64
    assert "batch_size" not in resolved["smoke/Hopper-v4/ppo/seed0"]["configuration"]["settings"]
    variant = override("variants.ppo_odd", {"algorithm": "ppo", "settings": {"batch_size": 64}})
    variant |= override("scales.smoke.variants", ["ppo_odd"])
    with pytest.raises(PlanError, match="ppo_odd on Hopper-v4: unknown setting 'batch_size'"):
        Plan(variant, file).resolve("smoke")


def test_a_scale_is_read_by_the_plan_of_the_present_default(monkeypatch, tmp_path):
    """Its plan stands elsewhere under another default, where the reader of a plan looks first."""
    monkeypatch.chdir(tmp_path)
    for default in ("paper", "desk", "paper"):
        plan = Plan({"default": default, "missing": "gap"}, ROOT / PROTOCOL)
        folder = plan.folder("desk")
        plan.prepare(folder)
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, "plan.json").write_text(json.dumps(plan.document("desk", {})) + "\n")
        found = load_plan("desk")
        assert (found["default_scale"], found["folder"]) == (default, folder)


def test_a_plan_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    with pytest.raises(PlanError, match="file cannot be made: File exists"):
        write_whole(tmp_path / "file/plan.json", {})
    with pytest.raises(PlanError, match="folder cannot be written: Is a directory"):
        write_whole(tmp_path / "folder", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_more_seeds_are_planned_without_an_algorithm(monkeypatch, tmp_path):
    """A thousand runs differ in their seeds: torch is imported for what is new of them only."""
    monkeypatch.chdir(tmp_path)
    file = Path(__file__).parent.parent / PROTOCOL
    first = Plan(protocol_file=file).resolve("smoke")["runs"]

    def must_not(part):
        raise AssertionError("resolved anew")

    monkeypatch.setattr(analysis.resolution, "_resolve", must_not)
    seeds = override("scales.smoke.seeds", [0, 7]) | {"device": "cuda"}
    found = Plan(seeds, file).resolve("smoke")["runs"]
    name = "smoke/Hopper-v4/sac/seed"
    assert found[f"{name}0"]["configuration"] == first[f"{name}0"]["configuration"]
    assert found[f"{name}0"]["arguments"].endswith("--device cuda")
    assert found[f"{name}7"]["configuration"] == first[f"{name}0"]["configuration"] | {"seed": 7}
    assert found[f"{name}7"]["hash"] == configuration_hash(found[f"{name}7"]["configuration"])
    assert "--seed 7 " in found[f"{name}7"]["arguments"]
    with pytest.raises(AssertionError, match="resolved anew"):
        Plan(override("scales.smoke.settings", {"hidden_width": 32}), file).resolve("smoke")


@pytest.mark.parametrize(
    "arguments",
    [["--scale", "dsk"], ["--overrides", '{"scales": {"desk": {"seeds": [-1]}}}']],
)
def test_the_command_line_refuses_with_status_2(arguments):
    command = [sys.executable, "-m", "analysis.plan", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1 and not ended.stdout


def _configuration(**changes) -> dict:
    return {
        "algorithm": "ppo",
        "env": "Hopper-v4",
        "seed": 0,
        "transitions": 100_000,
        "num_envs": 5,
    } | changes


def test_cost_is_told_from_runs_alike():
    defaults = {"ppo": {"width": 64}}

    def told(configurations, documents):
        return describe_cost(configurations, documents, defaults)

    def document(seconds, **changes):
        configuration = _configuration(**changes)
        return {"status": "complete", "configuration": configuration, "wall_seconds": seconds}

    recorded = [document(3600.0), document(7200.0, env="Ant-v4")]
    longer = _configuration(seed=1, transitions=1_000_000)
    assert told([longer], recorded).startswith("about 10.0 hours of one core")
    # Of an environment without a record: the median over the others.
    assert told([longer | {"env": "Walker2d-v4"}], recorded).startswith("about 15.0 hours")
    assert told([_configuration(seed=1)], [document(60.0)]).startswith("about 1 minutes")
    other = _configuration(algorithm="sac")
    assert told([other], recorded).endswith("is not known")
    assert told([longer, other], recorded).endswith("without 1 like nothing that is recorded")
    # A record that is older than a setting was made with what is its default.
    newer = [longer | {"settings": {"width": width}} for width in (64, 128)]
    assert told(newer[:1], recorded).startswith("about 10.0 hours")
    assert told(newer[1:], recorded).endswith("is not known")
