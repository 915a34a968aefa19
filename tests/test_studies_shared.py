"""What all tables of the laboratory share: gaps, records of probes, the protocol, the claims."""

import copy
import json
import re
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import curve
from studied import FAR, MULTI, ROOT, SEEDS, elsewhere, leave, samples, study

from algorithms import algorithm
from analysis import bandit, laboratory
from analysis.artefacts import LABORATORY
from analysis.declarations import CHOSEN, declarations, read_claims
from analysis.laboratory import derive, difference_row, mean_row, ratio_row, read_study
from analysis.plan import Plan, PlanError
from analysis.plan_files import probe_digests
from analysis.probes import policies, run_probes, visits
from analysis.probes import samples as samples_records
from analysis.protocol import ProtocolError
from analysis.records import RecordError
from envs.bandit import landscape_of

__all__ = ["elsewhere"]  # a fixture that every test here uses


PROTOCOL = ROOT / "config/protocol.yaml"

# What all share ----------------------------------------------------------------------------------


def test_rows_without_five_seeds_have_no_interval():
    few = mean_row({0: 1.0, 1: 3.0}, [0, 1, 2])
    assert few["value"] == 2 and np.isnan(few["low"]) and few["note"] == "gap: no record of seed 2"
    many = {seed: float(seed) for seed in SEEDS}
    assert mean_row(many, SEEDS)["low"] < 2 and mean_row(many, SEEDS)["note"] == ""
    assert difference_row(many, {0: 1.0})["seeds"] == 1
    assert np.isnan(ratio_row(many, {})["value"])
    assert ratio_row({s: 2.0 + s for s in SEEDS}, {s: 1.0 + s for s in SEEDS})["low"] < 4 / 3


def test_a_record_of_a_probe_that_was_edited_or_is_of_another_run_is_refused():
    read = study({(MULTI, "lql", 0): curve(1)})
    path = leave("samples", "study", MULTI, "lql", 0, samples([[0.6, 0.6]]))
    assert read().probed("samples", MULTI, "lql")[0].shape == (1, 2)
    path.write_text(path.read_text().replace("0.6", "0.5"))
    with pytest.raises(RecordError, match="not the table that its document is of; delete"):
        read().probed("samples", MULTI, "lql")
    leave("samples", "study", MULTI, "lql", 0, samples([[0.6, 0.6]]), transitions=5)
    with pytest.raises(RecordError, match="transitions is 5 in the record, 10000 in the protocol"):
        read().probed("samples", MULTI, "lql")


def test_a_record_of_a_probe_that_was_set_to_something_else_is_refused(monkeypatch):
    read = study({(MULTI, "lql", 0): curve(1)})
    leave("samples", "study", MULTI, "lql", 0, samples([[0.6, 0.6]]))
    monkeypatch.setitem(run_probes.SETTINGS, "samples", {"count": 5})
    with pytest.raises(RecordError, match="stale: set to .*2000.*, where .*5.* is asked; delete"):
        read().probed("samples", MULTI, "lql")


def test_a_field_that_a_probes_record_lacks_counts_as_the_default_and_no_other_value():
    """As of a run's record: PPO's annealing is longer in this study than by default."""
    shutil.copytree(ROOT / "config", "config")
    plan = Plan(is_main_process=False)
    run = next(run for run in plan.runs("exploration") if run.label == "ppo")
    configuration = copy.deepcopy(plan.configuration(run))
    document = {"configuration": configuration, "probe": run_probes.SETTINGS["visits"]}
    table = pd.DataFrame({"transitions": []})
    del configuration["settings"]["discount"]
    run_probes.write("visits", run.name, document, table)
    assert plan.check_records("exploration") == {}
    del configuration["settings"]["annealing_transitions"]
    run_probes.write("visits", run.name, document, table)
    with pytest.raises(PlanError, match="stale: settings.annealing_transitions is 'absent' in"):
        plan.check_records("exploration")


def test_probes_of_runs_follow_the_overrides_of_the_command_line(capsys, monkeypatch):
    """A variant, a seed or a size of `--configfile` is one of theirs, too."""
    shutil.copytree(ROOT / "config", "config")
    overrides = {"studies": {"exploration": {"seeds": [7], "transitions": 60_000}}}
    asked = []
    monkeypatch.setattr(visits, "measure", lambda c, *_: asked.append(c) or (pd.DataFrame(), {}))
    monkeypatch.setattr(samples_records, "conditions", lambda *_: {})
    run = next(r for r in Plan(overrides, is_main_process=False).runs("exploration"))
    arguments = ["--study", "exploration", "--run", run.name]
    assert visits.main(arguments) == 2 and "is no run of exploration" in capsys.readouterr().err
    assert visits.main([*arguments, "--overrides", json.dumps(overrides)]) == 0
    assert asked[0]["seed"] == 7 and asked[0]["transitions"] == 60_000
    counts = policies.probe_study("bandit", {"studies": {"bandit": {"seeds": [7]}}})
    assert counts["policy"] == len(policies.Plan().runs("bandit")) / 5 * 2, "of both probes"


