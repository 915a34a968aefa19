"""A Slurm of two nodes on this machine: brought up on loopback, each node with a GPU that is none.

    with Slurm(folder) as slurm:
        ...                          # sbatch, squeue and the like answer
        slurm.stop("n1")

It is taken down by the ids of the processes that it started, and /etc/slurm is as it was. Needs
root, and Debian's slurmctld, slurmd, slurm-client, munge and slurm-wlm-basic-plugins.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "sinfo")
NODES = ("n1", "n2")
CONFIGURATION = Path("/etc/slurm")
"""SLURM_CONF alone is not enough: slurmstepd reads this folder."""
NODE_LOST_SECONDS = 20
"""A node that does not answer for so long is taken to be down."""
_CONF = """\
ClusterName=suite
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
SlurmdTimeout={node_lost_seconds}
KillWait=10
MinJobAge=3600
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=2 \
RealMemory=8000 Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=1440 DefaultTime=5 State=UP
"""
_GRES = "".join(f"NodeName={node} Name=gpu File=/dev/null\n" for node in NODES)
_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER: whatever a daemon leaves behind becomes a child of this process."""


def is_installed() -> bool:
    """Whether this process could bring a Slurm up."""
    return os.geteuid() == 0 and all(map(shutil.which, PROGRAMS))


class Slurm:
    """A running Slurm; a context manager. Its processes are descendants of this one."""

    def __init__(self, folder: Path):
        """`folder` is empty, for state and logs. Entering raises TimeoutError, with its logs, where
        it does not come up."""
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen] = {}
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> "Slurm":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        with contextlib.ExitStack() as undo:
            undo.enter_context(self._configured())
            undo.callback(self._end)
            if not _answers(["munge", "-n"]):
                for folder in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
                    os.makedirs(folder, exist_ok=True)
                    shutil.chown(folder, "munge", "munge")
                self._start("munged", "runuser", "-u", "munge", "--", "munged", "-F")
                wait_for(lambda: _answers(["munge", "-n"]), 20, "munged does not answer")
            self._start("slurmctld", "slurmctld", "-D")
            for node in NODES:
                (self.folder / "spool" / node).mkdir(parents=True)
                self._start(node, "slurmd", "-D", "-N", node)
            wait_for(lambda: self.node_states() == ["idle"] * len(NODES), 60, self._log)
            self._cleanup = undo.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._cleanup.close()

    def node_states(self) -> list[str]:
        """As `sinfo` says, node by node; empty where nothing answers."""
        ended = _run("sinfo", "--noheader", "--Node", "--format=%T")
        return ended.stdout.split() if ended.returncode == 0 else []

    def jobs(self) -> dict[str, str]:
        """State by id of every job that there was."""
        told = _run("squeue", "--states=all", "--noheader", "--format=%i %T").stdout
        return dict(line.split() for line in told.splitlines())

    def job(self, number: str) -> dict[str, str]:
        """What Slurm has on a job, such as Comment, BatchHost and TimeLimit."""
        told = _run("scontrol", "show", "job", number).stdout.split()
        return dict(word.split("=", 1) for word in told if "=" in word)

    def stop(self, node: str) -> None:
        """Kill a node's daemon, as a node that is gone looks from outside. What ran there goes on
        running, which a node that lost only its network does, too."""
        daemon = self.daemons.pop(node)
        daemon.kill()
        daemon.wait()

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out").open("wb") as output:
            self.daemons[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @contextlib.contextmanager
    def _configured(self) -> Iterator[None]:
        """This Slurm's configuration in /etc/slurm, and afterwards what was there before."""
        (self.folder / "state").mkdir(parents=True)
        names = {"folder": self.folder, "host": socket.gethostname().split(".")[0]}
        text = _CONF.format(**names, node_lost_seconds=NODE_LOST_SECONDS)
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text(_GRES)
        was_there, aside = CONFIGURATION.exists(), []
        CONFIGURATION.mkdir(exist_ok=True)
        try:
            for name in ("slurm.conf", "gres.conf"):
                if os.path.lexists(CONFIGURATION / name):
                    aside.append(name)
                    (CONFIGURATION / name).rename(CONFIGURATION / f"{name}.aside")
                (CONFIGURATION / name).symlink_to(self.folder / name)
            yield
        finally:
            for name in ("slurm.conf", "gres.conf"):
                (CONFIGURATION / name).unlink(missing_ok=True)
            for name in aside:
                (CONFIGURATION / f"{name}.aside").rename(CONFIGURATION / name)
            if not was_there:
                CONFIGURATION.rmdir()

    def _end(self) -> None:
        """End all that this Slurm started: its jobs, its daemons, and what either left behind."""
        running = [number for number, state in self.jobs().items() if state in _UNDER_WAY]
        if running:
            _run("scancel", *running)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(TimeoutError):
                wait_for(lambda: not descendants(os.getpid()), 10, "")
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def _log(self) -> str:
        logs = sorted(self.folder.glob("*.log")) + sorted(self.folder.glob("*.out"))
        return "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in logs)


_UNDER_WAY = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED")


def descendants(pid: int) -> list[int]:
    """Living processes under this one, children before grandchildren."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything.
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.parent.name))
    found, level = [], [pid]
    while level:
        level = [child for parent in level for child in children.get(parent, [])]
        found += level
    return found


def command_of(pid: int) -> str:
    """Command line of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def wait_for(
    condition: Callable[[], object], seconds: float, told: str | Callable[[], str]
) -> object:
    """The first value of `condition` that is true. Raises TimeoutError after `seconds`, saying what
    was `told`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(told if isinstance(told, str) else told())
        time.sleep(0.2)
    return value


def _run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True)


def _answers(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0
