"""CONTRIBUTING.md, followed to the letter: its example, its commands, its promises."""

import csv
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from conformance import NotConforming, Subject
from conformance_contract import (
    actions_lie_in_the_box,
    counters_and_metrics_are_kept,
    every_hyperparameter_is_documented,
    is_an_agent,
    warm_up_is_random_and_learns_nothing,
)
from conformance_latch import (
    a_network_that_is_not_finite_is_latched,
    a_reward_that_is_not_finite_is_latched,
)
from conformance_learning import a_point_finds_its_target, truncation_is_not_termination
from conformance_state import (
    evaluating_leaves_no_trace,
    nothing_draws_from_a_global_generator,
    one_seed_is_one_run,
    restored_it_goes_on_to_the_bit,
    targets_move_at_their_rate,
)
from repository import ROOT, copy
from test_conformance import CHECKS
from test_meta_device import META, OneDevice, StrayTensor, run_on

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
FOLDERS = "algorithms analysis config envs paper profiles results/probes rules tests"
PARTS = (*FOLDERS.split(), "Snakefile", "pyproject.toml", "CONTRIBUTING.md")
REGISTRY = "algorithms/__init__.py"


def blocks(language: str) -> list[str]:
    """The document's blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


EXAMPLE, LINE = blocks("python")
MINE, VARIANT, KNOB = blocks("yaml")
COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


def command(start: str) -> list[str]:
    """The words of the document's only command that begins so."""
    (found,) = [line for line in COMMANDS if line.startswith(start)]
    return shlex.split(found)


def subject_of(code: str, folder: Path) -> Subject:
    """The example's algorithm from its code, as if it stood in `algorithms/`."""
    file = folder / "cem_ql.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location("algorithms.cem_ql", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["algorithms.cem_ql"] = module  # where dataclasses and docstrings look
    spec.loader.exec_module(module)
    return Subject("cem_ql", "algorithms/cem_ql.py", module.CEMQL)


@pytest.fixture(autouse=True)
def _no_module_left():
    yield
    sys.modules.pop("algorithms.cem_ql", None)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_example_conforms(check, tmp_path):
    check(subject_of(EXAMPLE, tmp_path))


def test_the_example_stays_on_its_device(tmp_path):
    run_on(subject_of(EXAMPLE, tmp_path), META, OneDevice)


class Mistake(NamedTuple):
    """One line of the example done wrong."""

    old: str
    new: str
    check: object
    told: str
    """Regular expression that the complaint has."""