def test_a_new_record_of_a_probe_makes_the_plan_new():
    leave("samples", "study", MULTI, "lql", 0, samples([[0.6, 0.6]]))
    before = probe_digests("study")
    leave("samples", "study", MULTI, "lql", 0, samples([[0.6, 0.5]]))
    after = probe_digests("study")
    assert len(before) == 2 and before.keys() == after.keys() and before != after
    assert probe_digests("stud") == {}


@pytest.mark.parametrize("table", ["bandit", "sensitivity", "ablation", "exploration", "proposals"])
def test_every_table_and_figure_is_had_without_a_record(table):
    name = {"proposals": "bandit"}.get(table, table)
    plan = Plan(protocol_file=ROOT / "config/protocol.yaml", is_main_process=False)
    document = plan.document(name, {})
    target = Path(laboratory.PLANS, name, "plan.json")
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(document) + "\n")
    files = derive(table, [read_study(name)])
    assert files == derive(table, [read_study(name)])  # the same bytes
    assert set(files) == {f"{table}.csv", f"figures/{table}.svg", f"figures/{table}.csv"}
    frame = pd.read_csv(BytesIO(files[f"{table}.csv"]), keep_default_na=False, dtype=str)
    own = frame[~frame.get("algorithm", "").isin([bandit.EXACT, bandit.UNIFORM])]
    assert set(own["value"]) == {""} and own["note"].str.contains("gap").all()
    # Every claim finds its rows, one a cell: without a record it is not tested, and says why.
    claims = read_claims(ROOT / "paper/claims.yaml")
    selected = [
        test
        for claim in declarations(claims, "desk", 1)
        for test in claim.tests
        if test["evidence"] == f"{table}.csv"
    ]
    assert selected and set(claims["evidence"][f"{table}.csv"]["columns"]) <= set(frame)
    for test in selected:
        # Whichever form of the comparator is chosen.
        among = claims["chosen_comparator"]["among"]
        for chosen in among if CHOSEN in test["where"].values() else [None]:
            rows = frame
            for column, wanted in test["where"].items():
                rows = rows[rows[column] == (chosen if wanted == CHOSEN else wanted)]
            assert len(rows) == len(rows.drop_duplicates(test["per"])) > 0, test["where"]


def test_every_row_leads_to_the_records_that_it_is_made_of():
    read = study({(FAR, label, seed): curve(1) for label in ("lql", "nc_lql") for seed in SEEDS})
    leave("samples", "study", FAR, "lql", 0, samples([[0.6, 0.6]]))
    frame = pd.read_csv(BytesIO(derive("bandit", [read()])["bandit.csv"]), keep_default_na=False)

    def led_to(quantity, algorithm):
        own = frame[(frame["quantity"] == quantity) & (frame["algorithm"] == algorithm)]
        return set(own["records"])

    runs, drawn = f"results/runs/study/{FAR}", f"results/probes/samples/study/{FAR}"
    assert led_to("evaluated_regret", "nc_lql") == {f"{runs}/nc_lql"}
    assert led_to("far_mode_transitions_ratio", "lql") == {f"{runs}/lql / {runs}/nc_lql"}
    # Of samples, which one of the two lacks, and of no run.
    assert led_to("mode_mass_ratio", "lql") == {f"{drawn}/lql"}
    assert led_to("mode_mass_ratio", "nc_lql") == led_to("mode_mass_ratio", bandit.EXACT) == {""}
    assert all(any(Path(at).rglob("*.json")) for at in led_to("mode_mass_ratio", "lql"))
    sampled = {name for name, _ in bandit.qualities(landscape_of(FAR), np.empty((0, 2)))}
    assert all({f"{drawn}/lql"} == led_to(quantity, "lql") for quantity in sampled)
    ranges = {"quantity": "share", "algorithm": "lql", "knob": "w", "env": FAR}
    assert laboratory.record_folders(ranges, [read()], {}) == f"{runs}/lql*"
    ranges["comparator"] = "nc_lql"
    assert laboratory.record_folders(ranges, [read()], {}) == f"{runs}/lql* / {runs}/nc_lql*"


def test_proposals_of_no_method_with_a_temperature_are_a_figure_all_the_same():
    read = study({("FarModeBandit-v0", "ppo", 0): curve(1)})
    target = Path(laboratory.PLANS, "study", "plan.json")
    plan = json.loads(target.read_text())
    for run in plan["scales"]["study"]["runs"]:
        run["configuration"]["settings"] = {}
    target.write_text(json.dumps(plan) + "\n")
    files = derive("proposals", [read()])
    assert files["proposals.csv"].count(b"\n") == 1
    assert b"no method with a temperature" in files["figures/proposals.svg"]


