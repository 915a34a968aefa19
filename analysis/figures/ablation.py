"""Ablation: an algorithm beside itself with one thing changed, a panel a task.

Drawn by `analysis.laboratory`. A dot a seed is too much for print, so the mean, the range over
seeds, and from five seeds on the 95 % interval: of final returns, on a bandit of how much the least
covered mode has of its mass, elsewhere of the mean return over the run. Updates and optimiser steps
stand under each name.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.derived import number
from analysis.figures.style import GREY, figure, footer, interval_remark, looks
from analysis.laboratory import Study
from envs.bandit import landscape_of

QUANTITIES = {
    "return": "final return",
    "mean_return": "mean return\nover the run",
    "least_mode_mass_ratio": "mass ratio of the\nleast covered mode",
}
COLUMNS = [
    *("env", "algorithm", "base", "quantity", "value", "low", "high", "minimum", "maximum"),
    *("seeds", "updates", "optimiser_steps", "note"),
]


def data(studies: Sequence[Study], table: pd.DataFrame) -> pd.DataFrame:
    """The table's quantities, differences left out."""
    bases = {label: study.base(label) for study in studies for label in study.part["algorithms"]}
    is_bandit = table["env"].map(lambda env: landscape_of(env) is not None).astype(bool)
    is_left_out = is_bandit & (table["quantity"] == "mean_return")
    own = table[table["quantity"].isin(list(QUANTITIES)) & ~is_left_out]
    return own.assign(base=own["algorithm"].map(bases))[COLUMNS]


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    panels = list(dict.fromkeys(zip(frame["env"], frame["quantity"], strict=True)))
    bases = dict(zip(frame["algorithm"], frame["base"], strict=True))
    order = list(dict.fromkeys(bases.values()))
    labels = sorted(bases, key=lambda label: order.index(bases[label]))
    shown = figure(1.1 + 0.29 * len(labels))
    axes = shown.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    look = looks(frame)
    for axis, (env, quantity) in zip(axes, panels, strict=True):
        own = frame[(frame["env"] == env) & (frame["quantity"] == quantity)]
        _panel(axis, own.set_index("algorithm"), labels, bases, look)
        axis.set_title(f"{env.rpartition('-')[0]}", fontsize=7.5)
        axis.set_xlabel(QUANTITIES[quantity], fontsize=7)
    names = []
    for label in labels:
        spent = frame[(frame["algorithm"] == label) & (frame["quantity"] == "return")]
        pairs = zip(spent["updates"], spent["optimiser_steps"], strict=True)
        told = "; ".join(f"{number(u / 1e3, 1)}k / {number(s / 1e3, 1)}k" for u, s in pairs)
        name = look[label].name
        # Where there is one algorithm only, its name before each variant says nothing.
        names.append(f"{name.split(', ', 1)[-1] if len(order) == 1 else name}\n{told}")
    axes[0].set_yticks(range(len(labels)), names, fontsize=6)
    axes[0].set_ylim(len(labels) - 0.4, -0.6)
    absent = frame[(frame["quantity"] == "return") & (frame["note"] != "")]
    gaps = f"{len(absent)} cells lack runs or have some that diverged (the table names them)."
    remark = "Dot: mean over seeds; thin: their range; thick: 95 % interval. Dotted: the algorithm "
    remark = (
        f"{remark}that a variant is of. {interval_remark(list(frame['seeds'].dropna()))}".rstrip()
    )
    spent = "Under each name: updates / optimiser steps, in thousands, a task after the other."
    footer(shown, [remark, spent, gaps if len(absent) else ""])
    return shown


def _panel(
    axis: Axes, rows: pd.DataFrame, labels: list[str], bases: Mapping[str, str], look
) -> None:
    for at, label in enumerate(labels):
        base = bases[label]
        if base in rows.index and label in rows.index:
            axis.plot(
                [rows.loc[base, "value"]] * 2,
                [at - 0.5, at + 0.5],
                color=GREY,
                linewidth=0.7,
                linestyle=":",
            )
        if label not in rows.index:
            continue  # not planned on this task
        if pd.isna(rows.loc[label, "value"]):
            axis.text(
                0.02,
                at,
                "no record",
                fontsize=6,
                color=GREY,
                va="center",
                transform=axis.get_yaxis_transform(),
            )
            continue
        row, colour = rows.loc[label], look[label].colour
        axis.plot([row["minimum"], row["maximum"]], [at, at], color=colour, linewidth=0.8)
        axis.plot([row["low"], row["high"]], [at, at], color=colour, linewidth=2.4, alpha=0.6)
        axis.plot(row["value"], at, "o", color=colour, markersize=4)
    axis.tick_params(axis="x", labelsize=6.5)
