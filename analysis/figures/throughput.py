"""How the cost of an update, and of acting, grows: batch, action dimension, steps, layers, number
of environments.

    python -m analysis.figures.throughput [--records DIR] [--output FILE]

Milliseconds a call against one size at a time, both axes logarithmic, the others at the sizes of
HalfCheetah; below each line, dotted, what the machine's best matrix products would take. Machines
and devices never share a panel. Beside the SVG the CSV that it is drawn from.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from analysis.artefacts import RESULTS
from analysis.derived import csv_bytes, listed
from analysis.figures.style import COLOURS, GREY, MARKERS, figure, render
from analysis.names import NAMES
from analysis.throughput import derive

FIGURE = RESULTS / "figures" / "throughput.svg"
ROOM = 0.32
"""Of an axis' length, to the right of the largest size, for the exponents."""
PANELS = {
    "batch": "an update, by batch",
    "action": "an update, by action dimension",
    "steps": "an update, by steps of a chain",
    "layers": "an update, by hidden layers",
    "environments": "acting, by environments",
}
COLUMNS = (
    *("machine", "device", "algorithm", "quantity", "parameter", "value", "median"),
    *("lower_quartile", "upper_quartile", "samples", "limit_seconds", "exponent", "cases"),
    "commit",
)


def data(table: pd.DataFrame) -> pd.DataFrame:
    """The growth tables, with the exponent of each and the time that the limit allows."""
    growth = table[(table["part"] == "growth") & table["parameter"].isin(list(PANELS))]
    rows = growth[growth["kind"] == "time"].copy()
    key = ["machine", "device", "algorithm", "parameter"]
    slopes = growth[growth["kind"] == "exponent"].set_index(key)["median"].rename("exponent")
    rows = rows.join(slopes, on=key)
    rows["limit_seconds"] = rows["median"] * rows["share_of_limit"]
    rows["value"] = rows["value"].astype(int)
    return rows.sort_values([*key, "value"], kind="stable")[list(COLUMNS)]


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    machines = list(frame.groupby(["machine", "device"], sort=False))
    shown = figure(4.6 * len(machines) or 1.0)
    parts = shown.subfigures(len(machines), 1, squeeze=False)[:, 0] if machines else []
    for part, ((machine, device), rows) in zip(parts, machines, strict=True):
        on = f"{machine.replace('-', ' ')}, one thread" if device == "cpu" else device
        commits = [str(commit)[:10] for commit in rows["commit"].dropna().unique()]
        title = f"{on}, commit {listed(commits)}" if commits else on
        part.suptitle(title, fontsize=8, color=GREY, x=0.01, ha="left")
        _machine(part, rows)
    return shown


def _machine(part: SubFigure, rows: pd.DataFrame) -> None:
    axes = part.subplots(2, 3)
    algorithms = [name for name in (*NAMES, *rows["algorithm"]) if name in set(rows["algorithm"])]
    algorithms = list(dict.fromkeys(algorithms))
    for axis, (parameter, title) in zip(axes.flat, PANELS.items(), strict=False):
        axis.set_title(title, fontsize=7.5)
        for rank, name in enumerate(algorithms):
            chosen = rows[(rows["parameter"] == parameter) & (rows["algorithm"] == name)]
            if len(chosen):
                _line(axis, chosen, COLOURS.get(name, "black"), MARKERS[rank])
        _logarithmic(axis, sorted(rows.loc[rows["parameter"] == parameter, "value"].unique()))
    for axis in axes[:, 0]:
        axis.set_ylabel("milliseconds", fontsize=7)
    axes[1, 2].axis("off")
    handles = [
        Line2D([], [], color=COLOURS.get(name, "black"), marker=MARKERS[rank], markersize=3.5)
        for rank, name in enumerate(algorithms)
    ]
    handles.append(Line2D([], [], color=GREY, linestyle=":", linewidth=1))
    labels = [NAMES.get(name, name.replace("_", " ")) for name in algorithms]
    labels.append("its products at the\nmachine's best rate")
    axes[1, 2].legend(handles, labels, loc="upper left", fontsize=7)
    text = "k: time ~ size^k, fitted over\nall sizes shown. Bars: quartiles\nof the samples."
    axes[1, 2].text(0, 0.0, text, fontsize=6.5, color=GREY, transform=axes[1, 2].transAxes)


def _line(axis: Axes, rows: pd.DataFrame, colour: str, marker: str) -> None:
    milliseconds = 1e3 * rows[["median", "lower_quartile", "upper_quartile"]]
    middle, low, high = (milliseconds[name] for name in milliseconds)
    axis.errorbar(
        rows["value"],
        middle,
        yerr=[middle - low, high - middle],
        color=colour,
        marker=marker,
        markersize=3.5,
        linewidth=1.2,
        elinewidth=0.8,
    )
    axis.plot(rows["value"], 1e3 * rows["limit_seconds"], color=colour, linestyle=":", linewidth=1)
    exponent = rows["exponent"].iloc[0]
    if not pd.isna(exponent):
        # Beside the last marker, where no line goes on.
        axis.annotate(
            f"k = {exponent:.2f}",
            (rows["value"].iloc[-1], middle.iloc[-1]),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
            color=colour,
        )


def _logarithmic(axis: Axes, sizes: Sequence[int]) -> None:
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(labelsize=6.5)
    axis.grid(axis="y", linewidth=0.4, color="#E0E0E0")
    axis.margins(y=0.08)
    if len(sizes) > 1:
        first, last = sizes[0], sizes[-1]
        span = last / first
        axis.set_xlim(first / span**0.05, last * span**ROOM)


def _write(table: pd.DataFrame, output: Path) -> None:
    content = csv_bytes(data(table))
    output.with_suffix(".csv").write_bytes(content)
    output.write_bytes(render(content, draw))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    description = "How the cost of an update, and of acting, grows, as a figure."
    return derive(_write, description, "analysis.figures.throughput", FIGURE, arguments)


if __name__ == "__main__":
    sys.exit(main())
