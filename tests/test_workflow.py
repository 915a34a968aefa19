"""The workflow on planted records: it trains what has none, and never touches one that is there."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from repository import ROOT, TINY, WORKFLOW, copy
from run_records import plant_record

from analysis import records
from analysis.plan import Plan


class Suite:
    """A copy of the repository with the scale `tiny`."""

    def __init__(self, folder: Path, like: "Suite | None" = None):
        self.folder = folder
        if like is not None:
            shutil.copytree(like.folder, folder, dirs_exist_ok=True)
        else:
            copy(WORKFLOW, folder)
        self.configure({})

    def configure(self, changes: dict) -> None:
        """Change the tiny scale, by the file that --configfile names."""
        self.overrides = {"scales": {"tiny": TINY | changes}}
        (self.folder / "tiny.yaml").write_text(yaml.safe_dump(self.overrides))

    def command(self, *arguments: str) -> list[str]:
        # --configfile takes every word after it for a file, so targets stand before it.
        snakemake = [sys.executable, "-m", "snakemake", *arguments]
        return [*snakemake, "--cores", "2", "--configfile", "tiny.yaml"]

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        """Standard output and error together in `stdout`."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def scheduled(self, *arguments: str) -> dict[str, int]:
        """Jobs by rule of a dry run that has to succeed."""
        ended = self.run("-n", *arguments)
        assert ended.returncode == 0, ended.stdout
        if "Nothing to be done" in ended.stdout:
            return {}
        table = re.search(r"^job +count\n[- ]+\n((?:\S+ +\d+\n)+)", ended.stdout, re.M)
        return {rule: int(n) for rule, n in re.findall(r"(\S+) +(\d+)\n", table[1])}

    def plant_all(self) -> None:
        """A record for each run of the scale."""
        before = os.getcwd()
        os.chdir(self.folder)
        try:
            plan = Plan(self.overrides)
            resolved = plan.resolve("tiny")["runs"]
            for run in plan.runs("tiny"):
                plant_record(run.path, resolved[run.name]["configuration"])
        finally:
            os.chdir(before)

    @property
    def records(self) -> list[Path]:
        """Folders of the four records."""
        return sorted(self.folder.glob("results/runs/tiny/*/*/*"))

    def name(self, path: Path) -> str:
        """As the workflow calls it."""
        return str(path.relative_to(self.folder))


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Suite:
    """Planted once; the copies also share the configurations resolved here."""
    suite = Suite(tmp_path_factory.mktemp("template"))
    suite.plant_all()
    return suite


@pytest.fixture
def recorded(tmp_path, template) -> Suite:
    """With a record for each of the four runs."""
    return Suite(tmp_path, template)


@pytest.fixture
def empty(recorded) -> Suite:
    """With no record."""
    shutil.rmtree(recorded.folder / "results")
    return recorded


def contents(folders: list[Path]) -> dict[Path, tuple[bytes, int]]:
    """Bytes and dates of records."""
    files = [folder / name for folder in folders for name in records.FILES]
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def test_exactly_the_runs_without_a_record_are_scheduled(recorded):
    ended = recorded.run("-n", "tiny")
    assert "tiny: 4 of 4 runs are recorded, none is to be trained" in ended.stdout
    assert "rule train" not in ended.stdout and "rule tables" in ended.stdout
    (recorded.records[2] / "run.json").unlink()
    ended = recorded.run("-n", "tiny")
    assert "3 of 4 runs are recorded, 1 are to be trained: about" in ended.stdout
    trained = re.findall(r"rule train:.*?wildcards: run=(\S+)", ended.stdout, re.S)
    assert [f"results/runs/{run}" for run in trained] == [recorded.name(recorded.records[2])]


def test_no_flag_or_edited_rule_makes_a_record_again(recorded):
    rule = recorded.folder / "rules" / "train.smk"
    rule.write_text(rule.read_text().replace("threads: 1", "threads: 2"))
    before = contents(recorded.records)
    assert "train" not in recorded.scheduled("tiny", "--forceall")
    assert recorded.run("results/tiny/plan.json", "--forceall").returncode == 0
    assert contents(recorded.records) == before


def test_a_stale_record_is_refused_by_its_field(recorded):
    """The protocol changed after the run: nothing runs, nothing is overwritten."""
    before = contents(recorded.records)
    recorded.configure({"evaluation_episodes": 3})
    ended = recorded.run("tiny", "--forceall")
    assert ended.returncode == 2
    path = recorded.name(recorded.records[0])
    assert (
        f"{path}/run.json: stale: evaluation_episodes is 2 in the record, 3 in the protocol; "
        f"delete {path} to run it again" in ended.stdout
    )
    assert "Traceback" not in ended.stdout and "Job stats" not in ended.stdout
    assert contents(recorded.records) == before


def test_a_damaged_record_is_refused_with_the_folder_to_delete(recorded):
    file = recorded.records[1] / "evaluations.csv"
    file.write_bytes(file.read_bytes()[:-5])
    ended = recorded.run("tiny", "--forceall")
    assert ended.returncode == 2
    assert "evaluations.csv: cut short" in ended.stdout
    assert f"delete {recorded.name(recorded.records[1])} to run it again" in ended.stdout
    assert "Traceback" not in ended.stdout


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"transition": 7}, "scales.tiny: unknown key 'transition'; .* 'transitions'"),
        ({"settings": {"hidden_width": -1}}, "tiny: .*hidden_width"),
    ],
)
def test_nonsense_is_refused_before_anything_runs(empty, changes, told):
    empty.configure(changes)
    ended = empty.run("tiny")
    assert ended.returncode == 2
    assert len(re.findall(told, ended.stdout)) == 1
    assert "Traceback" not in ended.stdout and "Job stats" not in ended.stdout
    assert not (empty.folder / "results").exists() and not (empty.folder / "logs").exists()


