"""What a plan knows of the laboratory's studies: which tables they are for, what measures them."""

import os
import re
from collections.abc import Mapping
from functools import cached_property

from analysis.artefacts import LABORATORY, PROBES, RESULTS
from analysis.protocol import Protocol
from analysis.records import RunRecord
from analysis.resolution import PlanError, PlannedRun, refuse

VISITS = "exploration"
"""The table of which a study's runs are trained by the probe that counts visited states."""


def at_hand(study: str) -> str:
    """Where the plan of a study stands that its tables of the laboratory are derived by."""
    return f"{RESULTS}/laboratory/{study}/plan.json"


class Studies:
    """The part of `analysis.plan.Plan` that is about the laboratory."""

    protocol: Protocol
    is_main_process: bool

    @cached_property
    def _measurable(self) -> set[str]:
        """Studies whose records were found current."""
        return set()

    def check_records(self, scale: str) -> Mapping[str, RunRecord]:
        """Records at hand by run's name. Raises PlanError for one that is no good."""
        raise NotImplementedError

    def runs(self, scale: str) -> list[PlannedRun]:
        """Runs of a scale or study."""
        raise NotImplementedError

    def laboratory(self, scale: str) -> dict[str, list[str]]:
        """Studies by the table of the laboratory that they are for, beside those of a scale."""
        studies = {
            table: [
                name
                for name, part in self.protocol.scales.items()
                if part.like == scale and table in part.laboratory
            ]
            for table in LABORATORY
        }
        return {table: names for table, names in studies.items() if names}

    @cached_property
    def studied(self) -> list[str]:
        """Studies that are for tables of the laboratory."""
        return [name for name, part in self.protocol.scales.items() if part.laboratory]

    def prepare_measured(self, study: str) -> list[str]:
        """`measured`, once the records at hand are current; ends the process with status 2 before
        anything runs if one is not. For the rule's input, so that only who asks is refused."""
        # By the main process, and once: what a job has trained since, the next one measures.
        if self.is_main_process and study not in self._measurable:
            try:
                self.check_records(study)
            except PlanError as error:
                refuse(error)
            self._measurable.add(study)
        return self.measured(study)

    def measured(self, study: str) -> list[str]:
        """What of a study is measured by training: records of visited states, or of runs."""
        if VISITS in self.protocol.scale(study).laboratory:
            return [f"{PROBES}/visits/{run.name}.json" for run in self.runs(study)]
        return [f"{run.path}/run.json" for run in self.runs(study)]

    @cached_property
    def to_visit(self) -> str:
        """As `trainable`, for runs whose visited states have no record."""
        if self.protocol.missing == "gap":
            return "(?!)"
        files = [file for study in self.studied for file in self.measured(study)]
        start, end = f"{PROBES}/visits/", ".json"
        absent = (f for f in files if f.startswith(start) and not os.path.lexists(f))
        names = (file.removeprefix(start).removesuffix(end) for file in absent)
        return "|".join(map(re.escape, names)) or "(?!)"
