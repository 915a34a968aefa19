"""Which machines a run says that it was at, and of which code records are."""

import subprocess
from pathlib import Path

import pytest
from repository import ROOT
from runs import before_step, document, run, terminate

from algorithms import record
from analysis.cost_rows import conditions
from analysis.provenance import _of_document


def test_a_run_that_was_moved_names_every_machine_that_it_was_at(tmp_path, monkeypatch):
    """Its seconds are of all of them together, and of none of them alone."""
    here = record.machine()
    with before_step(60, terminate):
        run(tmp_path)
    assert "earlier_machines" not in document_of_a_run_that_stayed(tmp_path / "stayed")
    monkeypatch.setattr(record, "machine", lambda: here | {"processor": "Another"})
    run(tmp_path)
    found = document(tmp_path)
    assert found["machine"]["processor"] == "Another"
    assert found["earlier_machines"] == [here | {"device": "cpu"}]
    row = conditions("", found)
    assert row["processor"] == "several" and row["cores"] == here["cores"]
    assert _of_document(found)["machines"] == 2


def document_of_a_run_that_stayed(folder):
    """Stopped and gone on with, on one machine."""
    with before_step(60, terminate):
        run(folder)
    run(folder)
    return document(folder)


def test_committed_records_are_of_clean_trees():
    """Whoever doubts a number finds the code that gave it under the commit of its record."""
    listed = ["git", "ls-files", "-z", "results/runs/*run.json", "results/probes/*.json"]
    told = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True)
    files = told.stdout.split("\0")[:-1]
    if not files:
        pytest.skip("no repository here")
    assert len(files) > 100
    assert [file for file in files if '"dirty": true' in (ROOT / file).read_text()] == []


def test_committed_tables_of_studies_have_the_columns_of_the_default_scales():
    """Nothing else derives them anew: no verdict reads some of them."""
    listed = ["git", "ls-files", "-z", "results/*/*.csv"]
    told = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True).stdout.split("\0")[:-1]
    if not told:
        pytest.skip("no repository here")
    folders = {"runs", "probes", "figures"}
    found = [Path(file) for file in told if not folders & set(Path(file).parts)]
    pairs = [(ROOT / file, ROOT / "results" / file.name) for file in found]
    pairs = [(own, default) for own, default in pairs if default.exists()]
    assert len(pairs) > 10
    stale = [str(own) for own, default in pairs if _head(own) != _head(default)]
    assert stale == [], "derive them again (`--config missing=gap`)"


def _head(file: Path) -> str:
    return file.read_text().partition("\n")[0]
