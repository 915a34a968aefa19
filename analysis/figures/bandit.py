"""Samples of every trained policy over the bandits' landscapes, one panel an algorithm.

Drawn by `analysis.laboratory`. The first panel of a row has exact draws of the soft policy that all
are held against; each other the samples of all seeds together, as many of each. In the corner the
divergence and the share of samples inside modes, means over seeds.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.bandit import EXACT, INVERSE_TEMPERATURE
from analysis.derived import number
from analysis.figures.style import figure, footer, grouped, looks
from analysis.laboratory import Study
from envs.bandit import landscape_of

SHOWN = 300
"""Samples in a panel, over all seeds."""
MOST_COLUMNS = 7
CONTOUR = "#B3B3B3"
COLUMNS = ["env", "algorithm", "base", "first", "second", "divergence", "inside_share", "note"]


def data(studies: Sequence[Study], table: pd.DataFrame) -> pd.DataFrame:
    """Samples of each cell, a row each, or one row without a sample where there is none."""
    rows = []
    for study in studies:
        for env in study.part["environments"]:
            landscape = landscape_of(env)
            if landscape is None:
                continue
            draws = landscape.draw(INVERSE_TEMPERATURE, SHOWN, np.random.default_rng(0))
            rows += _rows(table, env, EXACT, EXACT, draws)
            for label in study.part["algorithms"]:
                samples = study.probed("samples", env, label)
                few = [
                    drawn[["first", "second"]].to_numpy(float)[: SHOWN // len(samples)]
                    for drawn in samples.values()
                ]
                points = np.concatenate([np.empty((0, 2)), *few])
                rows += _rows(table, env, label, study.base(label), points)
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(table: pd.DataFrame, env: str, label: str, base: str, points: np.ndarray) -> list[dict]:
    own = table[(table["env"] == env) & (table["algorithm"] == label) & (table["comparator"] == "")]
    common = {"env": env, "algorithm": label, "base": base}
    for quantity in ("divergence", "inside_share"):
        cell = own[own["quantity"] == quantity]
        common[quantity] = cell["value"].iloc[0]
        common["note"] = cell["note"].iloc[0]
    if not len(points):
        return [common]
    return [common | {"first": x, "second": y} for x, y in points]


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    environments, labels = frame["env"].unique(), list(frame["algorithm"].unique())
    rows_each = -(-len(labels) // MOST_COLUMNS)
    columns = -(-len(labels) // rows_each)
    look = looks(frame)
    gaps = frame[frame["note"] != ""].drop_duplicates(["env", "algorithm"])
    notes = grouped([(look[r.algorithm].name, r.note) for r in gaps.itertuples()])
    shown = figure(0.6 + 1.6 * rows_each * len(environments) + 0.13 * len(notes))
    grid = shown.subplots(rows_each * len(environments), columns, squeeze=False)
    for row, env in enumerate(environments):
        axes = grid[row * rows_each : (row + 1) * rows_each].ravel()
        for axis in axes[len(labels) :]:
            axis.set_axis_off()
        for axis, label in zip(axes, labels, strict=False):
            own = frame[(frame["env"] == env) & (frame["algorithm"] == label)]
            name = "exact draws" if label == EXACT else look[label].name
            _panel(axis, env, own, name, "black" if label == EXACT else look[label].colour)
        axes[0].set_ylabel(env.rpartition("-")[0], fontsize=7)
    footer(
        shown,
        [
            "Contours: the reward. Dots: actions of the trained policies, all seeds together.",
            f"JS: Jensen-Shannon divergence in nats to exp({INVERSE_TEMPERATURE:g} reward)/Z (at "
            "most 0.69), and the share of samples within one width of a mode; means over seeds.",
            *notes,
        ],
    )
    return shown


def _panel(axis: Axes, env: str, rows: pd.DataFrame, name: str, colour) -> None:
    landscape = landscape_of(env)
    line = np.linspace(-1, 1, 81)
    action = np.stack(np.meshgrid(line, line, indexing="ij"), -1)
    levels = np.linspace(0.1, 1.0, 5)
    # Pale and thin, under dots large enough to be seen in print.
    contours = {"colors": [CONTOUR], "linewidths": 0.3, "zorder": 1}
    axis.contour(line, line, landscape.reward(action).T, levels, **contours)
    axis.plot(rows["first"], rows["second"], ".", color=colour, markersize=3, alpha=0.7, mew=0)
    axis.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), xticks=[], yticks=[], aspect="equal")
    axis.set_title(name.replace(", ", ",\n"), fontsize=7)
    if rows["first"].isna().all():
        axis.text(
            0.5, 0.5, "no samples", transform=axis.transAxes, ha="center", fontsize=7
        ).set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.5})
        return
    js, inside = rows["divergence"].iloc[0], rows["inside_share"].iloc[0]
    axis.set_xlabel(f"JS {number(js, 2)}\ninside {number(100 * inside)} %", fontsize=6.5)