def test_to_diverge_is_worth_no_more_than_not_to_learn():
    env, late = "Pendulum-v1", "late"
    whole, soon, never = curve(100.0, -50.0), [-50.0], [-50.0, *[80.0] * 4]
    runs = {(env, "whole", 0): whole, (env, "soon", 0): soon, (env, late, 0): never}
    diverged = [(env, "soon", 0), (env, late, 0)]
    read = study(runs, diverged=diverged)()
    assert read.mean_returns(env, "whole")[0] == pytest.approx(np.mean(whole[1:]))
    assert read.mean_returns(env, "soon") == {0: -50.0}, "it has no evaluation after the first"
    assert read.mean_returns(env, late)[0] == pytest.approx((4 * 80 - 6 * 50) / 10)


# The protocol ------------------------------------------------------------------------------------


def _resolved(overrides):
    plan = Plan(overrides, ROOT / "config/protocol.yaml", is_main_process=False)
    runs = plan.resolve("study")["runs"]
    return {name.split("/")[2]: run["configuration"]["settings"] for name, run in runs.items()}


def test_a_factor_is_of_the_value_that_the_knob_would_have_otherwise():
    grid = {"algorithm": "lql", "knob": "step", "factors": {"step_size": [0.25, 4]}}
    part = {"like": "smoke", "environments": ["Point-v0"], "seeds": [0], "grids": {"one": grid}}
    found = _resolved({"studies": {"study": part}})
    assert list(found) == ["lql_step_x0.25", "lql_step_x4"]
    default = algorithm("lql").Configuration().step_size
    assert [s["step_size"] for s in found.values()] == [0.25 * default, 4 * default]
    part["settings_of"] = {"lql": {"step_size": 0.1}, "sac": {"learning_rate": 1.0}}
    found = _resolved({"studies": {"study": part}})
    assert [s["step_size"] for s in found.values()] == [0.025, 0.4]  # of the study's
    part["grids"] = {"one": grid | {"settings": {"step_size": [1.0]}}}
    found = _resolved({"studies": {"study": part}})
    assert [s["step_size"] for s in found.values()] == [0.25, 4.0]  # of the grid's own
    part["grids"] = {"one": grid | {"factors": {"boundary": [2]}}}
    with pytest.raises(PlanError, match="a factor on boundary, which is no number"):
        _resolved({"studies": {"study": part}})


def test_every_scale_with_studies_has_every_table_and_all_of_the_workflow_knows_them():
    plan = Plan(protocol_file=ROOT / "config/protocol.yaml", is_main_process=False)
    for scale in ("desk", "smoke"):
        assert tuple(plan.laboratory(scale)) == LABORATORY
        files = plan.artefacts(scale)
        assert {f"{plan.folder(scale)}/{table}.csv" for table in LABORATORY} <= set(files)
    assert plan.laboratory("paper") == {} and plan.laboratory("bandit") == {}
    assert "nc_lql_unconditioned" in [e.label for e in plan.protocol.scale("paper").entries]
    assert "nc_lql_unconditioned" not in [e.label for e in plan.protocol.scale("desk").entries]


def test_studies_of_one_table_have_environments_of_their_own():
    grid = {"algorithm": "lql", "settings": {"step_size": [0.5]}}
    own = {"like": "desk", "seeds": [5], "grids": {"one": grid}, "laboratory": ["bandit"]}
    own |= {"environments": ["Point-v0"]}
    assert Plan({"studies": {"x": own}}, PROTOCOL).laboratory("desk")["bandit"] == ["bandit", "x"]
    shared = own | {"environments": ["Point-v0", "FarModeBandit-v0"]}
    with pytest.raises(ProtocolError, match="studies.x: table 'bandit' has FarModeBandit-v0 by 'b"):
        Plan({"studies": {"x": shared}}, PROTOCOL)
    # Those of another scale stand in a folder of their own.
    shared = own | {"like": "paper", "environments": ["MultimodalBandit-v0"], "warm_up": 1}
    Plan({"studies": {"x": shared}}, PROTOCOL)


def test_no_scale_has_the_name_of_a_rule():
    """Snakemake refuses two rules of one name, and says nothing of the protocol."""
    text = "\n".join(file.read_text() for file in [ROOT / "Snakefile", *ROOT.glob("rules/*.smk")])
    names = set(re.findall(r"^ *rule (\w+):", text, re.M))
    made = re.findall(r'name:\n +f"(\S+)"', text)
    assert {"claims", "figure", "train"} <= names and "measure_{study}" in made
    for name in made:
        for probe in ("exactness", "mixing"):
            names.add(name.format(scale="x", study="x", probe=probe))
    # A study of this name would have a rule to measure it.
    names |= {name.removeprefix("measure_") for name in names} - {"x"}
    for name in names:
        with pytest.raises(ProtocolError, match=f"'{name}' cannot be the name"):
            Plan({"studies": {name: {"like": "desk"}}}, PROTOCOL)
