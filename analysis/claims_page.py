"""The table of claims as a page to read."""

import math
from collections import Counter
from collections.abc import Mapping

import pandas as pd

from analysis.derived import number
from analysis.verdicts import INCONCLUSIVE, NOT_SUPPORTED, NOT_TESTED, SUPPORTED, VERDICTS

MEANING = {
    SUPPORTED: "the interval lies where the claim needs it, in every cell that it speaks of",
    NOT_SUPPORTED: "at least one cell refutes it, after Holm's correction over the cells",
    INCONCLUSIVE: "measured, and neither",
    NOT_TESTED: "not measured; the reason is given",
}


def tally(table: pd.DataFrame) -> dict[str, int]:
    """How many rows have each verdict, in the order of `VERDICTS`."""
    counts = Counter(table["verdict"])
    return {verdict: counts[verdict] for verdict in VERDICTS}


def figures(value: float) -> str:
    """About three significant digits: 1,234; 12.3; 0.0123; a dash for what is not there."""
    if pd.isna(value):
        return number(math.nan)
    size = abs(value)
    if size == 0:
        return "0"
    decimals = 0 if size >= 100 else min(2 - math.floor(math.log10(size)), 12)
    return number(value, decimals)


def measured(row: pd.Series) -> str:
    """Value, interval and cell of a row in words; empty where nothing was measured."""
    if pd.isna(row["value"]):
        return ""
    told = figures(row["value"])
    if not pd.isna(row["low"]) and row["low"] < row["high"]:
        told += f" ({figures(row['low'])} to {figures(row['high'])})"
    if isinstance(row["cell"], str) and row["cell"]:
        told += f", {row['cell']}"
    return told


def detectable(row: pd.Series) -> str:
    """The smallest difference that could have been shown, in words; empty where unknown."""
    if pd.isna(row["detectable"]):
        return ""
    kind = "a factor of " if row["is_factor"] == 1 else ""
    return f"{kind}{figures(row['detectable'])}"


def of_families(table: pd.DataFrame, verdict: str) -> str:
    """Of how many claims the rows with a verdict are, some in part; empty where each is one. A
    claim with a row for each of several step counts or environments is one all the same."""
    rows = table[table["verdict"] == verdict]
    families = set(rows["family"])
    if len(families) == len(rows):
        return ""
    partly = len(families & set(table[table["verdict"] != verdict]["family"]))
    return f" (of {len(families)} claims" + (f", {partly} in part)" if partly else ")")


def counted(table: pd.DataFrame, verdict: str) -> str:
    """How many rows have a verdict, and of how many claims they are."""
    return f"{tally(table)[verdict]} {verdict}{of_families(table, verdict)}"


def amendment(change: Mapping) -> str:
    """A change of a rule in words."""
    told = f"{change['date']}, {', '.join(change['claims'])}. Was: {change['was']} Now: "
    told += f"{change['became']} Why: {change['why']}"
    if "moved" in change:
        told += f" Moved: {change['moved'].strip()}."
    return " ".join(told.split())


def markdown(table: pd.DataFrame, document: Mapping, plan: Mapping) -> str:
    """claims.md: counts, a table for each topic, how each claim was decided, and what was changed
    of the rules since; `document` is of `read_claims`."""
    topics = document["topics"]
    scale = plan["scales"][plan["scale"]]
    lines = [
        f"# Claims: {plan['scale']}",
        "",
        "What is claimed of arXiv 2602.07873 by its abstract, a third party's digest and its "
        "authors' code, in our words, each decided by a rule of `paper/claims.yaml`, declared "
        "before the data but for the changes at the end. The paper's own tables could not be read. "
        f"Rows end in “at {number(scale['transitions'])} transitions” where this scale decides "
        "them; the scale `paper` is the protocol of the authors' code.",
        "",
        *(f"- {counted(table, verdict)}: {MEANING[verdict]}." for verdict in VERDICTS),
        "",
        "Measured is the cell that weighs most against the claim, with its 95 % interval. "
        "Detectable is the smallest difference that the replicates at hand would have found four "
        "times in five.",
    ]
    for topic, heading in topics.items():
        rows = table[table["topic"] == topic]
        if rows.empty:
            continue
        lines += [
            "",
            f"## {heading}",
            "",
            "| claim | verdict | statement | measured | detectable | spent | why |",
            "|---|---|---|--:|--:|---|---|",
            *(_line(row) for _, row in rows.iterrows()),
        ]
    lines += ["", "## How each was decided", ""]
    for _, row in table.iterrows():
        lines += _details(row)
    lines += ["", "## What was changed after its data were first seen", ""]
    lines += [f"- {amendment(change)}" for change in document["amendments"]]
    return "\n".join(lines) + "\n"


def _line(row: pd.Series) -> str:
    cells = [
        row["claim"],
        f"**{row['verdict']}**",
        row["statement"],
        measured(row) or "–",
        detectable(row) or "–",
        _text(row["budget"]) or "–",
        row["reason"],
    ]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _details(row: pd.Series) -> list[str]:
    parts = [f"- **{row['claim']}**. Source: {row['source']}."]
    if row["measure"]:
        parts.append(f"Measure: {row['measure']}. Rule: {row['rule']}.")
    if _text(row["evidence"]):
        parts.append(f"Evidence: `{row['evidence']}`.")
    parts += [_text(row["beside"]), f"Weakness: {row['weakness']}"]
    return [" ".join(filter(None, parts))]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
