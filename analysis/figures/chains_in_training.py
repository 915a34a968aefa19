"""What chains do while their critic learns: whether they are inert, at work or saturated.

    python -m analysis.figures.chains_in_training [--scale NAME] [--missing gap]

A row for each quantity of the runs' own metrics, a column for each environment:

- `action_on_face`: share of the coordinates of exploring actions that lie on a face of the box, of
  every method. A chain whose drift is longer than the box leaves all of them there.
- `q_absolute`: mean |Q| of the batches of methods that tell it, divided by their scale of rewards.
  It grows as the critic learns, and with it the drift of plain LQL at a fixed temperature. Of a
  method without it a note says whether its runs record any Q.
- `drift_length`: (epsilon / 2) w |g| of plain LQL, in half widths of the box; NC-LQL divides by
  |g|.
"""

import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from analysis.derived import listed
from analysis.figures.style import (
    GREY,
    Look,
    base_of,
    figure,
    figure_command,
    footer,
    grouped,
    looks,
)
from analysis.records import Records, RunRecord, read_run
from analysis.scores import cell_note

WORDS = {
    "action_on_face": "share of coordinates\non faces",
    "q_absolute": "mean |Q|,\nin returns",
    "drift_length": "drift of a step,\nhalf widths",
}
IS_LOGARITHMIC = {"q_absolute", "drift_length"}
Q = "q_mean"
UNSIGNED_UNRECORDED = "no |Q|, since its runs record the mean of Q alone"
Q_UNRECORDED = "no |Q|, since its runs record no Q"
PARTS = 30
"""Of a run, whose metrics are averaged."""
COLUMNS = [
    *("env", "algorithm", "base", "quantity", "transitions", "value", "minimum", "maximum"),
    *("seeds", "note"),
]
COUNTS = ("transitions", "seeds")


def data(plan: Mapping, records: Records) -> pd.DataFrame:
    """A row for each cell, quantity and part of a run: mean, least and most over seeds. A cell
    without a record has one row, with its note."""
    rows = []
    for env in records.plan["environments"]:
        for label in records.plan["algorithms"]:
            runs = records.runs[(records.runs["env"] == env) & (records.runs["algorithm"] == label)]
            common = {"env": env, "algorithm": label, "base": base_of(records, label)}
            recorded = runs.loc[~runs["gap"], "path"]
            found = [parts(read_run(path), records.plan["transitions"]) for path in recorded]
            of_seeds = pd.concat([pd.DataFrame(columns=["quantity", "transitions"]), *found])
            if of_seeds.empty:
                rows.append(common | {"seeds": len(found), "note": cell_note(runs)})
            elif "q_absolute" not in set(of_seeds["quantity"]):
                tells_q = any(Q in read_run(path).metrics for path in recorded)
                note = UNSIGNED_UNRECORDED if tells_q else Q_UNRECORDED
                rows.append(common | {"quantity": "q_absolute", "seeds": len(found), "note": note})
            for (quantity, at), values in of_seeds.groupby(["quantity", "transitions"], sort=False):
                row = {"quantity": quantity, "transitions": at, "value": values["value"].mean()}
                row |= {"minimum": values["value"].min(), "maximum": values["value"].max()}
                rows.append(common | row | {"seeds": len(values), "note": cell_note(runs)})
    return pd.DataFrame(rows, columns=COLUMNS)


def parts(run: RunRecord, total: int) -> pd.DataFrame:
    """quantity, transitions (the part's end) and value of a run of so many transitions."""
    metrics = run.metrics.copy()
    if "q_absolute" in metrics:
        metrics["q_absolute"] /= run.configuration.get("settings", {}).get("reward_scale", 1.0)
    names = [name for name in WORDS if name in metrics]
    part = np.ceil(metrics["transitions"] / total * PARTS).astype(int)
    long = metrics[names].groupby(part * total // PARTS).mean().stack().rename("value")
    long = long[np.isfinite(long)].rename_axis(["transitions", "quantity"]).reset_index()
    return long.sort_values(["quantity", "transitions"])


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    environments, look = list(dict.fromkeys(frame["env"])), looks(frame)
    measured = frame[frame["value"].notna()]
    shown = figure(1.2 + 1.35 * len(WORDS))
    axes = shown.subplots(len(WORDS), len(environments), squeeze=False, sharex=True, sharey="row")
    for row, quantity in zip(axes, WORDS, strict=True):
        for axis, env in zip(row, environments, strict=True):
            own = measured[(measured["env"] == env) & (measured["quantity"] == quantity)]
            _panel(axis, own, look)
        if quantity in IS_LOGARITHMIC and (measured["quantity"] == quantity).any():
            row[0].set_yscale("log")
        row[0].set_ylabel(WORDS[quantity], fontsize=7)
    for axis, env in zip(axes[0], environments, strict=True):
        axis.set_title(env, fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("transitions", fontsize=7)
        axis.xaxis.set_major_locator(MaxNLocator(3))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    drawn = measured["algorithm"].unique()
    handles = [Line2D([], [], **_line(look[name]), label=look[name].name) for name in drawn]
    shown.legend(handles=handles, loc="outside upper left", ncols=5, fontsize=7)
    notes = frame[frame["note"] != ""].groupby(["algorithm", "note"], sort=False)["env"].unique()
    few = frame["seeds"].max() <= 1
    footer(
        shown,
        [
            f"Averages over {PARTS}ths of a run"
            + (". " if few else "; band: range over seeds. ")
            + "The drift is LQL's, since NC-LQL's is fixed by its ladder.",
            *grouped(
                [
                    (look[label].name, note + _where(list(of), environments))
                    for (label, note), of in notes.items()
                ]
            ),
        ],
    )
    return shown


def _where(of: Sequence[str], environments: Sequence[str]) -> str:
    """Environments that a note is of, unless it is of several and all."""
    return "" if len(of) == len(environments) > 1 else f" ({listed(of)})"


def _line(style: Look) -> dict:
    return {name: value for name, value in style.line.items() if not name.startswith("marker")}


def _panel(axis: Axes, rows: pd.DataFrame, look: Mapping[str, Look]) -> None:
    for label, own in rows.groupby("algorithm", sort=False):
        style = look[label]
        axis.plot(own["transitions"], own["value"], **_line(style), linewidth=1.2)
        axis.fill_between(
            own["transitions"], own["minimum"], own["maximum"], color=style.colour, alpha=0.15, lw=0
        )
    if rows.empty:
        place = {"transform": axis.transAxes, "ha": "center", "va": "center"}
        axis.text(0.5, 0.5, "no record", fontsize=7, color=GREY, **place)
    axis.tick_params(labelsize=6.5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return figure_command(
        "chains_in_training", __doc__.splitlines()[0], data, draw, arguments, COUNTS
    )


if __name__ == "__main__":
    sys.exit(main())
