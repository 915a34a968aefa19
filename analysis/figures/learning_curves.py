"""Learning curves: return against transitions, a panel for each environment.

    python -m analysis.figures.learning_curves [--scale NAME] [--missing gap]

The mean over seeds and each seed's own line; a band (Student's t at 95 %) from five seeds on; what
the digest claims, and what random and zero actions return, as levels.
"""

import math
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from analysis import reference, statistics
from analysis.derived import listed, number
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
from analysis.scores import name_seeds

COLUMNS = [
    *("env", "algorithm", "base", "series", "seed", "transitions", "updates"),
    *("value", "low", "high", "seeds", "note"),
]
COUNTS = ("seed", "transitions", "updates", "seeds")
LEVELS = {"random": "random actions", "zero": "zero actions"}


def data(plan: Mapping, records: Records) -> pd.DataFrame:
    """Everything the figure shows, by `series`:

    seed: an evaluation of a run; mean: over seeds, where every recorded run of the cell has an
    evaluation (a mean over those that did not diverge would be none of the method); diverged: the
    last evaluation of a run that did; gap: planned runs without a record, named; claimed, random,
    zero: levels; budget: the transitions planned.
    """
    rows = []
    for env in records.plan["environments"]:
        rows.append({"env": env, "series": "budget", "transitions": records.plan["transitions"]})
        floors = reference.floors(env)
        if floors:
            rows += [
                {"env": env, "series": name, "value": getattr(floors, name)} for name in LEVELS
            ]
        for algorithm in records.plan["algorithms"]:
            common = {"env": env, "algorithm": algorithm, "base": base_of(records, algorithm)}
            rows += [common | row for row in _cell(records, env, algorithm)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _cell(records: Records, env: str, algorithm: str) -> list[dict]:
    """Rows of an environment and an algorithm."""

    def own(table: pd.DataFrame) -> pd.DataFrame:
        return table[(table["env"] == env) & (table["algorithm"] == algorithm)]

    rows = []
    claim = reference.claim(algorithm, env)
    if claim:
        rows.append({"series": "claimed", "value": claim.value, "note": claim.env_version})
    runs, evaluations = own(records.runs), own(records.evaluations)
    missing = runs.loc[runs["gap"], "seed"]
    if len(missing):
        what = "no record" if len(missing) == len(runs) else f"no record of {name_seeds(missing)}"
        rows.append({"series": "gap", "seeds": len(runs) - len(missing), "note": what})
    evaluations = evaluations[np.isfinite(evaluations["return_mean"].astype(float))]
    for seed, line in evaluations.groupby("seed", sort=False):
        points = line.sort_values("transitions").itertuples()
        rows += [
            {
                "series": "seed",
                "seed": seed,
                "transitions": point.transitions,
                "updates": point.updates,
                "value": point.return_mean,
            }
            for point in points
        ]
        if (runs.loc[runs["seed"] == seed, "status"] == "diverged").any():
            rows.append(rows[-1] | {"series": "diverged"})
    recorded = len(runs) - len(missing)
    for transitions, points in evaluations.groupby("transitions"):
        if len(points) == recorded:
            mean = statistics.t_interval(points["return_mean"])
            rows.append(
                {
                    "series": "mean",
                    "transitions": transitions,
                    "updates": points["updates"].max(),
                    **mean._asdict(),
                    "seeds": recorded,
                }
            )
    return rows


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    environments = list(dict.fromkeys(frame["env"]))
    columns = min(2, len(environments))
    rows = math.ceil(len(environments) / columns)
    look = looks(frame)
    shown = figure(0.9 + 2.35 * rows)
    axes = shown.subplots(rows, columns, squeeze=False).ravel()
    for axis, env in zip(axes, environments, strict=False):
        _panel(axis, frame[frame["env"] == env], env, look)
    for axis in axes[len(environments) :]:
        axis.set_axis_off()
    _legend(shown, frame, look)
    seeds = frame.loc[frame["series"] == "mean", "seeds"].dropna()
    bands = "Band: 95 % interval of the mean (Student's t over seeds)."
    has_bands = (seeds >= statistics.MINIMUM_SEEDS).any()
    lines = [
        "Thick: mean over seeds. Thin: each seed. "
        + " ".join(filter(None, [bands if has_bands else "", interval_remark(list(seeds))])),
        "Dashed, with a name at the right: return that a third party's digest of the paper states "
        f"({_claimed_versions(frame)}, without seeds or steps)."
        if (frame["series"] == "claimed").any()
        else "",
        "×: the run diverged; the mean ends there."
        if (frame["series"] == "diverged").any()
        else "",
    ]
    footer(shown, lines + _gap_remarks(frame, look))
    return shown


def _claimed_versions(frame: pd.DataFrame) -> str:
    versions = dict.fromkeys(frame.loc[frame["series"] == "claimed", "note"])
    return f"environments of version {listed(list(versions))}"


def _panel(axis: Axes, frame: pd.DataFrame, env: str, look: Mapping[str, Look]) -> None:
    parts = {name: part for name, part in frame.groupby("series", sort=False)}
    labels = []
    for name, text in LEVELS.items():
        for value in parts[name]["value"] if name in parts else ():
            axis.axhline(value, color=GREY, linewidth=0.7, linestyle=(0, (1, 2)), zorder=1)
            labels.append((value, f"{text} {number(value)}", GREY))
    for claim in parts["claimed"].itertuples() if "claimed" in parts else ():
        style = look[claim.algorithm]
        axis.axhline(
            claim.value,
            color=style.colour,
            linewidth=0.9,
            linestyle=(0, (5, 3)),
            alpha=0.8,
            zorder=1,
        )
        labels.append((claim.value, f"digest: {style.name} {number(claim.value)}", style.ink))
    for algorithm, style in look.items():
        _lines(axis, {n: p[p["algorithm"] == algorithm] for n, p in parts.items()}, style)
    budget = parts["budget"]["transitions"].iloc[0]
    axis.set_xlim(0, budget)
    # The levels are part of the picture even where no run has reached them.
    axis.margins(y=0.06)
    axis.set_title(env)
    axis.set_xlabel("environment transitions")
    axis.set_ylabel("return")
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.yaxis.set_major_formatter(lambda value, position: number(value))
    _name_levels(axis, labels)
    if "seed" not in parts:
        axis.text(0.5, 0.4, "no record", transform=axis.transAxes, ha="center", color=GREY)


def _lines(axis: Axes, parts: Mapping[str, pd.DataFrame], style: Look) -> None:
    """One algorithm's runs, mean and band."""
    if "seed" in parts:
        for _, run in parts["seed"].groupby("seed"):
            axis.plot(
                run["transitions"], run["value"], color=style.colour, linewidth=0.5, alpha=0.4
            )
    if "mean" in parts and len(parts["mean"]):
        mean = parts["mean"]
        every = max(1, len(mean) // 6)
        axis.plot(
            mean["transitions"],
            mean["value"],
            **style.line,
            linewidth=1.6,
            markevery=(every - 1, every),
            zorder=3,
        )
        axis.fill_between(
            mean["transitions"], mean["low"], mean["high"], color=style.colour, alpha=0.16, lw=0
        )
    if "diverged" in parts:
        ends = parts["diverged"]
        axis.plot(
            ends["transitions"], ends["value"], "x", color=style.colour, ms=6, mew=1.6, zorder=4
        )


def _name_levels(axis: Axes, labels: Sequence[tuple[float, str, object]]) -> None:
    """Words at the right of the panel, at the height of the levels or as near as there is room."""
    low, high = axis.get_ylim()
    room = 0.075 * (high - low)
    labels = sorted(labels, key=lambda label: label[0])
    heights = [value for value, _, _ in labels]
    for k in range(1, len(heights)):
        heights[k] = max(heights[k], heights[k - 1] + room)
    ceiling = high
    for k in reversed(range(len(heights))):
        heights[k] = min(heights[k], ceiling)
        ceiling = heights[k] - room
    for (value, text, colour), height in zip(labels, heights, strict=True):
        axis.annotate(
            text,
            (1.0, value),
            (1.02, height),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            fontsize=6,
            color=colour,
            va="center",
            annotation_clip=False,
        )


def _gap_remarks(frame: pd.DataFrame, look: Mapping[str, Look]) -> list[str]:
    """Absent runs by name, for the small print."""
    every = set(frame["env"])
    notes = []
    for (algorithm, note), rows in frame[frame["series"] == "gap"].groupby(
        ["algorithm", "note"], sort=False
    ):
        where = "any environment" if set(rows["env"]) == every else ", ".join(rows["env"])
        notes.append((look[algorithm].name, f"{note} in {where}"))
    return grouped(notes)


def _legend(shown: Figure, frame: pd.DataFrame, look: Mapping[str, Look]) -> None:
    handles = [
        Line2D(
            [],
            [],
            **style.line,
            linewidth=1.6,
            label=style.name,
        )
        for style in look.values()
    ]
    shown.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 4), fontsize=8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return figure_command("learning_curves", __doc__.splitlines()[0], data, draw, arguments, COUNTS)


if __name__ == "__main__":
    sys.exit(main())
