"""Proposals from a fixed Q: their value and their spread over the temperature.

Drawn by `analysis.laboratory`; what is measured, `analysis.proposals` says.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.style import GREY, figure, footer, grouped, interval_remark, looks
from analysis.laboratory import Study

WORDS = {
    "value_share": "value, to the\nbest of 1,000",
    "distance_ratio": "distance, to\nexact draws'",
}
COLUMNS = [
    *("env", "algorithm", "base", "quantity", "factor", "temperature", "value", "low", "high"),
    *("minimum", "maximum", "repeats", "note"),
]


def data(studies: Sequence[Study], table: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: every temperature, and the rows of what has no record."""
    bases = {label: study.base(label) for study in studies for label in study.part["algorithms"]}
    own = table[table["quantity"].str.endswith("_at_temperature") | (table["repeats"] == 0)]
    own = own.assign(quantity=own["quantity"].str.removesuffix("_at_temperature"))
    return own.assign(base=own["algorithm"].map(bases))[COLUMNS]


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`: a row a quantity, a column an environment."""
    environments = list(dict.fromkeys(frame["env"]))
    shown = figure(4.2)
    if not environments:
        shown.text(0.5, 0.5, "no method with a temperature", ha="center", color=GREY)
        return shown
    axes = shown.subplots(len(WORDS), len(environments), squeeze=False, sharex=True)
    look = looks(frame)
    for row, quantity in zip(axes, WORDS, strict=True):
        for axis, env in zip(row, environments, strict=True):
            of_env = frame[frame["env"] == env].dropna(subset="value")
            cell = of_env[of_env["quantity"] == quantity]
            exact = of_env[of_env["quantity"] == f"exact_{quantity}"]
            for label, style in look.items():
                own = cell[cell["algorithm"] == label].sort_values("factor")
                if own.empty:
                    continue
                at = 1 / own["factor"]
                axis.plot(at, own["value"], **style.line, linewidth=1.4, label=style.name)
                has_interval = own["low"].notna().any()
                low, high = ("low", "high") if has_interval else ("minimum", "maximum")
                # An interval of a ratio may reach below zero, which its logarithmic axis does not.
                least = own["minimum"].min() / 2 if quantity == "distance_ratio" else -np.inf
                band = {"color": style.colour, "alpha": 0.15, "lw": 0}
                axis.fill_between(at, own[low].clip(lower=least), own[high], **band)
                drawn = exact[exact["algorithm"] == label].sort_values("factor")
                axis.plot(1 / drawn["factor"], drawn["value"], "--", color=style.colour, lw=0.8)
            if cell.empty:
                axis.text(0.5, 0.5, "no record", transform=axis.transAxes, ha="center", color=GREY)
            axis.axhline(1, color=GREY, linewidth=0.7, linestyle=":")
            if quantity == "distance_ratio":
                axis.set_yscale("log")
            axis.set_xlim(0.7 / frame["factor"].max(), 1.4 / frame["factor"].min())
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}" if x >= 1 else f"1/{1 / x:g}")
    for axis, env in zip(axes[0], environments, strict=True):
        axis.set_title(env)
    for axis in axes[-1]:
        axis.set_xlabel("temperature, to the method's own")
    for row, words in zip(axes, WORDS.values(), strict=True):
        row[0].set_ylabel(words)
    handles, names = axes[0][0].get_legend_handles_labels()
    if handles:
        axes[0][0].legend(handles, names, fontsize=7)
    absent = frame[frame["note"] != ""].drop_duplicates(["env", "algorithm"])
    has_bands = frame["low"].notna().any()
    bands = "95 % interval of the mean" if has_bands else "range"
    footer(
        shown,
        [
            f"Band: {bands} over trained critics, one a seed. "
            f"{interval_remark(list(frame['repeats']))} "
            "Value: 0 is uniform actions, 1 the best of a thousand of them; dashed: exact draws of "
            "the critic's soft policy. Where the gradient is "
            "divided by its norm, the temperature says only how far the drift goes.",
            *grouped([(f"{look[r.algorithm].name}, {r.env}", r.note) for r in absent.itertuples()]),
        ],
    )
    return shown
