"""From a folder to a record: who may write there, where to go on, what is left at the end."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from algorithms import record
from algorithms.checkpoint import Checkpoints
from algorithms.compilation import can_compile
from algorithms.device import resolve_device
from algorithms.evaluation import NotFinite
from algorithms.files import NotWritten
from algorithms.loop import Stopped, Training
from algorithms.metrics import Progress
from algorithms.options import Refused, configuration_hash, differing_field, value_of

LOCK = ".lock"
CHECKPOINTS = "checkpoint"
FAILED = 1
"""Exit status where the disk did not take what was to be written."""


class Session:
    """One process's work on a run in a folder."""

    def __init__(self, configuration: dict[str, Any], options: Any, command: list[str]):
        """`options` are those of the command line (`algorithms.train.Options`).

        Raises Refused for a device or an extra that is not there.
        """
        self.configuration, self.options, self.command = configuration, options, command
        self.folder: Path = options.output
        self.checkpoints = Checkpoints(self.folder / CHECKPOINTS)
        torch.set_num_threads(options.threads)
        try:
            self.device = resolve_device(options.device)
        except ValueError as error:
            raise Refused(error) from None
        if options.tensorboard is not None and find_spec("tensorboard") is None:
            raise Refused("--tensorboard needs the extra: pip install -e '.[tensorboard]'")
        self.compiled = options.compile and can_compile(self.device.type)
        self.conditions = {
            "device": self.device.type,
            "compiled": self.compiled,
            "threads": options.threads,
            "versions": record.versions(),
        }
        """What a run cannot change midway and give the same bytes."""
        self.code = [record.code_state()]
        """Of every process that worked on the run, this one last."""
        self.machines = [{**record.machine(), "device": record.device_name(self.device)}]
        """Likewise: a cluster's next job may land on another node."""
        self.earlier_peak_device_memory_bytes = 0

    def run(self, began: float) -> int:
        """Take the record that is there, or make it; returns the exit status.

        Raises Refused where another run, or another process, has the folder.
        """
        if self.is_recorded():
            if self.checkpoints.folder.exists():  # killed between the record and the clean-up
                with contextlib.suppress(Refused), self._locked():
                    self._leave_nothing_but_the_record()
            return 0
        with self._locked():
            if self.is_recorded():  # by the process that was waited for
                self._leave_nothing_but_the_record()
                return 0
            try:
                training = Training(self.configuration, self.device, self.compiled, began)
            except ValueError as error:
                raise Refused(error) from None
            # `auto` may be something else on a cluster's next node.
            self.conditions |= training.agent.resolved()
            try:
                return self._train(training)
            except NotWritten as error:
                print(f"{error}; what was saved before stands", file=sys.stderr)
                return FAILED
            finally:
                training.close()

    def is_recorded(self) -> bool:
        """Whether the record of this very run is there. Raises Refused for one of another run, and
        for a damaged one."""
        document = record.read_document(self.folder)
        if document is None:
            return False
        self._refuse_another(document["configuration"], "the record", self.folder)
        print(f"{self.folder} holds the record of this run ({document['status']}); nothing to do")
        return True

    def _refuse_another(self, found: dict[str, Any], what: str, folder: Path) -> None:
        field = differing_field(found, self.configuration)
        if field is not None:
            there, here = value_of(found, field), value_of(self.configuration, field)
            raise Refused(
                f"{self.folder} holds {what} of another run: {field} is {there!r} there, {here!r} "
                f"here; delete {folder} or choose another --output"
            )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Only one process at a time; its lock ends with it, however it ends."""
        made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        file = self.folder / LOCK
        was_there = file.exists()
        lock = FileLock(file)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._acquire(lock)
        except OSError as error:
            raise Refused(f"{self.folder} cannot be written to: {error.strerror}") from None
        try:
            yield
        except Refused:
            if not was_there:
                file.unlink()
            for folder in made:
                folder.rmdir()
            raise
        finally:
            lock.release()

    def _acquire(self, lock: FileLock) -> None:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if self.options.when_locked == "refuse":
                raise Refused(
                    f"another process is at work in {self.folder}; wait for it to end, or give "
                    "--when-locked wait"
                ) from None
            print(f"waiting for the process that is at work in {self.folder}", flush=True)
            lock.acquire(poll_interval=0.5)

    def _train(self, training: Training) -> int:
        self._resume(training)
        done, total = training.transitions, self.configuration["transitions"]
        c = self.configuration
        progress = Progress(total, done, f"{c['algorithm']} {c['env']} seed {c['seed']}")
        divergence = None
        with _told_to_stop(training) as told, self._watch() as watch:
            try:
                training.run(self._save, self.options.checkpoint_seconds, progress, watch)
            except Stopped:
                progress.say(f"stopped at {training.transitions} transitions; the state is saved")
                return 128 + told[0]
            except NotFinite as error:
                divergence = {"update": error.update, "tensor": error.tensor}
                training.add_metrics_row(watch, should_check=False)
                progress.say(f"diverged at {training.transitions} transitions: {error}")
            finally:
                progress.close()
        self._leave_record(training, divergence)
        return 0

    def _save(self, training: dict[str, Any]) -> None:
        self.checkpoints.save(
            {
                "configuration": self.configuration,
                "conditions": self.conditions,
                "code": self.code,
                "machines": self.machines,
                "peak_device_memory_bytes": self._peak_device_memory_bytes(),
                "training": training,
            }
        )

    def _resume(self, training: Training) -> None:
        """Go on from the newest whole checkpoint, if there is one. Raises Refused."""
        state, complaints = self.checkpoints.load(self.device)
        for complaint in complaints:
            print(complaint, file=sys.stderr)
        if state is None:
            if complaints:
                print("no whole checkpoint is left: starting anew", file=sys.stderr)
            return
        self._refuse_another(state["configuration"], "a checkpoint", self.checkpoints.folder)
        for name, here in self.conditions.items():
            there = state["conditions"].get(name, here)  # older than the condition
            if there != here:
                raise Refused(
                    f"the checkpoint in {self.folder} was made with {name} {there}, here it is "
                    f"{here}; go on as before, or delete {self.checkpoints.folder} to start anew"
                )
        try:
            training.load_state_dict(state["training"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            raise Refused(
                f"the checkpoint in {self.folder} does not fit this code ({reason}); "
                f"delete {self.checkpoints.folder} to start anew"
            ) from None
        training.resumptions += 1
        self.code = [*state["code"], *self.code]
        self.machines = [*state.get("machines", ()), *self.machines]
        self.earlier_peak_device_memory_bytes = state.get("peak_device_memory_bytes", 0)
        print(f"going on from {training.transitions} transitions", file=sys.stderr)

    def _peak_device_memory_bytes(self) -> int:
        """The most that any process of the run has allocated on a GPU; 0 without one."""
        if self.device.type != "cuda":
            return 0
        here = torch.cuda.max_memory_allocated(self.device)
        return max(here, self.earlier_peak_device_memory_bytes)

    def _leave_record(self, training: Training, divergence: dict[str, Any] | None) -> None:
        """Write the record, its `run.json` last, and remove what it makes superfluous."""
        tables = {
            "evaluations.csv": record.table(record.EVALUATION_COLUMNS, training.evaluations),
            "metrics.csv": record.metrics_table(training.metrics),
        }
        record.write_policy(self.folder, training.agent, self.configuration)
        training.tell_time()
        record.write_record(self.folder, self._document(training, divergence), tables)
        self._leave_nothing_but_the_record()

    def _document(self, training: Training, divergence: dict[str, Any] | None) -> dict[str, Any]:
        """`run.json`."""
        seconds = {name: round(value, 3) for name, value in training.seconds.items()}
        document = {
            "status": "complete" if divergence is None else "diverged",
            "configuration": self.configuration,
            "configuration_hash": configuration_hash(self.configuration),
            "resolved": {"compiled": self.compiled, **training.agent.resolved()},
            "transitions": training.transitions,
            "updates": training.agent.updates,
            "optimiser_steps": training.agent.optimiser_steps,
            "command": self.command,
            **self.code[-1],
            "versions": self.conditions["versions"],
            "machine": record.machine(),
            "device": self.machines[-1]["device"],
            "threads": torch.get_num_threads(),
            "wall_seconds": seconds.pop("wall"),
            "cpu_seconds": seconds.pop("cpu"),
            "seconds": seconds,
            "peak_memory_bytes": training.peak_memory_bytes,
            "memory": [{"transitions": at, "resident_bytes": size} for at, size in training.memory],
            "resumptions": training.resumptions,
        }
        if self.device.type == "cuda":
            document["peak_device_memory_bytes"] = self._peak_device_memory_bytes()
        if divergence is not None:
            document["divergence"] = {"transitions": training.transitions, **divergence}
        earlier = [code for code in self.code[:-1] if code != self.code[-1]]
        if earlier:
            document["earlier_code"] = earlier
        others = [machine for machine in self.machines[:-1] if machine != self.machines[-1]]
        if others:
            document["earlier_machines"] = others
        return document

    def _leave_nothing_but_the_record(self) -> None:
        self.checkpoints.remove()
        (self.folder / LOCK).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _watch(self) -> Iterator[Callable[[str, dict[str, Any], int], None]]:
        """What is shown every row of metrics and every evaluation: TensorBoard, or nothing."""
        if self.options.tensorboard is None:
            yield lambda kind, values, at: None
            return
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(self.options.tensorboard)) as writer:

            def watch(kind: str, values: dict[str, Any], at: int) -> None:
                for name, value in values.items():
                    if value is not None:
                        writer.add_scalar(f"{kind}/{name}", value, at)

            yield watch


@contextlib.contextmanager
def _told_to_stop(training: Training) -> Iterator[list[int]]:
    """While inside, SIGTERM and SIGINT stop the run before its next vector step; the list holds
    the signal that did."""
    told: list[int] = []

    def stop(number: int, frame: Any) -> None:
        told.append(number)
        training.should_stop = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
