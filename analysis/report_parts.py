"""What the report's page shows, in words: plain lists and mappings from derived tables."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import claims_page
from analysis.artefacts import FIGURES, TABLES
from analysis.captions import TOPICS
from analysis.derived import listed, number
from analysis.provenance import COLUMNS as PROVENANCE_COLUMNS
from analysis.verdicts import VERDICTS

DETAILS = ("measure", "rule", "source", "scale", "budget", "beside", "weakness", "evidence")
LONG_NUMBER = re.compile(r"-?\d*\.\d{3,}(e[+-]?\d+)?")
MOST_ROWS = 1000
"""Of a table that is shown whole."""
DERIVED_OF_RUNS = {*TABLES, *(f"{name}.csv" for name in FIGURES)}
"""Shown in sections of their own."""
DASH = number(float("nan"))


def tally(claims: pd.DataFrame) -> dict[str, int]:
    """Rows by verdict."""
    return claims_page.tally(claims)


def _value(cell: str) -> float:
    return float(cell) if cell else float("nan")


def lead(claims: pd.DataFrame, table1: pd.DataFrame) -> str:
    """The page in a few sentences."""
    words = [claims_page.counted(claims, verdict) for verdict in VERDICTS]
    families = claims["family"].nunique()
    told = f"{families} claims in {len(claims)} rows: {listed(words)}."
    recorded = sum(map(_value, table1["seeds"]))
    planned = sum(map(_value, table1["planned_seeds"]))
    if recorded == 0:
        return f"{told} No training run of this scale is recorded, so nothing is said of returns."
    told += f" {recorded:,.0f} of {planned:,.0f} planned runs are recorded."
    if not (table1["low"] != "").any():
        most = max(map(_value, table1["seeds"]))
        seeds = "1 seed" if most == 1 else f"{most:.0f} seeds"
        told += (
            f" With at most {seeds} a method there is no interval over seeds, and no comparison of "
            "returns is decided."
        )
    return told


def topics(claims: pd.DataFrame, headings: Mapping[str, str]) -> list[dict[str, Any]]:
    """Headings with families of claims; what was tested first, in the order of the verdicts."""
    rank = {verdict: k for k, verdict in enumerate(VERDICTS)}
    found = []
    for topic, heading in headings.items():
        own = claims[claims["topic"] == topic]
        families = []
        for name, rows in own.groupby("family", sort=False):
            verdicts = sorted(rows["verdict"], key=rank.get)
            families.append(
                {
                    "name": name,
                    "rows": [_claim(row) for _, row in rows.iterrows()],
                    "verdicts": list(dict.fromkeys(verdicts)),
                    "counts": [(v, verdicts.count(v)) for v in dict.fromkeys(verdicts)],
                }
            )
        families.sort(key=lambda family: rank[family["verdicts"][0]])
        if families:
            found.append({"heading": heading, "families": families})
    return found


def _claim(row: pd.Series) -> dict[str, Any]:
    numbers = row.copy()
    for name in ("value", "low", "high", "detectable", "is_factor"):
        numbers[name] = _value(row[name])
    details = [(name, row[name]) for name in DETAILS if row[name]]
    shown = claims_page.detectable(numbers)
    if shown:
        details.insert(2, ("detectable", f"{shown}, the smallest that these replicates would find"))
    return {
        "verdict": row["verdict"],
        "statement": row["statement"],
        "measured": claims_page.measured(numbers),
        "reason": row["reason"],
        "details": details,
    }


def budget(scale: Mapping[str, Any]) -> str:
    """What a run of the scale may spend."""
    beside = scale["num_envs"]
    environments = "one environment" if beside == 1 else f"{beside} parallel environments"
    return (
        f"{number(scale['transitions'])} environment transitions a run, warm-up included, from "
        f"{environments}."
    )


def returns(
    table1: pd.DataFrame, scale: Mapping[str, Any], names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Table 1, an environment at a time."""
    columns = ["", "digest", "final", "95 % interval", "range over seeds", "best", "learned"]
    columns += ["seeds", "updates", "optimiser steps", "note"]
    found = []
    for env in scale["environments"]:
        own = table1[table1["env"] == env]
        first = own.iloc[0]
        found.append(
            {
                "name": env,
                "random": number(_value(first["random"])),
                "zero": number(_value(first["zero"])),
                "unvalidated": scale.get("unvalidated", {}).get(env, ""),
                "columns": columns,
                "rows": [_return(row, names) for _, row in own.iterrows()],
            }
        )
    return found


def _return(row: pd.Series, names: Mapping[str, str]) -> list[str]:
    is_gap = _value(row["seeds"]) == 0
    return [
        names[row["algorithm"]],
        number(_value(row["claimed"])),
        number(_value(row["mean"])),
        _range(row["low"], row["high"]),
        _range(row["minimum"], row["maximum"]),
        number(_value(row["best"])),
        DASH if is_gap else f"{number(_value(row['learned']))} of {row['seeds']}",
        f"{row['seeds']} of {row['planned_seeds']}",
        number(_value(row["updates"])),
        number(_value(row["optimiser_steps"])),
        row["note"],
    ]


