"""Protocol -> every run and every artefact; with `analysis.artefacts`, where paths are known.

The Snakefile asks a `Plan` what there is to do. `python -m analysis.plan --scale NAME` checks the
records of a scale and leaves `plan.json` beside its derived files (layout: `analysis.records`),
which is what those read, so that they import neither torch nor an algorithm. Here algorithms are
imported too, but only where a configuration is not in the cache yet.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from algorithms.options import differing_field, value_of
from analysis import declarations, records
from analysis.artefacts import (
    AUDIT,
    FIGURES,
    RESULTS,
    TABLES,
    is_audit,
    laboratory_files,
    paper_of,
    probed,
)
from analysis.estimate import describe_cost
from analysis.plan_files import (
    SOURCES,
    probe_digests,
    remove_plan_elsewhere,
    renew,
    scale_document,
)
from analysis.probes import run_probes
from analysis.protocol import PROTOCOL, Protocol, ProtocolError, read_protocol
from analysis.resolution import (
    PlanError,
    PlannedRun,
    digest,
    read_overrides,
    refuse,
    resolved,
    write_whole,
)
from analysis.studies import Studies, at_hand

ROOT = Path(__file__).resolve().parent.parent
STAMPS = Path(".snakemake/outdated")


class Plan(Studies):
    """What a protocol asks for, and what of it is there.

    `protocol_file` with `overrides` merged in (those of Snakemake's command line). Raises
    ProtocolError if they make no sense; what needs an algorithm is checked when first asked for.
    """

    def __init__(
        self,
        overrides: Mapping[str, Any] | None = None,
        protocol_file: str | Path = PROTOCOL,
        is_main_process: bool = True,
    ):
        self.overrides = dict(overrides or {})
        self.protocol: Protocol = read_protocol(protocol_file, self.overrides)
        self.is_main_process = is_main_process
        self._resolved: dict[str, dict[str, Any]] = {}
        self._prepared: dict[str, list[str]] = {}

    @property
    def overrides_json(self) -> str:
        """What `--overrides` of a command takes, for it to read the same protocol."""
        return json.dumps(self.overrides, sort_keys=True)

    @property
    def scales(self) -> list[str]:
        """Names of all scales and studies."""
        return list(self.protocol.scales)

    @property
    def default(self) -> str:
        """The scale that `all` is of."""
        return self.protocol.default

    @property
    def missing(self) -> str:
        """`refuse` or `gap`."""
        return self.protocol.missing

    def folder(self, scale: str) -> str:
        """Where derived files of a scale stand."""
        return str(RESULTS if scale == self.default else RESULTS / scale)

    def scale_in(self, folder: str) -> str:
        """Inverse of `folder`."""
        return self._scale_by_folder[folder]

    @property
    def folders(self) -> str:
        """Regular expression for the folders of derived files."""
        return "|".join(map(re.escape, self._scale_by_folder))

    @cached_property
    def _scale_by_folder(self) -> dict[str, str]:
        return {self.folder(scale): scale for scale in self.scales}

    def artefacts(self, scale: str) -> list[str]:
        """Every derived file of a scale."""
        folder = self.folder(scale)
        figures = [f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "csv")]
        of_probes = probed() if scale == self.default else []
        names = [*TABLES, *figures, *of_probes, *AUDIT]
        names += [file for table in self.laboratory(scale) for file in laboratory_files(table)]
        return [*(f"{folder}/{name}" for name in names), paper_of(folder)]

    def read_by_audit(self, folder: str) -> list[str]:
        """What paper and report of a scale are made from, as far as the workflow makes it."""
        return [file for file in self.artefacts(self.scale_in(folder)) if not is_audit(file)]

    def evidence(self, folder: str) -> list[str]:
        """What the claims of a scale are decided from, as far as the workflow makes it: its own
        tables, and those of other scales that can be had without training anything."""
        try:
            document = declarations.read_claims()
        except records.RecordError as error:
            refuse(error)
        own = self.scale_in(folder)
        named = declarations.scales_read(document)
        scales = [own, *(s for s in named if s in self.scales and s != own and self.is_derived(s))]
        return [
            f"{self.folder(scale)}/{name}"
            for scale in scales
            for name in declarations.evidence_read(document, scale, own)
            if f"{self.folder(scale)}/{name}" in self.artefacts(scale)
        ]

    def is_derived(self, scale: str) -> bool:
        """Whether another scale's tables can be had without training anything: all of its runs are
        recorded, or some are and the others are to be shown as gaps."""
        recorded = [run.is_recorded for run in self.runs(scale)]
        if self.missing == "gap":
            return any(recorded)
        return bool(recorded) and all(recorded)  # none where what it compares is not registered

    def runs(self, scale: str) -> list[PlannedRun]:
        """Runs of a scale: environment by environment, label by label, seed by seed."""
        part = self.protocol.scale(scale)
        return [
            PlannedRun(f"{scale}/{env}/{entry.label}/seed{seed}", env, entry.label, seed)
            for env in part.environments
            for entry in part.entries
            for seed in part.seeds
        ]

    @cached_property
    def _run_by_name(self) -> dict[str, tuple[str, PlannedRun]]:
        return {run.name: (scale, run) for scale in self.scales for run in self.runs(scale)}

    @cached_property
    def trainable(self) -> str:
        """Regular expression for the names of runs without a record, of any scale.

        The train rule matches these only: a record is a source file, which no flag, date or code
        trigger makes again.
        """
        if self.missing == "gap":
            return "(?!)"
        names = (run.name for _, run in self._run_by_name.values() if not run.is_recorded)
        return "|".join(map(re.escape, names)) or "(?!)"

    def to_train(self, scale: str) -> list[PlannedRun]:
        """Runs without a record; none where they are to be shown as gaps."""
        if self.missing == "gap":
            return []
        return [run for run in self.runs(scale) if not run.is_recorded]

    def configuration(self, run: PlannedRun) -> dict[str, Any]:
        """The resolved configuration of a run. Raises PlanError."""
        return self.resolve(run.name.partition("/")[0])["runs"][run.name]["configuration"]

    def train_arguments(self, name: str) -> str:
        """Command-line arguments of `algorithms.train`, quoted, for the run with this name."""
        scale, _ = self._run_by_name[name]
        try:
            return self.resolve(scale)["runs"][name]["arguments"]
        except PlanError as error:
            refuse(error)

    @cached_property
    def gpus(self) -> int:
        """GPUs that a training job asks for: 1 where its device resolves to CUDA, else 0."""
        device = next(iter(self.protocol.scales.values())).device
        # Torch takes seconds to import; without a driver's device file there is no CUDA.
        drivers = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")
        if device == "auto" and any(map(os.path.exists, drivers)):
            from algorithms.device import resolve_device

            device = resolve_device(device).type
        return int(device.startswith("cuda"))

    def resolve(self, scale: str) -> dict[str, Any]:
        """Configurations, arguments and hyperparameters of a scale, as `resolved` describes them.

        Raises PlanError.
        """
        if scale not in self._resolved:
            self._resolved[scale] = resolved(self.protocol.scale(scale), self.runs(scale))
        return self._resolved[scale]

    def check_records(self, scale: str) -> dict[str, records.RunRecord]:
        """Records at hand by run's name. Raises PlanError naming every one that is damaged or of
        another configuration, with the folder to delete."""
        good, reasons = {}, []
        for run in self.runs(scale):
            reasons += self._stale_probes(run)
            if not run.is_recorded:
                continue
            try:
                record = records.read_run(run.path)
                self._check_current(record, run)
                good[run.name] = record
            except records.RecordError as error:
                advice = f"delete {run.path} to run it again"
                reasons.append(str(error) if advice in error.reason else f"{error}; {advice}")
        if reasons:
            raise PlanError("\n".join(reasons))
        return good

    def _stale_probes(self, run: PlannedRun) -> Iterator[str]:
        """What is to be said of probes' records of a run that are of another one."""
        for path, document in run_probes.documents(run.name).items():
            recorded, wanted = document["configuration"], self.configuration(run)
            # Equal is the rule, and found without importing an algorithm.
            field = None if recorded == wanted else differing_field(dict(recorded), wanted)
            if field is not None:
                values = f"{value_of(recorded, field)!r} in the record, {value_of(wanted, field)!r}"
                told = f"stale: {field} is {values} in the protocol"
                yield f"{path}: {told}; {run_probes.advice(path)}"
            elif run.is_recorded and not run_probes.is_of_record(document, run.path):
                yield f"{path}: {run_probes.OF_ANOTHER}; {run_probes.advice(path)}"

    def _check_current(self, record: records.RunRecord, run: PlannedRun) -> None:
        recorded, wanted = record.configuration, self.configuration(run)
        field = None if recorded == wanted else differing_field(recorded, wanted)
        if field is not None:
            raise records.stale(run.path, field, recorded, wanted)

    def summary(self, scale: str, good: Mapping[str, records.RunRecord]) -> str:
        """How many runs are recorded, how many are to train, and about how long that takes."""
        part, planned = self.protocol.scale(scale), self.runs(scale)
        absent = [run for run in planned if not run.is_recorded]
        line = f"{scale}: {len(good)} of {len(planned)} runs are recorded"
        if part.left_out:
            line = f"{scale}: left out, not registered: {', '.join(part.left_out)}\n{line}"
        if not absent:
            return f"{line}, none is to be trained"
        if self.missing == "gap":
            return f"{line}, {len(absent)} are shown as gaps, none is trained"
        cost = describe_cost(
            [self.configuration(run) for run in absent],
            self._all_records(good),
            self.resolve(scale)["defaults"],
        )
        return f"{line}, {len(absent)} are to be trained: {cost}"

    def _all_records(self, good: Mapping[str, records.RunRecord]) -> Iterable[dict[str, Any]]:
        """run.json of all records at hand, other scales' included."""
        yield from (record.document for record in good.values())
        for _, run in self._run_by_name.values():
            if run.name not in good and run.is_recorded:
                try:
                    yield records.read_run(run.path).document
                except records.RecordError:
                    continue  # Not of the scale that was asked for; refused when that is.

    def document(self, scale: str, good: Mapping[str, records.RunRecord]) -> dict[str, Any]:
        """plan.json of a scale, as `analysis.records` describes it."""
        part, resolved, folder = self.protocol.scale(scale), self.resolve(scale), self.folder(scale)
        runs = [
            {
                "path": run.path,
                "env": run.env,
                "algorithm": run.label,
                "seed": run.seed,
                "configuration": resolved["runs"][run.name]["configuration"],
                "hash": resolved["runs"][run.name]["hash"],
                "digest": records.record_digest(run.path) if run.name in good else None,
            }
            for run in self.runs(scale)
        ]
        document = {
            "scale": scale,
            "folder": folder,
            "default_scale": self.default,
            "scales": {scale: scale_document(part, folder) | {"runs": runs}},
            "hyperparameters": resolved["hyperparameters"],
            "artefacts": [file.removeprefix(f"{folder}/") for file in self.artefacts(scale)],
            "others": {name: self._other(name) for name in self.scales if name != scale},
        }
        if part.laboratory:
            document["probes"] = probe_digests(scale)
        return document | {"state": digest(json.dumps(document, sort_keys=True))}

    def _other(self, scale: str) -> dict[str, Any]:
        """What claims about another scale need to know of it."""
        part, runs = self.protocol.scale(scale), self.runs(scale)
        return {
            "folder": self.folder(scale),
            "algorithms": [entry.label for entry in part.entries],
            "unvalidated": part.unvalidated,
            "transitions": part.sizes["transitions"],
            "planned": len(runs),
            "recorded": sum(run.is_recorded for run in runs),
            "derived": self.is_derived(scale),
        }

    def prepare(self, folder: str) -> list[str]:
        """What the `plan.json` in `folder` waits for: the `run.json` of every run (where gaps are
        to be shown, of none) and a stamp, which is new where what is there is outdated.

        Says how many runs there are, and ends the process with status 2 before anything runs if a
        record or a configuration is no good.
        """
        if folder not in self._prepared:
            scale = self.scale_in(folder)
            try:
                good = self.check_records(scale)
                state = self.document(scale, good)["state"]
                if self.is_main_process:
                    print(self.summary(scale, good), file=sys.stderr, flush=True)
            except PlanError as error:
                refuse(error)
            stamp = STAMPS / scale
            if self.is_main_process:
                remove_plan_elsewhere(scale, folder)
                is_done = not self.to_train(scale)
                renew(stamp, Path(folder) / "plan.json", state if is_done else None)
            # All runs, recorded or not: a set of inputs that shrinks would look like a change.
            runs = [] if self.missing == "gap" else self.runs(scale)
            self._prepared[folder] = [str(stamp), *(f"{run.path}/run.json" for run in runs)]
        return self._prepared[folder]

    def prepare_at_hand(self, study: str) -> str:
        """The stamp that the plan of a study's records at hand waits for, as `prepare`; it waits
        for no run, and is new where a record of a probe has changed, too."""
        try:
            state = self.document(study, self.check_records(study))["state"]
        except PlanError as error:
            refuse(error)
        stamp = STAMPS / f"{study}_at_hand"
        if self.is_main_process:
            renew(stamp, Path(at_hand(study)), state)
        return str(stamp)

    @cached_property
    def sources_digest(self) -> str:
        """Digest of what derived files are made from beside records: the modules that a command
        imports, which Snakemake does not see, and the reference scores and floors."""
        files = [file for pattern in SOURCES for file in sorted(ROOT.glob(pattern))]
        return digest(*(file.read_bytes() for file in files))


def open_plan(overrides: Mapping[str, Any], is_main_process: bool = True) -> Plan:
    """The plan of a Snakemake process; one that makes no sense ends it with status 2. Only the main
    process speaks and removes; those that it starts for single jobs do not."""
    try:
        return Plan(overrides, is_main_process=is_main_process)
    except ProtocolError as error:
        refuse(error)


def main(arguments: list[str] | None = None) -> int:
    """Check a scale's records, say what there is, write its plan.json; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m analysis.plan", description=main.__doc__)
    parser.add_argument("--scale", help="scale or study (the protocol's default where not given)")
    parser.add_argument("--protocol", default=str(PROTOCOL), help="file (%(default)s)")
    parser.add_argument("--overrides", default="{}", help="JSON, merged into the protocol")
    parser.add_argument("--output", help="file (default: plan.json beside the derived files)")
    options = parser.parse_args(arguments)
    try:
        plan = Plan(read_overrides(options.overrides), options.protocol)
        scale = options.scale or plan.default
        good = plan.check_records(scale)
        print(plan.summary(scale, good))
        path = Path(options.output or f"{plan.folder(scale)}/plan.json")
        write_whole(path, plan.document(scale, good))
    except (ProtocolError, PlanError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
