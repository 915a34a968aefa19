"""The workflow through a real Slurm: what passes, fails, is stopped at a limit, loses its node.

    python tests/cluster.py [passing] [failing] [limited] [losing]

Each situation copies the repository, trains the same runs there without a scheduler where they are
few, brings up a Slurm of two nodes (`tests/slurm.py`), runs the workflow with `profiles/slurm` as
shipped, and compares to the byte. Exit status 0 if all is as it should be. Minutes each.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from repository import TINY, WORKFLOW, copy
from slurm import Slurm, command_of, descendants, wait_for

PROFILE = ["--workflow-profile", "profiles/slurm"]
# Of what a user edits: the nodes have GPUs that are none. Of what makes it quick: when to ask.
HERE = ["--set-resources", "train:gpu=1", "--cores", "2"]
HERE += ["--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"]
HERE += ["--latency-wait", "10"]
FEW = TINY | {
    "algorithms": ["sac"],
    "transitions": 4000,
    "warm_up": 500,
    "evaluate_every": 1000,
    "settings": {"hidden_width": 32, "batch_size": 32},
}
"""A scale of two runs of half a minute."""
MINUTES = FEW | {"seeds": [0], "transitions": 100_000, "evaluate_every": 10_000}
"""A scale of one run, of more than the shortest time limit (a minute, kept to half a minute)."""


class Suite:
    """A copy of the repository, with the scale `few` if there is one."""

    def __init__(self, folder: Path, few: dict[str, Any] | None = None):
        self.folder, self.few = folder, few
        copy((*WORKFLOW, "results/probes", "results/throughput.csv"), folder)
        if few is not None:
            (folder / "few.yaml").write_text(yaml.safe_dump({"scales": {"few": few}}))

    @contextmanager
    def workflow(self, *arguments: str, **config: Any) -> Iterator[subprocess.Popen]:
        """Snakemake at work on this copy; what it says is in `snakemake.out`."""
        settings = [f"{key}={value}" for key, value in ({"device": "cpu"} | config).items()]
        command = [sys.executable, "-m", "snakemake", *arguments, "--config", *settings]
        if self.few is not None:
            command += ["--configfile", "few.yaml"]
        with (self.folder / "snakemake.out").open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()

    @property
    def told(self) -> str:
        """What Snakemake said."""
        return (self.folder / "snakemake.out").read_text()

    def run(self, *arguments: str, **config: Any) -> None:
        """A workflow from its beginning to its end, which has to be a good one."""
        with self.workflow(*arguments, **config) as process:
            self.finish(process)

    def finish(self, process: subprocess.Popen) -> None:
        """Wait for a workflow. Raises AssertionError with its last words if it ends badly."""
        assert process.wait() == 0, self.told[-8000:]

    def evaluations(self) -> dict[str, bytes]:
        """`evaluations.csv` of every record, by the run's folder."""
        files = sorted((self.folder / "results/runs").glob("**/evaluations.csv"))
        return {str(file.parent.relative_to(self.folder)): file.read_bytes() for file in files}

    def document(self, run: str) -> dict[str, Any]:
        """run.json of a run, by its folder."""
        return json.loads((self.folder / run / "run.json").read_text())


class Situation:
    """A copy with a Slurm under it, and what the same runs gave without one."""

    def __init__(self, folder: Path, slurm: Slurm, few: dict[str, Any] | None):
        self.slurm, self.suite = slurm, Suite(folder / "scheduled", few)
        self.target = ["results/few/plan.json"] if few else ["smoke"]

    def states(self, rule: str) -> list[str]:
        """Of all jobs of a rule, in the order in which they were submitted."""
        jobs = sorted(self.slurm.jobs().items(), key=lambda item: int(item[0]))
        about = [(state, self.slurm.job(number)) for number, state in jobs]
        return [state for state, job in about if job.get("Comment", "").startswith(f"rule_{rule}")]

    def training(self, part: str = "") -> int | None:
        """Process of a training run that Slurm started, with `part` in its command."""
        for pid in descendants(os.getpid()):
            command = command_of(pid)
            if "-m algorithms.train" in command and part in command and "snakemake" not in command:
                return pid
        return None

    def wait_for_training(self, part: str = "") -> int:
        """As `training`, once it is at work."""
        return wait_for(lambda: self.training(part), 120, lambda: self.suite.told[-8000:])

    def log(self, run: str) -> str:
        """Log of a run, by its folder; empty before there is one."""
        file = self.suite.folder / "logs" / f"{run.removeprefix('results/runs/')}.log"
        return file.read_text() if file.exists() else ""


def passing(here: Situation) -> str:
    """The smoke scale: every job ends well, one GPU job at a time on each node."""
    suite = here.suite
    with suite.workflow(*here.target, *PROFILE, *HERE) as process:
        most = 0
        while process.poll() is None:
            gpu_jobs = Counter()
            for number, state in here.slurm.jobs().items():
                job = here.slurm.job(number) if state == "RUNNING" else {}
                if "gpu" in job.get("TresPerJob", ""):
                    gpu_jobs[job.get("NodeList", "")] += 1
            most = max([most, *gpu_jobs.values()])
            time.sleep(2)
        suite.finish(process)
    states = Counter(here.slurm.jobs().values())
    assert set(states) == {"COMPLETED"}, states
    assert here.states("train") == ["COMPLETED"] * 20, here.states("train")
    assert most == 1, f"{most} jobs at a time on a node's one GPU"
    assert (suite.folder / "results/smoke/table1.csv").exists()
    assert (suite.folder / "results/smoke/report.html").exists()
    # The plan asks for no more than is there: nothing is left to be done.
    with suite.workflow(*here.target, "-n", "--cores", "1") as process:
        suite.finish(process)
    assert "Nothing to be done" in suite.told[-3000:], suite.told[-3000:]
    run = "results/runs/smoke/Hopper-v4/ppo/seed0"
    return f"{sum(states.values())} jobs; {run} is {_compared(here, {run: _alone(suite, run)})}"