def _range(low: str, high: str) -> str:
    if not low or not high:
        return DASH
    return f"{number(_value(low))} to {number(_value(high))}"


def efficiency(table: pd.DataFrame, names: Mapping[str, str]) -> dict[str, Any]:
    """A row an environment and threshold, a column an algorithm."""
    alone = table[(table["comparator"] == "") & (table["restricted_mean"] != "")]
    labels = [label for label in names if (alone["algorithm"] == label).any()]
    rows = []
    for (env, threshold), own in alone.groupby(["env", "threshold"], sort=False):
        cells = []
        for label in labels:
            row = own[own["algorithm"] == label]
            cells.append(DASH if row.empty else _reached(row.iloc[0]))
        rows.append([env, number(_value(threshold)), *cells])
    columns = ["environment", "return", *(names[label] for label in labels)]
    return {"columns": columns, "rows": rows}


def _reached(row: pd.Series) -> str:
    never, runs = _value(row["censored"]), _value(row["cells"])
    if never == runs:
        return f"never ({runs:.0f})"
    told = number(_value(row["restricted_mean"]))
    return f"{told} ({never:.0f} of {runs:.0f} never)" if never else told


def laboratory(
    claims: pd.DataFrame,
    document: Mapping[str, Any],
    figures: Sequence[Mapping[str, str]],
    elsewhere: Collection[str],
) -> Iterator[dict[str, Any]]:
    """A section for each topic that is not shown `elsewhere`: figures, and the tables that its
    claims were decided from, or what has to be measured first. Figures of no topic are the last."""
    for topic, heading in (document["topics"] | {"other": TOPICS["other"]}).items():
        own = claims[(claims["topic"] == topic) & (claims["evidence"] != "")]
        files = [Path(file) for file in dict.fromkeys(own["evidence"])]
        absent = [file for file in files if not file.exists()]
        section = {
            "topic": topic,
            "heading": heading,
            "figures": [figure for figure in figures if figure["topic"] == topic],
            "tables": [_evidence(file) for file in files if file.name not in DERIVED_OF_RUNS],
            "awaited": list(dict.fromkeys(_awaited(file, document) for file in absent)),
        }
        section["tables"] = [table for table in section["tables"] if table]
        if topic not in elsewhere and (section["figures"] or files):
            yield section


def _awaited(file: Path, document: Mapping[str, Any]) -> str:
    awaited = document["evidence"].get(file.name, {}).get("awaited", "the runs of its scale")
    return f"{awaited} ({file})"


def _evidence(file: Path) -> dict[str, Any] | None:
    """A table as it stands, numbers shortened; None where it is not there."""
    if not file.exists():
        return None
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    rows = [[_short(cell) for cell in row] for row in table.head(MOST_ROWS).to_numpy()]
    told = f"{file}, {number(len(table))} rows"
    told += f", the first {number(MOST_ROWS)} shown" if len(table) > MOST_ROWS else ""
    return {"name": told, "columns": [c.replace("_", " ") for c in table.columns], "rows": rows}


def _short(cell: str) -> str:
    """Four significant digits of a number with more; all else as it is."""
    return f"{float(cell):.4g}" if LONG_NUMBER.fullmatch(cell) else cell


def hyperparameters(table: pd.DataFrame, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """A table an algorithm."""
    found = []
    for label, own in table.groupby("algorithm", sort=False):
        rows = own[["name", "value", "description", "source"]].to_numpy().tolist()
        found.append({"label": label, "name": names.get(label, label), "rows": rows})
    return found


def run_rows(
    provenance: pd.DataFrame, scores: pd.DataFrame, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The table of runs, in the order of `provenance`."""
    scored = {(row.env, row.algorithm, row.seed): row for row in scores.itertuples()}
    rows = []
    for run in provenance.itertuples():
        score = scored.get((run.env, run.algorithm, run.seed))
        rows.append(
            {
                "env": run.env,
                "name": names[run.algorithm],
                "seed": run.seed,
                "status": "no record" if run.status == "missing" else run.status,
                "is_recorded": run.status != "missing",
                "final": number(_value(score.final)) if score else DASH,
                "best": number(_value(score.best)) if score else DASH,
                "hours": number(_value(run.wall_seconds) / 3600, 2),
                "device": run.device,
                "commit": run.commit[:10],
            }
        )
    return rows


def runs(provenance: pd.DataFrame, look: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every planned run with all that is known of where it comes from."""
    found = []
    for _, row in provenance.iterrows():
        told = {name.replace("_", " "): row[name] for name in PROVENANCE_COLUMNS if row[name]}
        found.append(
            {
                "env": row["env"],
                "algorithm": row["algorithm"],
                "name": look[row["algorithm"]].name,
                "seed": int(row["seed"]),
                "provenance": told,
            }
        )
    return found
