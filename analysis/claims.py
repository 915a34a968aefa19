"""Decides every claim from derived tables: what was measured, by which rule, with which verdict.

    python -m analysis.claims [--scale NAME] [--missing gap]

reads `paper/claims.yaml` and the tables that it names, and writes claims.csv and claims.md into the
scale's folder. Claims of another scale are decided from its tables where those are derived. Same
tables, same bytes.
"""

import math
import sys
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.claims_page import markdown
from analysis.comparisons import EVERY
from analysis.declarations import CHOSEN, Declaration, declarations, read_claims, rule
from analysis.derived import csv_bytes, tables_command
from analysis.evidence import Evidence, NotTested, numbers
from analysis.statistics import MINIMUM_SEEDS
from analysis.verdicts import INCONCLUSIVE, NOT_TESTED, Cell, Decision, decide

COLUMNS = [
    *("claim", "statement", "source", "measure", "value", "low", "high", "rule", "verdict"),
    *("scale", "evidence"),
    *("cell", "cells", "holding", "detectable", "is_factor", "replicates", "budget", "reason"),
    *("beside", "weakness", "topic", "family"),
]
COUNTS = ("cells", "holding", "replicates")


def claims_table(document: Mapping, plan: Mapping, missing: str) -> pd.DataFrame:
    """One row a claim.

    value, low and high are those of the cell that weighs most against the claim, which `cell`
    names, out of `cells` of which `holding` lie where the claim needs them; detectable is the
    smallest difference from the bound that the replicates could have shown (a factor where
    is_factor is 1); budget, what was really run; reason, why the verdict is what it is.
    """
    own = plan["scale"]
    evidence = Evidence(document, plan, missing)
    transitions = plan["scales"][own]["transitions"]
    rows = [_row(claim, evidence) for claim in declarations(document, own, transitions)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(claim: Declaration, evidence: Evidence) -> dict:
    tests = claim.tests
    row = {
        "claim": claim.id,
        "statement": claim.statement,
        "family": claim.family,
        "source": claim.source,
        "measure": "; ".join(" ".join(test["measure"].split()) for test in tests),
        "rule": "; and ".join(dict.fromkeys(map(rule, tests))) or "none is declared",
        "verdict": NOT_TESTED,
        "scale": claim.scale if tests else "",
        "beside": claim.beside,
        "weakness": claim.weakness,
        "topic": claim.topic,
        "reason": claim.untested,
    }
    if not tests:
        return row
    row["evidence"] = str(evidence.path(claim.scale, tests[0]["evidence"]))
    try:
        read = list(evidence.cells(claim))
    except NotTested as reason:
        return row | {"reason": str(reason)}
    cells = [cell for _, own in read for cell in own]
    decision = decide(cells)
    row |= {"verdict": decision.verdict, "cells": len(cells), "holding": decision.holding}
    weakest = decision.weakest
    if weakest is not None:
        test = next(test for test, own in read if any(cell is weakest for cell in own))
        row |= {
            "value": weakest.interval.value,
            "low": weakest.interval.low,
            "high": weakest.interval.high,
            "evidence": str(evidence.path(claim.scale, test["evidence"])),
            "cell": weakest.name,
            "detectable": weakest.detectable,
            "is_factor": int(weakest.is_ratio),
            "replicates": weakest.replicates,
            "budget": _budget(test, cells, evidence, claim),
        }
    return row | {"reason": _reason(claim, decision, cells, evidence)}


def _budget(test: Mapping, cells: Sequence[Cell], evidence: Evidence, claim: Declaration) -> str:
    """What was spent at most in a cell: `transitions 300,000; updates 58,000`."""
    path = evidence.path(claim.scale, test["evidence"])
    rows = pd.DataFrame([cell.row for cell in cells if cell.row is not None])
    parts = []
    for column in test.get("budget", ()):
        if column in rows:
            most = numbers(rows.fillna(""), column, path).max()
            if not math.isnan(most):
                parts.append(f"{column.replace('_', ' ')} {most:,.0f}")
    return "; ".join(parts)


def _reason(
    claim: Declaration, decision: Decision, cells: Sequence[Cell], evidence: Evidence
) -> str:
    reason = decision.reason
    if not reason:
        reason = f"gap: {_absent_runs(cells)}"
    is_few = all(cell.replicates < MINIMUM_SEEDS for cell in cells if not cell.is_exact)
    if decision.verdict == INCONCLUSIVE and is_few and not any(c.has_interval for c in cells):
        most = np.nanmax([cell.replicates for cell in cells])
        runs = "replicate" if most == 1 else "replicates"
        reason = f"{most:.0f} {runs}: no interval below {MINIMUM_SEEDS}"
    parts = [reason]
    if any(CHOSEN in test.get("where", {}).values() for test in claim.tests):
        parts.append(evidence.choice.note)
    excluded = evidence.unvalidated(claim.scale)
    if excluded and any(map(_is_over_environments, claim.tests)):
        parts.append(f"left out as not validated: {', '.join(excluded)}")
    return "; ".join(parts)


def _is_over_environments(test: Mapping) -> bool:
    """Whether each environment is a cell, or all are one."""
    return (
        "env" in test.get("per", ())
        or test.get("where", {}).get("env") == EVERY
        or "enters" in test
    )


def _absent_runs(cells: Sequence[Cell]) -> str:
    """What the first row without a value says of it, or else the names of all."""
    notes = [cell.row.get("note", "") for cell in cells if cell.row is not None]
    named = ": ".join(filter(None, ("no value", ", ".join(filter(None, (c.name for c in cells))))))
    first = next(filter(None, notes), named).replace("gap: ", "")
    return textwrap.shorten(first, 160, placeholder=" ...")


def derive(plan: Mapping, missing: str) -> dict[str, bytes]:
    """claims.csv and claims.md. RecordError if a table is no good."""
    document = read_claims()
    table = claims_table(document, plan, missing)
    return {
        "claims.csv": csv_bytes(table, COUNTS),
        "claims.md": markdown(table, document, plan).encode(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return tables_command("analysis.claims", __doc__.splitlines()[0], derive, arguments)


if __name__ == "__main__":
    sys.exit(main())
