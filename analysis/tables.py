"""Derives the tables of a scale from its records.

    python -m analysis.tables [--scale NAME] [--missing gap]

writes into the scale's folder: table1.csv and table1.md (final returns), final_scores.csv (one row
a run), comparisons.csv (pairs of algorithms), aggregate.csv (over environments),
sample_efficiency.csv, hyperparameters.csv and provenance.csv (one row a run). Same records, same
bytes.
"""

import math
import sys
from collections.abc import Mapping, Sequence

import pandas as pd

from analysis import reference, statistics
from analysis.comparisons import COMPARISON_COLUMNS, compare, sample_efficiency
from analysis.derived import command, csv_bytes, number
from analysis.provenance import COUNTS as PROVENANCE_COUNTS
from analysis.provenance import provenance_table
from analysis.records import RecordError, Records
from analysis.scores import Matrices, cell_note, final_scores, matrices

TABLE1_COLUMNS = [
    *("algorithm", "env", "mean", "low", "high", "minimum", "maximum", "best", "seeds"),
    *("transitions", "updates", "claimed"),
    *("claimed_env_version", "env_version", "planned_seeds", "diverged", "untrained"),
    *("random", "zero", "learned", "optimiser_steps", "wall_seconds", "note"),
]
TABLE1_COUNTS = [
    *("seeds", "transitions", "updates", "planned_seeds", "diverged", "learned"),
    "optimiser_steps",
]


def table1(records: Records, scores: pd.DataFrame) -> pd.DataFrame:
    """Final returns by algorithm and environment, over the seeds that are recorded.

    mean, minimum and maximum of the final scores; low and high of Student's t at 95 %, empty under
    five seeds; best, the mean over seeds of each run's best evaluation after the untrained one;
    claimed, what the digest prints, for the environment's version that it names; diverged, how many
    of the runs did; untrained, random and zero, what learning is held against, and learned, how
    many runs ended above all three; wall_seconds, the mean of a run; note, missing seeds and the
    like by name.
    """
    rows = []
    for algorithm in records.plan["algorithms"]:
        for env in records.plan["environments"]:
            runs = scores[(scores["algorithm"] == algorithm) & (scores["env"] == env)]
            rows.append(_table1_row(records, runs, algorithm, env))
    return pd.DataFrame(rows, columns=TABLE1_COLUMNS)


def _table1_row(records: Records, runs: pd.DataFrame, algorithm: str, env: str) -> dict:
    recorded = runs[~runs["gap"]]
    mean = statistics.t_interval(recorded["final"])
    claim = reference.claim(algorithm, env)
    notes = [cell_note(runs), records.plan.get("unvalidated", {}).get(env, "")]
    row = {
        "algorithm": algorithm,
        "env": env,
        "mean": mean.value,
        "low": mean.low,
        "high": mean.high,
        # A run without a score leaves no minimum of the others.
        "minimum": recorded["final"].min(skipna=False) if len(recorded) else math.nan,
        "maximum": recorded["final"].max(skipna=False) if len(recorded) else math.nan,
        "best": recorded["best"].mean(),
        "seeds": len(recorded),
        "claimed": claim.value if claim else math.nan,
        "claimed_env_version": claim.env_version if claim else "",
        "env_version": reference.split(env)[1],
        "planned_seeds": len(runs),
        "diverged": (recorded["status"] == "diverged").sum(),
        "untrained": recorded["untrained"].mean(),
        "random": runs["random"].iloc[0],
        "zero": runs["zero"].iloc[0],
        "learned": recorded["learned"].sum() if recorded["learned"].notna().any() else math.nan,
        "wall_seconds": recorded["wall_seconds"].mean(),
        "note": "; ".join(filter(None, notes)),
    }
    # The budget: a run that diverged has less, and says so in the note.
    budget = {name: recorded[name].max() for name in ("transitions", "updates", "optimiser_steps")}
    return row | budget


def table1_markdown(plan: Mapping, records: Records, table: pd.DataFrame) -> str:
    """`table1` for a reader: a table an environment, its budget and floors above it."""
    scale = records.plan
    lines = [
        f"# Final returns: {plan['scale']}",
        "",
        f"{number(scale['transitions'])} environment transitions a run, warm-up included. "
        "Final: mean of the last tenth of a run's evaluations, then over seeds. "
        "Best: mean over seeds of each run's best evaluation after the untrained one, never mixed "
        "with the former. "
        f"Intervals: 95 %, Student's t over seeds, from {statistics.MINIMUM_SEEDS} seeds on. "
        "Digest: what a third party's digest of the paper states, without seeds or steps. "
        "Learned: runs above random actions, zero actions and their own untrained evaluation.",
    ]
    chosen = evaluated_candidates(plan, scale["algorithms"])
    if chosen:
        told = ", ".join(f"{label} ({count})" for label, count in chosen.items())
        lines += ["", f"Evaluated by one of so many candidate actions, chosen by Q: {told}."]
    if scale.get("tuning"):
        lines += ["", "A study that chooses values: its seeds are reported nowhere else."]
    if not scale["algorithms"]:
        lines += ["", "No method of it is registered."]
    for env in scale["environments"] if scale["algorithms"] else ():
        rows = table[table["env"] == env]
        floor = rows.iloc[0]
        lines += [
            "",
            f"## {env}",
            "",
            f"Random actions return {number(floor['random'])}, "
            f"zero actions {number(floor['zero'])}.",
            "",
            "| algorithm | final | 95 % interval | range over seeds | best | digest | learned "
            "| seeds | transitions | updates | optimiser steps | note |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
            *(_markdown_row(row) for _, row in rows.iterrows()),
        ]
    return "\n".join(lines) + "\n"


