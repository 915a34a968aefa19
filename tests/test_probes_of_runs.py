"""Probes that look at one run each: the run that is there, one process at a time, in one line."""

import contextlib
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock, Timeout
from run_records import plant_record
from studied import ROOT, elsewhere

from algorithms.files import NotWritten
from algorithms.record import POLICY
from analysis.plan import Plan, PlanError
from analysis.plan_files import probe_digests
from analysis.probes import policies, rollouts, run_probes, visits
from analysis.records import RecordError, record_digest

__all__ = ["elsewhere"]  # a fixture that every test here uses
STUDY = {
    "like": "smoke",
    "laboratory": ["ablation"],
    "environments": ["Point-v0"],
    "algorithms": ["ppo"],
    "seeds": [7],
}
OVERRIDES = {"studies": {"own": STUDY}}
TABLE = pd.DataFrame({"first": [0.5], "second": [0.25]})


@pytest.fixture
def plan(monkeypatch) -> Plan:
    """With a study of one run, whose samples are `TABLE`."""
    shutil.copytree(ROOT / "config", "config")
    monkeypatch.setitem(policies.PROBES, "samples", lambda folder, configuration: TABLE)
    monkeypatch.setattr(policies, "conditions", lambda *_: {})
    return Plan(OVERRIDES)


def train(plan: Plan, wall_seconds: float = 60.0):
    """The study's run, with a record and a policy."""
    (run,) = plan.runs("own")
    plant_record(run.path, plan.configuration(run), wall_seconds=wall_seconds)
    Path(run.path, POLICY).touch()
    return run


def counted() -> dict[str, int]:
    found = policies.probe_study("own", OVERRIDES)
    return {name: count for name, count in found.items() if count}


def test_samples_are_of_the_policy_of_the_run_that_is_there(plan):
    """Trained again, elsewhere, a run of the same configuration has another policy."""
    run = train(plan)
    planned = {"path": run.path, "configuration": plan.configuration(run)}
    planned["digest"] = record_digest(run.path)
    assert [counted(), counted()] == [{"written": 1}, {"there": 1}]
    assert run_probes.read("samples", planned)[0].equals(TABLE)
    shutil.rmtree(run.path)
    assert plan.check_records("own") == {}, "it may be trained again, and is measured then"
    assert run_probes.read("samples", planned | {"digest": None}) is None
    train(plan, wall_seconds=61.0)
    told = (
        r"seed7.csv: stale: of the policy of a run that was made again since; delete \S+seed7.csv"
    )
    with pytest.raises(PlanError, match=told):
        plan.check_records("own")
    with pytest.raises(RecordError, match=told):
        run_probes.read("samples", planned | {"digest": record_digest(run.path)})
    assert [counted(), counted()] == [{"written": 1}, {"there": 1}]
    assert list(plan.check_records("own")) == [run.name]


def test_a_probes_record_that_does_not_say_which_run_it_is_of_stays_good(plan):
    run = train(plan)
    assert counted() == {"written": 1}
    file = run_probes.path_of("samples", run.name).with_suffix(".json")
    document = json.loads(file.read_text())
    assert document.pop("run_sha256") == record_digest(run.path)
    file.write_text(json.dumps(document))
    train(plan, wall_seconds=61.0)
    assert counted() == {"there": 1} and list(plan.check_records("own")) == [run.name]
    planned = {"path": run.path, "configuration": plan.configuration(run), "digest": "another"}
    assert run_probes.read("samples", planned)[0].equals(TABLE)


def test_what_measures_a_study_refuses_its_stale_records_and_nothing_else_does(plan, capsys):
    run = train(plan)
    assert plan.prepare_measured("own") == [f"{run.path}/run.json"]
    stale = {"studies": {"own": STUDY | {"evaluation_episodes": 9}}}
    with pytest.raises(SystemExit) as ended:
        Plan(stale).prepare_measured("own")
    assert ended.value.code == 2
    told = f"evaluation_episodes is 5 in the record, 9 in the protocol; delete {run.path} to run"
    assert told in capsys.readouterr().err
    # A job of a workflow that has begun does not: the run before it may be new.
    assert Plan(stale, is_main_process=False).prepare_measured("own")
    assert Plan(stale).prepare_measured("bandit")


def test_where_gaps_are_shown_no_visits_are_counted(plan):
    name = plan.runs("exploration")[0].name
    assert re.fullmatch(plan.to_visit, name)
    gaps = Plan({"missing": "gap"})
    assert not re.fullmatch(gaps.to_visit, name) and not re.fullmatch(gaps.trainable, name)


def test_a_runs_visits_are_counted_by_one_process_at_a_time(plan, monkeypatch):
    """A killed workflow leaves its job behind, and the next one waits for it."""
    run = plan.runs("exploration")[0].name
    lock = run_probes.path_of("visits", run).with_suffix(".lock")
    with visits.alone(run) as is_recorded:
        assert not is_recorded
        with pytest.raises(Timeout):
            FileLock(lock).acquire(timeout=0)
        assert probe_digests("exploration") == {}, "a lock is no record"
    with visits.alone(run) as is_recorded:
        assert not is_recorded, "the other one was killed"

    class Waited(FileLock):
        def acquire(self, **_):
            run_probes.write("visits", run, {"configuration": {}}, TABLE)
            return contextlib.nullcontext()

    monkeypatch.setattr(visits, "FileLock", Waited)
    monkeypatch.setattr(visits, "measure", None)  # must not be called
    assert visits.main(["--study", "exploration", "--run", run]) == 0
    assert not lock.exists() and len(probe_digests("exploration")) == 2


COMMANDS = {
    policies: ["--study", "bandit"],
    rollouts: ["--scale", "bandit"],
    visits: ["--study", "exploration", "--run", "exploration/HalfCheetah-v4/ppo/seed0"],
}


@pytest.mark.parametrize("module", COMMANDS)
@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--overrides", "{"], "--overrides is not JSON"),
        (["--overrides", "[1]"], r"--overrides is '\[1\]', not an object"),
        (["--overrides", '{"sclaes": {}}'], "unknown key 'sclaes'"),
        (["--overrides", '{"studies": {"bandit": {"like": "dsk"}}}'], "unknown scale 'dsk'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(plan, capsys, module, more, told):
    assert module.main([*COMMANDS[module], *more]) == 2
    err = capsys.readouterr().err
    assert re.search(told, err) and err.count("\n") == 1


@pytest.mark.parametrize("module", COMMANDS)
def test_a_study_that_is_not_known_is_refused_in_one_line(plan, capsys, module):
    option, _, *rest = COMMANDS[module]
    assert module.main([option, "bandid", *rest]) == 2
    assert re.fullmatch("unknown scale 'bandid'; .*'bandit'\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "error", [NotWritten("x cannot be written: No space"), OSError(28, "No space")]
)
def test_a_disk_that_is_full_is_told_in_one_line(plan, capsys, monkeypatch, error):
    def write(*_):
        raise error

    train(plan)
    monkeypatch.setattr(run_probes, "write", write)
    assert policies.main(["--study", "own", "--overrides", json.dumps(OVERRIDES)]) == 1
    assert re.fullmatch(".*No space\n", capsys.readouterr().err)
