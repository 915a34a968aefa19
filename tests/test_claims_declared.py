"""What of claims' evidence and declarations is refused; the committed ones; the program."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from audited import ROOT, decided, derive, furnish, runs
from planted import plant

from algorithms import ALGORITHMS
from analysis import artefacts, claims, declarations, evidence
from analysis.records import RecordError


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder without a record."""
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "column"),
    [("comparisons.csv", "surplus_low"), ("table1.csv", "claimed"), ("final_scores.csv", "zero")],
)
def test_evidence_whose_columns_changed_is_an_error_that_names_them(folder, capsys, name, column):
    plan = plant(runs("nc_lql", 1000, 5))
    derive(plan)
    assert claims.main([]) == 0
    before = Path("results/claims.csv").read_bytes()
    file = Path("results", name)
    pd.read_csv(file).rename(columns={column: f"{column}s"}).to_csv(file, index=False)
    for options in ([], ["--missing", "gap"]):
        assert claims.main(options) == 2
        told = capsys.readouterr().err
        assert f"results/{name}: has no column {column}" in told and told.count("\n") == 1
    file.unlink()
    assert claims.main([]) == 2
    assert f"results/{name}: missing" in capsys.readouterr().err
    assert Path("results/claims.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("column", "cell", "told"),
    [
        ("final", "much", "final is 'much', not a finite number"),
        ("final", "inf", "final is 'inf', not a finite number"),
    ],
)
def test_evidence_that_is_no_number_is_refused(folder, column, cell, told):
    plan = plant(runs("lql", 1000, 5))
    derive(plan)
    table = pd.read_csv("results/final_scores.csv", dtype=str)
    table.loc[0, column] = cell
    table.to_csv("results/final_scores.csv", index=False)
    with pytest.raises(RecordError, match=told):
        decided(plan)


def changed(path: list, value) -> None:
    """Change paper/claims.yaml in place."""
    document = yaml.safe_load(declarations.CLAIMS.read_text())
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    declarations.CLAIMS.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (["claims", 0, "id"], "2", "claim 2 stands twice"),
        (["claims", 0, "topic"], "luck", "claim 1a-{steps}: unknown topic 'luck'"),
        (["claims", 0, "verdict"], "supported", "claim 1a-{steps}: .*'verdict'"),
        (["claims", 0, "source"], "the paper", "claim 1a-{steps}.source: .*'the paper'"),
        (["claims", 0, "tests", 0, "evidence"], "x.csv", "evidence 'x.csv' is not declared"),
        (["claims", 0, "tests", 0, "value"], "tv", "column 'tv' is not declared of sampler_"),
        (["claims", 0, "tests", 0, "supported"], {}, "claim 1a-{steps}.tests.0.supported"),
        (["claims", 0, "tests", 0, "refuted"], {"above": 0.04}, "could lie in both its regions"),
        (["amendments", 0, "date"], "yesterday", "amendments.0.date"),
        (["amendments", 0, "claims"], ["99"], "no claim is called '99'"),
        (["evidence"], {}, "evidence: "),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused_by_name(folder, path, value, told):
    changed(path, value)
    with pytest.raises(RecordError, match=told):
        declarations.read_claims()


# The committed declarations and the program -----------------------------------------------------


@pytest.fixture
def committed(monkeypatch) -> dict:
    monkeypatch.chdir(ROOT)
    return declarations.read_claims()


def test_every_numbered_claim_has_a_row(committed):
    rows = declarations.declarations(committed, "desk", 300_000)
    identities = [row.id for row in rows]
    assert len(set(identities)) == len(identities)
    numbers = {int("".join(c for c in row.id.split("-")[0] if c.isdigit())) for row in rows}
    assert numbers == set(range(1, 22))
    returns = [row for row in rows if row.id[0] in "45678" and row.id != "4c"]
    for row in returns:
        assert row.scale == ("desk" if row.id.endswith("-desk") else "paper"), row.id
        assert row.statement.endswith(" at 300,000 transitions") == (row.scale == "desk")
    # At the scale that is named, the sibling would say the same.
    at_paper = declarations.declarations(committed, "paper", 5_030_000)
    assert not any(row.id.endswith("-paper") for row in at_paper)


def test_claims_speak_of_what_is_registered(committed, monkeypatch):
    from analysis.protocol import PROTOCOL

    known = {*ALGORITHMS, *yaml.safe_load(PROTOCOL.read_text())["variants"]}
    known |= {"nc_lql_unconditioned", "plain", declarations.CHOSEN, ""}
    for row in declarations.declarations(committed, "desk", 300_000):
        for test in row.tests:
            for where in (test["where"], test.get("relative_to", {})):
                labels = {where[name] for name in evidence.LABELS if name in where}
                assert labels <= known, row.id


def test_what_the_workflow_makes_is_awaited_no_more(committed):
    made = {*artefacts.TABLES, *(f"figures/{name}.csv" for name in artefacts.FIGURES)}
    for name, declared in committed["evidence"].items():
        assert ("awaited" in declared) == (name not in made), (
            f"paper/claims.yaml: take `awaited` away from {name}, which the workflow makes"
            if name in made
            else f"paper/claims.yaml: nothing makes {name}"
        )


def test_the_program_writes_the_same_bytes_and_the_fixed_columns(folder):
    fixed = "claim,statement,source,measure,value,low,high,rule,verdict,scale,evidence"
    returns = runs("nc_lql", 1000, 5) | runs("ppo", 900, 50) | runs("diffusion_ql", 990, 9)
    derive(plant(returns))
    files = [Path("results/claims.csv"), Path("results/claims.md")]
    written = []
    for _ in range(2):
        assert claims.main([]) == 0
        written.append([file.read_bytes() for file in files])
    assert written[0] == written[1]
    text = written[0][0].decode()
    assert text.startswith(fixed)
    table = pd.read_csv(files[0], keep_default_na=False)
    assert set(table["verdict"]) <= {"supported", "not supported", "inconclusive", "not tested"}
    page = written[0][1].decode()
    for row in table.itertuples():
        assert row.statement in page
        if row.verdict == "not tested":
            assert row.reason, row.claim
