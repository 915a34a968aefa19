"""What the figures of costs share. Machines and devices never share a panel."""

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from analysis.cost_rows import SIZES
from analysis.derived import csv_bytes
from analysis.figures.style import COLOURS, GREY, MARKERS, OTHER_COLOURS, figure, footer, render
from analysis.names import NAMES

COLUMNS = (
    *("machine", "device", "quantity", "over", "algorithm", "comparator", "value", "low", "high"),
    *("repeats", "unit", *SIZES, "denoising_steps", "compiled", "note"),
)
SCALE = {"second": 1e3, "byte": 1e-6, "1 / second": 1.0}
UNITS = {"second": "milliseconds", "byte": "MB", "1 / second": "transitions a second"}


def files(
    name: str,
    table: pd.DataFrame,
    data: Callable[[pd.DataFrame], pd.DataFrame],
    draw: Callable[[pd.DataFrame], Figure],
) -> dict[str, bytes]:
    """figures/NAME.csv of `data`, and figures/NAME.svg drawn from it."""
    chosen = data(table)[list(COLUMNS)]
    content = csv_bytes(chosen, (*SIZES, "denoising_steps", "repeats"))
    return {f"figures/{name}.csv": content, f"figures/{name}.svg": render(content, draw)}


def by_machine(
    frame: pd.DataFrame,
    height: float,
    part: Callable[[SubFigure, pd.DataFrame, str], None],
    small_print: str,
) -> Figure:
    """A part of the figure for each machine and device; `part` puts its name into the legend."""
    machines = list(frame.groupby(["machine", "device"], sort=False))
    shown = figure((height + 0.25) * len(machines) + 0.35)
    parts = shown.subfigures(max(len(machines), 1), 1, squeeze=False)[:, 0]
    for number, (((machine, device), rows), own) in enumerate(zip(machines, parts, strict=False)):
        on = f"{machine.replace('-', ' ')}, one thread" if device == "cpu" else device
        how = "" if rows["compiled"].all() else ", not compiled"
        part(own, rows, f"{on}, float32{how}")
        if number == len(machines) - 1:
            footer(own, [small_print])
    return shown


def order(rows: pd.DataFrame) -> list[str]:
    """Algorithms, the suite's own first."""
    present = [name for name in rows["algorithm"].unique() if isinstance(name, str) and name]
    return [name for name in dict.fromkeys([*NAMES, *present]) if name in present]


def looks(names: Sequence[str]) -> dict[str, dict]:
    """Colour and marker of each algorithm."""
    others = [name for name in names if name not in COLOURS]
    known = [*COLOURS, *others]
    colours = COLOURS | {n: OTHER_COLOURS[k % len(OTHER_COLOURS)] for k, n in enumerate(others)}
    return {
        name: {"color": colours[name], "marker": MARKERS[known.index(name) % len(MARKERS)]}
        for name in names
    }


def readable_name(name: str) -> str:
    """As the field writes it."""
    return NAMES.get(name, name.replace("_", " "))


def legend(part: SubFigure, handles: Sequence, labels: Sequence[str], title: str) -> None:
    """Above the panels, in one line under the machine's name."""
    shown = part.legend(
        handles,
        labels,
        title=title,
        alignment="left",
        loc="outside upper left",
        ncols=len(labels),
        fontsize=6.5,
        title_fontproperties={"size": 8},
        handlelength=1.8,
        columnspacing=1.2,
    )
    shown.get_title().set_color(GREY)


def line(axis: Axes, rows: pd.DataFrame, size: str, look: dict, **more) -> None:
    """A curve with its intervals."""
    rows = rows.sort_values(size)
    scale = SCALE[rows["unit"].iloc[0]]
    value, low, high = (scale * rows[name] for name in ("value", "low", "high"))
    below, above = (value - low).clip(lower=0).fillna(0), (high - value).clip(lower=0).fillna(0)
    style = {"markersize": 3, "linewidth": 1.1, "elinewidth": 0.8} | look | more
    axis.errorbar(rows[size], value, yerr=[below, above], **style)


def logarithmic(axis: Axes, sizes: Sequence[int], title: str, unit: str) -> None:
    """Both axes, with the sizes as ticks."""
    axis.set_title(title, fontsize=7.5)
    axis.set_xscale("log")
    axis.set_yscale("log")
    sizes = sorted({int(size) for size in sizes})
    # A label wants some room to its right.
    room = [b / a > 1.35 for a, b in zip(sizes[:-1], sizes[1:], strict=True)] + [True]
    axis.set_xticks(sizes, [str(n) if has else "" for n, has in zip(sizes, room, strict=True)])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.margins(y=0.12)
    low, high = axis.get_ylim()
    # Within less than a decade no power of ten may lie, so that some of its parts are labelled.
    few = FuncFormatter(lambda value, _: f"{value:.4g}" if f"{value:e}"[0] in "235" else "")
    axis.yaxis.set_minor_formatter(few if high / low < 10 else NullFormatter())
    axis.tick_params(which="minor", labelsize=6)
    axis.tick_params(labelsize=6)
    axis.grid(axis="y", linewidth=0.4, color="#E0E0E0")
    axis.set_ylabel(UNITS[unit], fontsize=6.5)
