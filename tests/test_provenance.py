"""Which machines a run says that it was at."""

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
