"""Exploration: visited cells of the state space against transitions, a panel an environment.

Drawn by `analysis.laboratory`; what a cell is, `analysis.probes.visits` says.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from analysis.figures.style import GREY, figure, footer, grouped, interval_remark, looks
from analysis.laboratory import Study

COLUMNS = [
    *("env", "algorithm", "base", "transitions", "value", "low", "high", "minimum", "maximum"),
    *("seeds", "note"),
]


def data(studies: Sequence[Study], table: pd.DataFrame) -> pd.DataFrame:
    """The curves, and a row without a value for what has no record."""
    bases = {label: study.base(label) for study in studies for label in study.part["algorithms"]}
    is_absent = (table["quantity"] == "coverage") & (table["seeds"] == 0)
    own = table[(table["quantity"] == "coverage_curve") | is_absent]
    return own.assign(base=own["algorithm"].map(bases))[COLUMNS]


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    environments = list(dict.fromkeys(frame["env"]))
    shown = figure(3.2)
    axes = shown.subplots(1, len(environments), squeeze=False)[0]
    look = looks(frame)
    for axis, env in zip(axes, environments, strict=True):
        for label, style in look.items():
            own = frame[(frame["env"] == env) & (frame["algorithm"] == label)]
            own = own.dropna(subset="value")
            if own.empty:
                continue
            axis.plot(
                own["transitions"], own["value"], **style.line, linewidth=1.4, label=style.name
            )
            spread = (
                own[["low", "high"]] if own["low"].notna().any() else own[["minimum", "maximum"]]
            )
            low, high = spread.iloc[:, 0], spread.iloc[:, 1]
            axis.fill_between(own["transitions"], low, high, color=style.colour, alpha=0.15, lw=0)
        axis.set_title(env)
        axis.set_xlabel("environment transitions")
        axis.set_ylabel("visited cells, mean over pairs")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.set_ylim(bottom=0)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7)
        else:
            axis.text(0.5, 0.5, "no record", transform=axis.transAxes, ha="center", color=GREY)
    absent = frame[frame["note"] != ""].drop_duplicates(["env", "algorithm"])
    seeds = list(frame["seeds"].dropna())
    has_bands = frame["low"].notna().any()
    bands = (
        "Band: 95 % interval of the mean over seeds." if has_bands else "Band: range over seeds."
    )
    footer(
        shown,
        [
            f"{bands} {interval_remark(seeds)} The first transitions of methods with a replay are "
            "uniformly random.",
            *grouped([(look[r.algorithm].name, r.note) for r in absent.itertuples()]),
        ],
    )
    return shown
