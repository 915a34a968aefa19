"""Profiles for schedulers: options and rules that exist, scripts that keep their contract."""

import os
import re
import stat
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from snakemake.cli import get_argument_parser

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ("default", "slurm", "cluster-generic")


def profile(name: str) -> dict:
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())


def unknown_keys(document: dict) -> set[str]:
    """Keys that are no option of Snakemake; options of a plugin count where it is installed."""
    flags = {flag for action in get_argument_parser()._actions for flag in action.option_strings}
    executor = document.get("executor", "none")
    is_installed = find_spec(f"snakemake_executor_plugin_{executor.replace('-', '_')}")
    return {
        key
        for key in document
        if f"--{key}" not in flags and (is_installed or not key.startswith(f"{executor}-"))
    }


@pytest.mark.parametrize("name", PROFILES)
def test_every_key_of_a_profile_is_an_option(name):
    assert not unknown_keys(profile(name))
    assert unknown_keys(profile(name) | {"retrys": 3}) == {"retrys"}


@pytest.fixture(scope="module")
def rules() -> set[str]:
    command = [sys.executable, "-m", "snakemake", "--list-rules", "--workflow-profile", "none"]
    ended = subprocess.run([*command, "--cores", "1"], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return set(ended.stdout.split())


def test_every_rule_that_a_profile_names_is_there(rules):
    for name in PROFILES:
        document = profile(name)
        named = {*document.get("set-resources", {}), *document.get("groups", {})}
        assert named <= rules, name
        assert not {"measure_cost"} <= rules
        groups = set(document.get("groups", {}).values())
        assert set(document.get("group-components", {})) == groups


def test_retries_are_the_profiles_and_no_rules():
    """On a rule they nest: each attempt of the profile's would be as many again."""
    rules = [*(ROOT / "rules").glob("*.smk"), ROOT / "Snakefile"]
    has_retries = re.compile(r"^\s+retries:", re.MULTILINE)
    assert not any(has_retries.search(file.read_text()) for file in rules)
    assert has_retries.search("rule train:\n    retries: 2\n")
    assert "retries" in profile("slurm") and "retries" in profile("cluster-generic")


def test_no_rule_that_trains_is_grouped():
    """A group ends as a whole, and its time limit would be that of the runs in it together."""
    for name in PROFILES:
        assert not {"train", "count_visits"} & set(profile(name).get("groups", {}))


# OpenPBS's commands as far as the scripts use them; jobs are processes of this machine.
QSUB = """\
#!/usr/bin/env bash
echo "$@" >>"$JOBS/asked"
while [ "$1" != -- ]; do shift; done
shift
id=$(mktemp -u "$JOBS/XXXXXX")
# A session of its own, so that what is cancelled leaves nothing behind.
setsid bash -c 'echo R >"$0.state"; "$@"; echo "F $?" >"$0.state"' "$id" "$@" >/dev/null 2>&1 &
echo $! >"$id.pid"
basename "$id"
"""
QSTAT = """\
#!/usr/bin/env bash
[ -e "$JOBS/down" ] && { echo "cannot connect to server" >&2; exit 255; }
shift 2
[ -e "$JOBS/$1.pid" ] || { echo "qstat: Unknown Job Id $1" >&2; exit 153; }
read -r state status <"$JOBS/$1.state" || state=Q
printf 'Job Id: %s\\n    Job_Name = suite\\n    job_state = %s\\n' "$1" "$state"
[ -z "$status" ] || printf '    Exit_status = %s\\n' "$status"
"""
QDEL = """\
#!/usr/bin/env bash
for id in "$@"; do kill -- "-$(cat "$JOBS/$id.pid")"; echo "F 271" >"$JOBS/$id.state"; done
"""


class Scheduler:
    """The scripts, with a stand-in of the scheduler's commands."""

    def __init__(self, folder: Path):
        self.jobs = folder / "jobs"
        self.jobs.mkdir()
        for name, text in (("qsub", QSUB), ("qstat", QSTAT), ("qdel", QDEL)):
            (folder / name).write_text(text)
            (folder / name).chmod(stat.S_IRWXU)
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": path, "JOBS": str(self.jobs)}
        self.folder = folder

    def call(self, script: str, *arguments: str) -> str:
        ended = subprocess.run(
            [ROOT / f"profiles/cluster-generic/{script}.sh", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def submit(self, text: str) -> str:
        script = self.folder / f"job {len(list(self.folder.iterdir()))}.sh"
        script.write_text(text)
        (number,) = self.call("submit", "65", "2000", "1", "0", str(script)).splitlines()
        return number

    def status(self, number: str) -> str:
        """The one word that Snakemake takes."""
        (word,) = self.call("status", number).splitlines()
        return word

    def ended(self, number: str) -> str:
        deadline = time.monotonic() + 20
        while (word := self.status(number)) == "running" and time.monotonic() < deadline:
            time.sleep(0.02)
        return word


@pytest.fixture
def scheduler(tmp_path) -> Scheduler:
    return Scheduler(tmp_path)


def test_a_job_is_running_and_then_what_it_ended_as(scheduler):
    good = scheduler.submit("until [ -e go ]; do sleep 0.02; done")
    assert scheduler.status(good) == "running"
    (scheduler.folder / "go").touch()
    assert scheduler.ended(good) == "success"
    assert scheduler.ended(scheduler.submit("exit 3")) == "failed"


def test_a_job_asks_for_what_snakemake_says(scheduler):
    scheduler.submit("true")
    asked = (scheduler.jobs / "asked").read_text()
    assert "select=1:ncpus=1:mem=2000mb:ngpus=0 " in asked and "walltime=1:5:00 " in asked


def test_a_scheduler_that_does_not_answer_says_nothing_of_a_job(scheduler):
    number = scheduler.submit("exit 0")
    scheduler.ended(number)
    (scheduler.jobs / "down").touch()
    assert scheduler.status(number) == "running"
    (scheduler.jobs / "down").unlink()
    assert scheduler.status(number) == "success"
    # One that it has forgotten is another matter.
    assert scheduler.status("none") == "failed"


def test_a_job_that_is_cancelled_has_failed(scheduler):
    numbers = [scheduler.submit("sleep 60"), scheduler.submit("sleep 60")]
    scheduler.call("cancel", *numbers)
    assert [scheduler.ended(number) for number in numbers] == ["failed", "failed"]
