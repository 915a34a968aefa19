"""Aggregates over environments: interquartile mean, median, mean and optimality gap.

    python -m analysis.figures.aggregate_bars [--scale NAME] [--missing gap]

Bars of normalised final scores, with stratified bootstrap intervals at 95 % from five seeds on.
"""

import sys
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.derived import number
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
from analysis.reference import source_of_one
from analysis.scores import final_scores, matrices
from analysis.tables import aggregate_table

TITLES = {
    "iqm": "interquartile mean",
    "median": "median",
    "mean": "mean",
    "optimality_gap": "optimality gap\n(less is better)",
}


def data(plan: Mapping, records: Records) -> pd.DataFrame:
    """`aggregate.csv` with the columns base and source_of_one, whose score is 1."""
    normalised = matrices(records, final_scores(records))
    table = aggregate_table(records, normalised)
    table.insert(1, "base", [base_of(records, label) for label in table["algorithm"]])
    return table.assign(source_of_one=source_of_one(normalised.environments))


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    look = looks(frame)
    shown = figure(1.15 + 0.26 * len(look))
    axes = shown.subplots(1, len(TITLES), sharey=True)
    for axis, (name, title) in zip(axes, TITLES.items(), strict=True):
        _panel(axis, frame[frame["aggregate"] == name], title, look)
    axes[0].set_yticks(range(len(look)), [style.name for style in look.values()])
    axes[0].set_ylim(len(look) - 0.4, -0.6)
    footer(shown, remarks(frame))
    return shown


def _panel(axis: Axes, rows: pd.DataFrame, title: str, look: Mapping[str, Look]) -> None:
    for position, row in enumerate(rows.itertuples()):
        if pd.isna(row.value):
            text = "no record" if row.note.startswith("gap") else row.note
            axis.text(0.01, position, text, va="center", fontsize=6, color=GREY)
            continue
        colour = look[row.algorithm].colour
        axis.barh(position, row.value, height=0.62, color=colour, alpha=0.85, linewidth=0)
        end = row.value
        if not pd.isna(row.low):
            axis.plot([row.low, row.high], [position] * 2, color="black", linewidth=1.2)
            end = max(end, row.high)
        axis.annotate(
            number(row.value, 2),
            (max(end, 0), position),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
        )
    axis.axvline(0, color=GREY, linewidth=0.7)
    axis.set_title(title, fontsize=8)
    axis.tick_params(axis="y", length=0)
    axis.margins(x=0.3)
    if rows["value"].isna().all():
        axis.set_xlim(0, 1)


def remarks(frame: pd.DataFrame) -> list[str]:
    """Small print for scores over environments."""
    first = frame.iloc[0]
    over = first["over"].replace(" ", ", ")
    seeds = [int(n) for n in frame.groupby("algorithm")["seeds"].first()]
    counted = sorted({n for n in seeds if n})
    counts = (
        f"Seeds: {' to '.join(dict.fromkeys(map(str, (counted[0], counted[-1]))))}."
        if counted
        else ""
    )
    has_intervals = frame["low"].notna().any()
    intervals = "Lines: 95 % stratified bootstrap over seeds." if has_intervals else ""
    remark = interval_remark(seeds)
    look = looks(frame)
    notes = frame.drop_duplicates("algorithm")
    return [
        f"Final returns over {over}; 0: random policy, 1: published SAC after a million "
        f"transitions ({first['source_of_one']})."
        if over
        else "No environment of this scale has normalised scores.",
        f"Left out: {first['left_out']}." if first["left_out"] else "",
        " ".join(filter(None, [counts, intervals, remark])),
        *grouped([(look[row.algorithm].name, row.note) for row in notes.itertuples()]),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return figure_command("aggregate_bars", __doc__.splitlines()[0], data, draw, arguments)


if __name__ == "__main__":
    sys.exit(main())
