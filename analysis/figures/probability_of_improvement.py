"""Probability of improvement: how often a run of one algorithm beats a run of another.

    python -m analysis.figures.probability_of_improvement [--scale NAME] [--missing gap]

For every pair, averaged over environments, with stratified bootstrap intervals at 95 % from five
seeds on.
"""

import sys
from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd
from matplotlib.figure import Figure

from analysis import statistics
from analysis.figures.style import (
    GREY,
    Look,
    base_of,
    figure,
    figure_command,
    footer,
    grouped,
    interval_remark,
    looks,
)
from analysis.records import Records
from analysis.scores import final_scores, matrices

COLUMNS = [
    *("algorithm", "base", "comparator", "comparator_base", "probability", "low", "high"),
    *("seeds", "comparator_seeds", "environments", "enters_verdicts", "over", "left_out", "note"),
    "comparator_note",
]


def data(plan: Mapping, records: Records) -> pd.DataFrame:
    """A row for each pair, in the plan's order."""
    found = matrices(records, final_scores(records))
    left_out = "; ".join(f"{env}: {reason}" for env, reason in found.left_out.items())
    told = found.notes | found.absent
    rows = []
    for algorithm, comparator in combinations(records.plan["algorithms"], 2):
        arms = [found.scores.get(name, ()) for name in (algorithm, comparator)]
        seeds, comparator_seeds = map(len, arms)
        if seeds and comparator_seeds:
            estimate = statistics.probability_of_improvement(*arms)
        else:
            estimate = statistics.Interval(float("nan"), float("nan"), float("nan"))
        enters = statistics.enters_verdict(min(seeds, comparator_seeds), len(found.environments))
        rows.append(
            {
                "algorithm": algorithm,
                "base": base_of(records, algorithm),
                "comparator": comparator,
                "comparator_base": base_of(records, comparator),
                "probability": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "seeds": seeds,
                "comparator_seeds": comparator_seeds,
                "environments": len(found.environments),
                "enters_verdicts": "yes" if enters else "no",
                "over": " ".join(found.environments),
                "left_out": left_out,
                "note": told[algorithm],
                "comparator_note": told[comparator],
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    others = frame[["comparator", "comparator_base"]]
    others = others.rename(columns={"comparator": "algorithm", "comparator_base": "base"})
    look = looks(pd.concat([frame[["algorithm", "base"]], others]))
    shown = figure(1.1 + 0.19 * max(1, len(frame)))
    axis = shown.subplots()
    for position, row in enumerate(frame.itertuples()):
        style = look[row.algorithm]
        if pd.isna(row.probability):
            axis.text(0.01, position, "no comparison", va="center", fontsize=6, color=GREY)
            continue
        if not pd.isna(row.low):
            axis.plot([row.low, row.high], [position] * 2, color=style.colour, linewidth=2)
        axis.plot(row.probability, position, marker=style.marker, color=style.colour, markersize=5)
    if len(frame):
        names = [
            f"{look[r.algorithm].name}  >  {look[r.comparator].name}" for r in frame.itertuples()
        ]
        axis.set_yticks(range(len(frame)), names, fontsize=7)
    else:
        axis.set_yticks([])
        axis.text(0.5, 0, "a single algorithm: nothing to compare", ha="center", color=GREY)
    axis.set_ylim(max(len(frame), 1) - 0.4, -0.6)
    axis.axvline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    axis.set_xlim(-0.02, 1.02)
    axis.set_xlabel("P(left scores more than right), over environments")
    footer(shown, _remarks(frame, look))
    return shown


def _remarks(frame: pd.DataFrame, look: Mapping[str, Look]) -> list[str]:
    if frame.empty:
        return []
    first = frame.iloc[0]
    has_intervals = frame["low"].notna().any()
    few = frame[["seeds", "comparator_seeds"]].min(axis=1)
    remark = interval_remark(list(few))
    intervals = "Lines: 95 % stratified bootstrap over seeds." if has_intervals else ""
    over = first["over"].replace(" ", ", ")
    notes = [
        (look[name].name, note)
        for row in frame.itertuples()
        for name, note in ((row.algorithm, row.note), (row.comparator, row.comparator_note))
    ]
    return [
        f"Final returns over {over}." if over else "No environment has normalised scores.",
        f"Left out: {first['left_out']}." if first["left_out"] else "",
        " ".join(filter(None, [intervals, remark])),
        *grouped(list(dict.fromkeys(notes))),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return figure_command(
        "probability_of_improvement", __doc__.splitlines()[0], data, draw, arguments
    )


if __name__ == "__main__":
    sys.exit(main())