def failing(here: Situation) -> str:
    """A run is killed, as the kernel does where memory is short: it is submitted again."""
    suite = here.suite
    undisturbed = _undisturbed(here)
    with suite.workflow(*here.target, *PROFILE, *HERE) as process:
        pid = here.wait_for_training("--seed 0")
        time.sleep(3)
        os.kill(pid, signal.SIGKILL)
        suite.finish(process)
    states = here.states("train")
    assert sorted(states) == ["COMPLETED", "COMPLETED", "FAILED"], states
    # A retry asks for more memory, and for what it would have asked for otherwise.
    asked = [job.get("MinMemoryNode") for job in _jobs_of(here, "train")]
    assert len(set(asked)) == 2, asked
    return f"train jobs {states}; evaluations are {_compared(here, undisturbed)}"


def limited(here: Situation) -> str:
    """A run of minutes under a time limit of one: it is stopped, saves, and goes on."""
    suite = here.suite
    undisturbed = _undisturbed(here)
    suite.run(*here.target, *PROFILE, *HERE, longest_job_minutes=1)
    states, (run,) = here.states("train"), undisturbed
    assert states[-1] == "COMPLETED" and "TIMEOUT" in states[:-1], states
    assert {job["TimeLimit"] for job in _jobs_of(here, "train")} == {"00:01:00"}
    # Checkpoints are five minutes apart: in a run this short one was saved because it was to stop.
    assert "going on from" in here.log(run), here.log(run)
    document = suite.document(run)
    resumptions = document["resumptions"]
    assert resumptions == len(states) - 1 and document["wall_seconds"] < 300, document
    told = _compared(here, undisturbed)
    return f"train jobs {states}, resumed {resumptions} times; evaluations are {told}"


def losing(here: Situation) -> str:
    """A node's slurmd is killed under a running job: another node does it, and waits for what still
    runs on the lost one, if anything does."""
    suite = here.suite
    undisturbed = _undisturbed(here)
    (run,) = undisturbed
    with suite.workflow(*here.target, *PROFILE, *HERE) as process:
        here.wait_for_training()
        (job,) = _jobs_of(here, "train")
        node = job["NodeList"]
        here.slurm.stop(node)
        suite.finish(process)
    jobs, states = _jobs_of(here, "train"), here.states("train")
    assert len(jobs) == 2 and states == ["NODE_FAIL", "COMPLETED"], states
    assert jobs[1]["NodeList"] != node
    waited = "waiting for the process" in here.log(run)
    told = _compared(here, undisturbed)
    found = "which waited for the lost one" if waited else "which went on by itself"
    return f"{node} was lost, then {jobs[1]['NodeList']}, {found}; evaluations are {told}"


SITUATIONS: dict[str, tuple[Callable[[Situation], str], dict[str, Any] | None]] = {
    "passing": (passing, None),
    "failing": (failing, FEW),
    "limited": (limited, MINUTES),
    "losing": (losing, MINUTES),
}
"""What is done, and the scale that it is done with (else smoke)."""


def _jobs_of(here: Situation, rule: str) -> list[dict[str, str]]:
    numbers = sorted(here.slurm.jobs(), key=int)
    jobs = [here.slurm.job(number) for number in numbers]
    return [job for job in jobs if job.get("Comment", "").startswith(f"rule_{rule}")]


def _undisturbed(here: Situation) -> dict[str, bytes]:
    """Evaluations of the same runs, trained without a scheduler."""
    alone = Suite(here.suite.folder.parent / "undisturbed", here.suite.few)
    alone.run(*here.target, "--cores", "1")
    return alone.evaluations()


def _alone(suite: Suite, run: str) -> bytes:
    """Evaluations of one run by its own command, as its record gives it."""
    command = suite.document(run)["command"]
    folder = suite.folder.parent / "alone"
    command[command.index("--output") + 1] = str(folder)
    subprocess.run([sys.executable, *command[1:]], cwd=suite.folder, check=True)
    return (folder / "evaluations.csv").read_bytes()


def _compared(here: Situation, expected: dict[str, bytes]) -> str:
    found = here.suite.evaluations()
    assert expected
    for run, content in expected.items():
        assert found[run] == content, f"{run}/evaluations.csv is another"
    return "the same to the byte"


def main(names: list[str]) -> int:
    """Go through situations by name, all of them where none is given; returns the exit status."""
    unknown = [name for name in names if name not in SITUATIONS]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(SITUATIONS)}", file=sys.stderr)
        return 2
    for name in names or SITUATIONS:
        began = time.monotonic()
        act, few = SITUATIONS[name]
        with tempfile.TemporaryDirectory(prefix="suite-") as folder:
            with Slurm(Path(folder) / "slurm") as slurm:
                try:
                    told = act(Situation(Path(folder), slurm, few))
                except AssertionError as error:
                    print(f"{name}: failed after {time.monotonic() - began:.0f} s: {error}")
                    return 1
        print(f"{name}: passed in {time.monotonic() - began:.0f} s: {told}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