LAST = "    def networks(self)"
MISTAKES = {
    "no networks": Mistake(
        LAST, "    def nets(self)", is_an_agent, r"does not write \['networks'\]"
    ),
    "field without source": Mistake(
        'Rounds of a search. Source: QT-Opt."""',
        'Rounds of a search."""',
        every_hyperparameter_is_documented,
        "docstring of Configuration.rounds has no source",
    ),
    "field without docstring": Mistake(
        '    """Rounds of a search. Source: QT-Opt."""\n',
        "",
        every_hyperparameter_is_documented,
        "Configuration.rounds has no docstring",
    ),
    "no reason": Mistake(
        "Source: ours: a quarter of QT-Opt's 64, for the time.",
        "Source: ours.",
        every_hyperparameter_is_documented,
        'source of Configuration.searched is "ours" without a reason',
    ),
    "default outside of its interval": Mistake(
        "discount: float = 0.99",
        "discount: float = 1.0",
        every_hyperparameter_is_documented,
        r"discount is 1.0, not in \[0, 1\)",
    ),
    "actions leave the box": Mistake(
        "return action.clamp(-1, 1)",
        "return action",
        actions_lie_in_the_box,
        r"act\(explore=True\) after updates.* outside of \[-1, 1\]",
    ),
    "one action for all environments": Mistake(
        "return mean.squeeze(1)",
        "return mean.squeeze(1)[:1]",
        actions_lie_in_the_box,
        r"shape \(1, 2\), not \(7, 2\)",
    ),
    "no warm-up": Mistake(
        LAST,
        "    def act(self, observation, explore):\n"
        "        return self.policy(observation, explore)\n\n" + LAST,
        warm_up_is_random_and_learns_nothing,
        "let them be uniform",
    ),
    "optimiser steps not counted": Mistake(
        "        self.optimiser_steps += 1\n",
        "",
        counters_and_metrics_are_kept,
        "optimiser_steps is 0 after",
    ),
    "optimiser does not step": Mistake(
        "        self.optimiser.step()\n",
        "",
        counters_and_metrics_are_kept,
        "'critics' is called trained and three updates left it as it was",
    ),
    "evaluation draws what exploring does": Mistake(
        '"actions" if explore else "evaluation"',
        '"actions"',
        evaluating_leaves_no_trace,
        r"act\(explore=False\) changed \['generators/actions'\]",
    ),
    "unseeded": Mistake(
        "noise = torch.randn(shape, generator=generator,",
        "generator = torch.Generator()\n"
        "            generator.seed()\n"
        "            noise = torch.randn(shape, generator=generator,",
        one_seed_is_one_run,
        "two runs from one seed differ in .*critics",
    ),
    "global generator": Mistake(
        "torch.randn(action.shape, generator=generator, device=self.device)",
        "torch.randn(action.shape, device=self.device)",
        nothing_draws_from_a_global_generator,
        "torch's global generator was drawn from",
    ),
    "optimiser not saved": Mistake(
        '            "optimiser": self.optimiser,\n',
        "",
        restored_it_goes_on_to_the_bit,
        r"critics.* differ; something that the update depends on is not in components\(\)",
    ),
    "targets at twice their rate": Mistake(
        "self.critics, c.target_rate)",
        "self.critics, 2 * c.target_rate)",
        targets_move_at_their_rate,
        r"target_critics moved towards its online network by 0\.0(100|099)",
    ),
    "targets stand still": Mistake(
        "        polyak_update(self.target_critics, self.critics, c.target_rate)\n",
        "",
        targets_move_at_their_rate,
        r"of 8 updates target_critics moved at \[\]; let it follow",
    ),
    "nothing shown to the latch": Mistake(
        "        self.finite.check(self.updates, **metrics)\n",
        "",
        a_reward_that_is_not_finite_is_latched,
        "a reward of nan was not noticed in a whole run",
    ),
    "updates misnumbered": Mistake(
        "self.finite.check(self.updates,",
        "self.finite.check(0,",
        a_reward_that_is_not_finite_is_latched,
        "was latched with update 0",
    ),
    "networks not shown to the latch": Mistake(
        "self.finite.check(self.updates, **metrics)",
        "self.finite.check(self.updates, reward=batch.reward)",
        a_network_that_is_not_finite_is_latched,
        "a NaN in 'critics' was not noticed in the next update",
    ),
    "time limits taken for ends": Mistake(
        LAST,
        "    def observe(self, t):\n"
        "        super().observe(t._replace(terminated=t.terminated | t.truncated))\n\n" + LAST,
        truncation_is_not_termination,
        "pays 1 a step for ever is .* bootstrap unless `terminated`",
    ),
    "ends not seen": Mistake(
        "c.discount * (~batch.terminated) * value",
        "c.discount * value",
        truncation_is_not_termination,
        "an end of the task does not cut its value",
    ),
    "searches for the worst": Mistake(
        ".amin(0).view(shape[:2])",
        ".amin(0).view(shape[:2]).neg()",
        a_point_finds_its_target,
        "Point-v0 is not learnt",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_example_is_named(name, tmp_path):
    mistake = MISTAKES[name]
    assert EXAMPLE.count(mistake.old) == 1, "the document's example has changed"
    wrong = subject_of(EXAMPLE.replace(mistake.old, mistake.new), tmp_path)
    with pytest.raises(NotConforming, match=f"(?s)algorithms/cem_ql.py: .*{mistake.told}"):
        mistake.check(wrong)


@pytest.mark.parametrize(
    ("new", "failure"),
    [
        ('"td_loss": torch.full((), loss.item()),', RuntimeError),
        ('"td_loss": batch.reward[torch.arange(4)].mean(),', StrayTensor),
    ],
    ids=["read back", "index on the host"],
)
def test_a_mistake_that_only_a_gpu_minds_is_found_without_one(new, failure, tmp_path):
    wrong = subject_of(EXAMPLE.replace('"td_loss": loss,', new), tmp_path)
    with pytest.raises(failure):
        run_on(wrong, META, OneDevice)


class Copy:
    """The repository aside, to follow the document in."""

    def __init__(self, folder: Path):
        self.folder = folder
        copy(PARTS, folder)

    def run(self, *words: str) -> str:
        """Run a command there; what it printed. Fails if it fails."""
        here = os.path.dirname(sys.executable)
        environment = os.environ | {
            "PATH": os.pathsep.join([here, os.environ["PATH"]]),
            "PYTHONPATH": str(self.folder),  # in place of `pip install -e .`
            "OMP_NUM_THREADS": "1",
        }
        ended = subprocess.run(
            words,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    def add_the_example(self) -> None:
        """The file and the line, as the document has them."""
        (self.folder / "algorithms/cem_ql.py").write_text(EXAMPLE)
        registry = self.folder / REGISTRY
        registry.write_text(registry.read_text().replace("\n}", f"\n{LINE.rstrip()}\n}}"))
        (self.folder / "mine.yaml").write_text(MINE)


def test_the_document_leads_to_a_row_in_table_1(tmp_path):
    """But for sizes: those of the smoke scale take minutes (below)."""
    copy = Copy(tmp_path)
    copy.add_the_example()
    small = {
        "environments": ["Hopper-v4"],
        "seeds": [3],
        "transitions": 400,
        "warm_up": 100,
        "evaluate_every": 100,
        "evaluation_episodes": 1,
        "settings": {"hidden_width": 8, "batch_size": 8},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({"scales": {"smoke": small}}))
    words = command("snakemake --cores 2 results/smoke")
    copy.run(*words, "small.yaml")
    check_table(copy, words[3], small)
    # A study turns its knob, for each of five seeds.
    plan = [sys.executable, *"-m analysis.plan --scale sensitivity --output plan.json".split()]
    copy.run(*plan, "--overrides", json.dumps(yaml.safe_load(KNOB)))
    runs = json.loads((tmp_path / "plan.json").read_text())["scales"]["sensitivity"]["runs"]
    own = [run["configuration"]["settings"] for run in runs if "_noise_" in run["algorithm"]]
    turned = [settings["exploration_deviation"] for settings in own]
    assert turned == [0.2 * factor for factor in (0.0625, 0.25, 4, 16) for _ in range(5)]
    others = {"lql_step_size_x4", "nc_lql_temperature_x16", "sac_entropy_coefficient_x1"}
    assert others <= {run["algorithm"] for run in runs}, "everyone else's knobs are turned as ever"


@pytest.mark.long
def test_the_document_as_it_stands(tmp_path):
    """Nothing left out but the installation."""
    copy = Copy(tmp_path)
    copy.add_the_example()
    told = copy.run(*command("pytest tests/test_conformance.py"), "-v")
    assert told.count("cem_ql") > len(CHECKS) and told.count("PASSED") > len(CHECKS)
    words = command("snakemake --cores 2 results/smoke")
    copy.run(*words)
    smoke = yaml.safe_load((ROOT / "config/protocol.yaml").read_text())["scales"]["smoke"]
    check_table(copy, words[3], smoke)


def check_table(copy: Copy, table: str, scale: dict) -> None:
    """The example has a row for each environment of a scale, and nobody else has one."""
    with (copy.folder / table).open() as opened:
        rows = list(csv.DictReader(opened))
    assert [row["env"] for row in rows] == scale["environments"]
    for row in rows:
        assert row["algorithm"] == "cem_ql" and int(row["seeds"]) == len(scale["seeds"])
        assert float(row["minimum"]) <= float(row["mean"]) <= float(row["maximum"])
        assert int(row["transitions"]) == scale["transitions"]


def test_commands_with_other_settings_are_understood(tmp_path, capsys):
    from algorithms.train import parse

    shown, run = [line for line in COMMANDS if line.startswith("python -m algorithms.train")]
    with pytest.raises(SystemExit) as ended:
        parse(shlex.split(shown)[3:])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "--inverse-temperature" in told and "Source: authors' code" in " ".join(told.split())
    _, configuration = parse(shlex.split(run)[3:])
    assert configuration["settings"]["inverse_temperature"] == 100
    assert configuration["env"] == "Hopper-v4" and configuration["transitions"] == 20000


def test_the_variant_has_runs_of_its_own(tmp_path, monkeypatch):
    from analysis.plan import Plan

    monkeypatch.chdir(tmp_path)

    plan = Plan(yaml.safe_load(VARIANT), ROOT / "config/protocol.yaml")
    runs = plan.runs("smoke")
    (name,) = yaml.safe_load(VARIANT)["variants"]
    assert {run.label for run in runs} == {name}
    settings = plan.configuration(runs[0])["settings"]
    assert (settings["gradient"], settings["inverse_temperature"]) == ("plain", 10)


def test_without_sac_everything_else_is_planned(tmp_path):
    """A method is taken out by deleting its file and its line."""
    copy = Copy(tmp_path)
    (tmp_path / "algorithms/sac.py").unlink()
    registry = tmp_path / REGISTRY
    lines = registry.read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"sac.SAC"' not in line]
    assert len(kept) == len(lines) - 1
    registry.write_text("".join(kept))
    told = copy.run("snakemake", "-n", "--cores", "2", "all", "smoke")
    assert "smoke/Hopper-v4/ppo" in told and "results/claims.csv" in told
    assert "/sac/" not in told and "sac_every_transition/" not in told
    # What is installed from the repository knows the file that is gone from this copy.
    collect = """if True:
        import importlib.util, sys, pytest
        sys.meta_path = [f for f in sys.meta_path if "editable" not in getattr(f, "__module__", "")]
        assert importlib.util.find_spec("algorithms.sac") is None
        sys.exit(pytest.main(["--co", "-q", "-n", "0", "tests/test_conformance.py"]))
    """
    collected = copy.run(sys.executable, "-c", collect)
    assert int(re.search(r"test_conformance.py: (\d+)", collected)[1]) > 4 * len(CHECKS) - 1