def test_gaps_train_nothing_and_do_not_hide_what_is_to_be_trained(empty):
    """A plan.json made for gaps would look to Snakemake like one whose runs are all done."""
    gaps = empty.run("results/tiny/plan.json", "--config", "missing=gap")
    assert gaps.returncode == 0, gaps.stdout
    assert "0 of 4 runs are recorded, 4 are shown as gaps, none is trained" in gaps.stdout
    assert (empty.folder / "results/tiny/plan.json").exists()
    assert empty.scheduled("tiny")["train"] == 4


def test_what_is_derived_follows_records_not_dates(recorded):
    target = "results/tiny/plan.json"
    assert recorded.run(target).returncode == 0
    plan = (recorded.folder / target).read_bytes()
    assert recorded.scheduled(target) == {}
    # Another record with an old date, as a restored backup has it.
    file = recorded.records[0] / "evaluations.csv"
    text = file.read_text()
    at = text.rindex(".") + 1
    file.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    os.utime(file, (0, 0))
    assert recorded.run(target).returncode == 0
    assert (recorded.folder / target).read_bytes() != plan


@pytest.mark.long
def test_a_fresh_copy_with_all_records_derives_everything(recorded):
    before = contents(recorded.records)
    ended = recorded.run("tiny")
    assert ended.returncode == 0, ended.stdout
    artefacts = Plan(recorded.overrides).artefacts("tiny")
    assert all((recorded.folder / file).exists() for file in artefacts)
    assert contents(recorded.records) == before
    assert recorded.scheduled("tiny") == {}


@pytest.mark.long
def test_a_workflow_without_records_ends_with_a_table_of_named_gaps(empty):
    ended = empty.run("tiny", "--config", "missing=gap")
    assert ended.returncode == 0, ended.stdout
    assert "gap" in (empty.folder / "results/tiny/table1.md").read_text()


@pytest.mark.long
def test_a_killed_workflow_ends_with_the_same_tables(empty, template, tmp_path_factory):
    """SIGKILL to Snakemake leaves an orphan and a lock; the message says what to do."""
    undisturbed = Suite(tmp_path_factory.mktemp("undisturbed"), template)
    shutil.rmtree(undisturbed.folder / "results")
    ended = undisturbed.run("tiny")
    assert ended.returncode == 0, ended.stdout
    workflow = subprocess.Popen(
        empty.command("tiny"),
        cwd=empty.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not any(empty.folder.glob("logs/tiny/*/*/*.log")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2)
    workflow.send_signal(signal.SIGKILL)
    workflow.wait()
    locked = empty.run("tiny")
    assert locked.returncode != 0 and "--unlock" in locked.stdout
    assert empty.run("tiny", "--unlock").returncode == 0
    ended = empty.run("tiny")
    assert ended.returncode == 0, ended.stdout
    runs = [undisturbed.name(folder) for folder in undisturbed.records]
    names = ["results/tiny/table1.csv", "results/tiny/aggregate.csv"]
    for name in (*names, *(f"{run}/evaluations.csv" for run in runs)):
        assert (empty.folder / name).read_bytes() == (undisturbed.folder / name).read_bytes()


RULES = sorted([*ROOT.glob("Snakefile"), *ROOT.glob("rules/*.smk")])
LATE = re.compile(r"^ +shell:\n(?: +.*\n)*? +f['\"]", re.M)
"""A command that is a formatted string: it is put together when a job runs, and a loop's variable
is the last one by then, whatever a dry run prints."""


def test_no_command_reads_the_variable_of_a_loop_when_the_loop_is_over():
    assert not [file.name for file in RULES if LATE.search(file.read_text())]
    assert LATE.search('        shell:\n            f"probe {study} >{{log}}"\n')
    assert not LATE.search(
        '        params:\n            f"x"\n        shell:\n            "y {log}"\n'
    )


CALLED = re.compile(r"^ +shell:\n +[\"'](?:exec |\()?([\w.]+)|\| (\w+) ", re.M)


def test_rules_call_python_and_nothing_else():
    """What is installed is Python and pip's packages; coreutils are not everywhere."""
    called = {
        word for file in RULES for words in CALLED.findall(file.read_text()) for word in words
    }
    assert called == {"python", ""}
    assert (
        "sha256sum" in CALLED.findall('        shell:\n            "cat {x} | sha256sum >{y}"')[1]
    )


OUTPUT = re.compile(r'^\s*(captions\.if_captioned\()?f?"[^"]*figures/\{\w+\}\.svg"\)?,$')
"""A line that is a figure's file, and whether it is flagged there."""


def test_snakemakes_own_report_shows_every_figure():
    found = []
    for file in RULES:
        lines = file.read_text().splitlines()
        for before, line in zip(lines, lines[1:], strict=False):
            match = OUTPUT.match(line)
            if match:
                found.append((bool(match[1]) or before.strip() == "report(", file.name, line))
    assert len(found) >= 3 and all(is_shown for is_shown, *_ in found), found
    assert not OUTPUT.match('            f"results/figures/{table}.svg",')[1]
