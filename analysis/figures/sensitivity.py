"""Sensitivity: what methods score while one knob is turned, as curves and as a map.

Drawn by `analysis.laboratory`. Left, the score of each knob over factors of its default, as a share
of the best that any knob of any method reached; right, the same in shades, a row a knob, as a share
of the row's own best, with the share of the range within 80 % of it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.derived import listed, number
from analysis.figures.style import GREY, Look, figure, footer, grouped, interval_remark, looks
from analysis.laboratory import Study
from analysis.names import readable
from analysis.sensitivity import SHARE

COLUMNS = [
    *("env", "algorithm", "base", "knob", "series", "factor", "value", "low", "high"),
    *("minimum", "maximum", "seeds", "note"),
]


def data(studies: Sequence[Study], table: pd.DataFrame) -> pd.DataFrame:
    """Scores by knob and factor (`score`), and shares of the range (`share`)."""
    series = {"score": "score", "share_within_80_percent": "share"}
    own = table[table["quantity"].isin(list(series))]
    own = own.assign(series=own["quantity"].map(series), base=own["algorithm"])
    return own[COLUMNS]


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`, a row of panels for each environment."""
    frame = frame.assign(knob=frame["knob"].fillna("").astype(str))
    environments = list(frame["env"].unique())
    shown = figure(1.0 + 2.6 * len(environments))
    panels = shown.subplots(len(environments), 2, squeeze=False, width_ratios=(1, 1.1))
    look, handles = looks(frame), []
    for (curves, shades), env in zip(panels, environments, strict=True):
        own = frame[frame["env"] == env]
        scores = own[(own["series"] == "score") & (own["knob"] != "")]
        keys = list(dict.fromkeys(zip(scores["algorithm"], scores["knob"], strict=True)))
        curves.set_title(env)
        if not keys:
            curves.text(0.5, 0.5, "no knob", transform=curves.transAxes, ha="center", color=GREY)
            shades.set_axis_off()
            continue
        as_it_is = own[(own["series"] == "score") & (own["knob"] == "")]
        handles = _curves(curves, scores, as_it_is, keys, look)
        shares = own[own["series"] == "share"].set_index(["algorithm", "knob"])["value"]
        _shades(shades, scores, keys, shares)
    shown.legend(handles=handles, fontsize=6.5, ncols=4, loc="outside upper center")
    seeds = list(frame.loc[frame["series"] == "score", "seeds"].dropna())
    remark = "Mean over seeds; bars: their range. " + interval_remark(seeds)
    told = "Dotted: an algorithm as it is (the entropy coefficient tuned), with no knob turned. "
    told += f"Right: score over the row's best; last column: share of the range within {SHARE:.0%}."
    footer(shown, [remark, told, *grouped(_notes(frame, look))])
    return shown


def _notes(frame: pd.DataFrame, look: Mapping[str, Look]) -> list[tuple[str, str]]:
    """(cells, note) of scores: those of a knob with one note are one, with their factors where
    others of the knob have another."""
    scores = frame[frame["series"] == "score"]
    found = []
    for (env, label, knob, note), own in scores[scores["note"] != ""].groupby(
        ["env", "algorithm", "knob", "note"], sort=False
    ):
        planned = scores[
            (scores["env"] == env) & (scores["algorithm"] == label) & (scores["knob"] == knob)
        ]
        name = f"{look[label].name} {knob.replace('_', ' ') or 'as it is'}"
        if len(own) < len(planned):
            name += f" x{listed([_factor(x) for x in own['factor']])}"
        if frame["env"].nunique() > 1:
            name += f" on {env}"
        found.append((name, note))
    return found


def _factor(x: float) -> str:
    """1/16, 4."""
    return f"{x:g}" if x >= 1 else f"1/{1 / x:g}"


def _curves(axis, scores, as_it_is, keys, look) -> list[Line2D]:
    """Scores over factors; the legend's handles."""
    handles = []
    for rank, (algorithm, knob) in enumerate(keys):
        rows = scores[(scores["algorithm"] == algorithm) & (scores["knob"] == knob)]
        rank_within = [k for k in keys if k[0] == algorithm].index((algorithm, knob))
        style = "-" if rank_within == 0 else (0, (4, 1.5))
        bars = [rows["value"] - rows["minimum"], rows["maximum"] - rows["value"]]
        axis.errorbar(
            rows["factor"] * (1 + 0.03 * rank),
            rows["value"],
            yerr=np.clip(np.array(bars, float), 0, None),
            color=look[algorithm].colour,
            linestyle=style,
            marker="os^"[rank_within % 3],
            markersize=3.5,
            linewidth=1.2,
            elinewidth=0.7,
        )
        words = f"{readable(algorithm, algorithm)}: {knob.replace('_', ' ')}"
        handles.append(Line2D([], [], color=look[algorithm].colour, linestyle=style, label=words))
    for row in as_it_is.dropna(subset="value").itertuples():
        dotted = {"color": look[row.algorithm].colour, "linestyle": ":"}
        axis.axhline(row.value, linewidth=0.8, **dotted)
        words = f"{look[row.algorithm].name}, as it is"
        handles.append(Line2D([], [], label=words, **dotted))
    axis.set_xlim(scores["factor"].min() / 1.3, scores["factor"].max() * 1.5)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda x, _: _factor(x))
    axis.set_xlabel("factor of the default")
    axis.set_ylabel("mean return above random")
    return handles


def _shades(axis, scores, keys, shares) -> None:
    factors = sorted(scores["factor"].unique())
    values = np.full((len(keys), len(factors)), np.nan)
    for i, (algorithm, knob) in enumerate(keys):
        rows = scores[(scores["algorithm"] == algorithm) & (scores["knob"] == knob)]
        for factor, value in zip(rows["factor"], rows["value"], strict=True):
            values[i, factors.index(factor)] = value
    best = np.nanmax(np.where(np.isnan(values), -np.inf, values), axis=1, keepdims=True)
    relative = np.where(best > 0, values / np.where(best > 0, best, 1), np.nan)
    axis.imshow(np.clip(relative, 0, 1), cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for i in range(len(keys)):
        for j in range(len(factors)):
            x = relative[i, j]
            colour = GREY if np.isnan(x) else "white" if x < 0.6 else "black"
            axis.text(j, i, number(x, 2), ha="center", va="center", fontsize=6.5, color=colour)
        share = shares.get(keys[i], np.nan)
        axis.text(len(factors) - 0.4, i, number(share, 2), va="center", fontsize=6.5)
    labels = [f"{readable(a, a)}: {k.replace('_', ' ')}" for a, k in keys]
    axis.set_yticks(range(len(keys)), labels, fontsize=6.5)
    axis.set_xticks(range(len(factors)), [_factor(x) for x in factors])
    axis.set_xlabel("factor of the default")
    axis.text(len(factors) - 0.4, -0.75, f"within {SHARE:.0%}", fontsize=6.5, va="center")
    for spine in axis.spines.values():
        spine.set_visible(False)