def evaluated_candidates(plan: Mapping, labels: Sequence[str]) -> dict[str, int]:
    """By label: candidates of an evaluated action, where it is one of several. A draw of one is no
    draw of a policy, so a reader of returns has to know."""
    found = {}
    for label in labels:
        values = {row["name"]: row["value"] for row in plan["hyperparameters"].get(label, ())}
        count = values.get("evaluation_candidates") or values.get("candidates") or 1
        if count > 1:
            found[label] = count
    return found


def _markdown_row(row: pd.Series) -> str:
    is_gap = row["seeds"] == 0
    interval = "no interval" if math.isnan(row["low"]) else _range(row["low"], row["high"])
    digest = number(row["claimed"])
    if not math.isnan(row["claimed"]):
        digest += f" ({row['claimed_env_version']})"
    cells = [
        row["algorithm"],
        number(row["mean"]),
        "–" if is_gap else interval,
        "–" if math.isnan(row["minimum"]) else _range(row["minimum"], row["maximum"]),
        number(row["best"]),
        digest,
        "–" if is_gap else f"{number(row['learned'])} of {row['seeds']}",
        f"{row['seeds']} of {row['planned_seeds']}",
        number(row["transitions"]),
        number(row["updates"]),
        number(row["optimiser_steps"]),
        row["note"].replace("|", "\\|"),
    ]
    return f"| {' | '.join(cells)} |"


def _range(low: float, high: float) -> str:
    return f"{number(low)} to {number(high)}"


AGGREGATE_COLUMNS = [
    *("algorithm", "aggregate", "value", "low", "high", "seeds", "environments"),
    *("enters_verdicts", "over", "left_out", "note"),
]


def aggregate_table(records: Records, normalised: Matrices) -> pd.DataFrame:
    """Aggregates over environments of normalised scores, a row for each algorithm and aggregate.

    low and high are stratified bootstrap intervals at 95 %, empty under five seeds; over names the
    environments that count, left_out the others with the reason; enters_verdicts is whether seeds
    and environments suffice for a verdict.
    """
    left_out = "; ".join(f"{env}: {reason}" for env, reason in normalised.left_out.items())
    rows = []
    for algorithm in records.plan["algorithms"]:
        matrix = normalised.scores.get(algorithm)
        common = {
            "algorithm": algorithm,
            "seeds": 0 if matrix is None else len(matrix),
            "environments": len(normalised.environments),
            "over": " ".join(normalised.environments),
            "left_out": left_out,
            "note": normalised.notes.get(algorithm, normalised.absent.get(algorithm, "")),
        }
        common["enters_verdicts"] = (
            "yes" if statistics.enters_verdict(common["seeds"], common["environments"]) else "no"
        )
        if matrix is None:
            empty = statistics.Interval(math.nan, math.nan, math.nan)
            values = dict.fromkeys(statistics.AGGREGATES, empty)
        else:
            values = statistics.aggregates(matrix)
        rows += [common | {"aggregate": name} | v._asdict() for name, v in values.items()]
    return pd.DataFrame(rows, columns=AGGREGATE_COLUMNS)


def hyperparameter_table(plan: Mapping, records: Records) -> pd.DataFrame:
    """Every hyperparameter of every algorithm of the scale with its source."""
    rows = [
        {"algorithm": algorithm} | row
        for algorithm in records.plan["algorithms"]
        for row in plan["hyperparameters"].get(algorithm, [])
    ]
    return pd.DataFrame(rows, columns=["algorithm", "name", "value", "description", "source"])


SCORE_COLUMNS = [
    *("env", "algorithm", "seed", "status", "final", "best", "untrained", "random", "zero"),
    *("learned", "normalised", "transitions", "updates", "optimiser_steps", "wall_seconds"),
    "path",
]


def derive(plan: Mapping, records: Records) -> dict[str, bytes]:
    """All tables of a scale by name. RecordError if what they are held against is not there."""
    scores = final_scores(records)
    _check_floors(scores)
    table = table1(records, scores)
    run_counts = ["learned", "transitions", "updates", "optimiser_steps"]
    comparison_counts = [name for name in COMPARISON_COLUMNS if name.endswith(("seeds", "updates"))]
    efficiency_counts = ["seeds", "cells", "censored", "transitions"]
    efficiency_counts += [f"comparator_{name}" for name in efficiency_counts[:3]]
    return {
        "table1.csv": csv_bytes(table, TABLE1_COUNTS),
        "table1.md": table1_markdown(plan, records, table).encode(),
        "final_scores.csv": csv_bytes(scores[SCORE_COLUMNS], run_counts),
        "comparisons.csv": csv_bytes(compare(records, scores), [*comparison_counts, "transitions"]),
        "aggregate.csv": csv_bytes(aggregate_table(records, matrices(records, scores))),
        "sample_efficiency.csv": csv_bytes(sample_efficiency(records, scores), efficiency_counts),
        "hyperparameters.csv": csv_bytes(hyperparameter_table(plan, records)),
        "provenance.csv": csv_bytes(provenance_table(records), PROVENANCE_COUNTS),
    }


def _check_floors(scores: pd.DataFrame) -> None:
    """RecordError for an environment with a published score but without a measured floor."""
    for env in scores.loc[scores["random"].isna(), "env"].unique():
        if reference.normalisation(env) == reference.NO_FLOOR:
            command_line = f"python -m analysis.probes.floors --environments {env}"
            raise RecordError(reference.FLOORS, f"has no rows of {env} ({command_line})")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return command("analysis.tables", __doc__.splitlines()[0], derive, arguments)


if __name__ == "__main__":
    sys.exit(main())
