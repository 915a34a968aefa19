"""A method taken out of the registry: the rest is planned, derived and decided all the same."""

import json
from importlib import import_module
from pathlib import Path

import pytest
from studied import ROOT, elsewhere

from algorithms import ALGORITHMS
from analysis import choice, laboratory, tables
from analysis.claims import claims_table
from analysis.declarations import declarations, read_claims
from analysis.derived import csv_bytes
from analysis.figures.style import render, without_methods
from analysis.laboratory import derive, read_study
from analysis.plan import Plan
from analysis.records import read_scale

__all__ = ["elsewhere"]  # a fixture that every test here uses
CLAIMS = read_claims(ROOT / "paper/claims.yaml")


@pytest.fixture(params=list(ALGORITHMS))
def plan(request, monkeypatch) -> Plan:
    """Of the protocol where one method is not registered."""
    monkeypatch.delitem(ALGORITHMS, request.param)
    return Plan(protocol_file=ROOT / "config/protocol.yaml", is_main_process=False)


def put(plan: Plan, study: str) -> None:
    """The plan of a study without records, where the laboratory reads it."""
    target = Path(laboratory.PLANS, study, "plan.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(plan.document(study, {})) + "\n")


def without_entries(plan: Plan) -> set[str]:
    return {name for name in plan.scales if not plan.protocol.scale(name).entries}


def test_only_what_compares_a_method_with_itself_is_left_without_runs(plan):
    (gone,) = {"lql", "nc_lql", "diffusion_ql", "ppo", "sac"} - set(ALGORITHMS)
    alone = {
        "lql": {"sweep_lql"},
        "nc_lql": {"authors_warm_up", "ablation_bandit", "smoke_ablation"},
        "diffusion_ql": {"comparator"},
    }
    assert without_entries(plan) == alone.get(gone, set())
    for scale in plan.scales:
        labels = {run.label for run in plan.runs(scale)}
        assert gone not in labels and not any(label.startswith(f"{gone}_") for label in labels)
    assert {f"{plan.folder('desk')}/{name}.csv" for name in laboratory.LABORATORY} <= set(
        plan.artefacts("desk")
    )


@pytest.mark.parametrize("scale", ["desk", "smoke"])
def test_the_laboratorys_tables_are_had_and_its_claims_stop_nothing(plan, scale):
    """Of a table without rows, or without those of a method, a claim is not tested."""
    folder = Path(plan.folder(scale))
    folder.mkdir(exist_ok=True)
    for table, names in plan.laboratory(scale).items():
        for name in names:
            put(plan, name)
        frame = import_module(f"analysis.{table}").table([read_study(name) for name in names])
        counts = [name for name in laboratory.COUNTS if name in frame]
        (folder / f"{table}.csv").write_bytes(csv_bytes(frame, counts))
    of_laboratory = [
        claim
        for claim in CLAIMS["claims"]
        if any(Path(t["evidence"]).stem in laboratory.LABORATORY for t in claim.get("tests", ()))
    ]
    document = CLAIMS | {"claims": of_laboratory}
    planned = plan.document(scale, {})
    found = claims_table(document, planned, "refuse")
    assert len(found) == len(declarations(document, scale, 1)) > 10
    own = found[found["evidence"].str.startswith(f"{folder}/")]
    assert set(own["verdict"]) == {"not tested"} and own["reason"].str.len().min() > 0


@pytest.mark.parametrize("table", laboratory.LABORATORY)
def test_a_study_without_runs_is_a_table_without_rows_and_a_figure_that_says_so(monkeypatch, table):
    """As the ablation where NC-LQL is not registered, but of every table."""
    for name in list(ALGORITHMS)[1:]:
        monkeypatch.delitem(ALGORITHMS, name)
    (left,) = ALGORITHMS
    other = {"like": "smoke", "laboratory": [table], "algorithms": ["sac"], "seeds": [3]}
    plan = Plan({"studies": {"own": other}}, ROOT / "config/protocol.yaml", False)
    assert left == "lql" and plan.runs("own") == [] and "own" in without_entries(plan)
    put(plan, "own")
    read = read_study("own")
    assert {"final", "normalised", "gap", "transitions"} <= set(read.scores) and read.scores.empty
    files = derive(table, [read])
    assert files[f"{table}.csv"].count(b"\n") == 1
    empty = render(files[f"figures/{table}.csv"], without_methods)
    assert files[f"figures/{table}.svg"] == empty
    document = plan.document("own", {})
    records = read_scale(document, "own", "refuse")
    assert len(choice.choice(records)) == 0
    assert b"No method of it is registered" in tables.derive(document, records)["table1.md"]
