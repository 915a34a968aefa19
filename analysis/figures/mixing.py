"""How many gradient evaluations samplers need to weigh two modes, against the dimension.

    python -m analysis.figures.mixing [--records DIR] [--output FILE]

One panel a landscape and distance of its modes, both axes logarithmic. A hollow marker stands
where repeats never got there and count as the budget, which is the dashed line. Beside the SVG the
CSV that it is drawn from.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from analysis.artefacts import RESULTS
from analysis.figures.samplers import LANDSCAPES, handles, in_order, line, small
from analysis.figures.style import GREY, figure, footer, render
from analysis.mixing import PROBE, mixing_table
from analysis.probes.crossing import WINDOW
from analysis.probes.quantities import QuantityRecord
from analysis.sampler_records import derive

FIGURE = RESULTS / "figures" / "mixing.svg"
COLUMNS = (
    *("sampler", "landscape", "distance", "dimension", "value", "low", "high", "repeats"),
    *("censored", "budget", "threshold", "exponent", "exponent_low", "exponent_high"),
)


def data(record: QuantityRecord) -> pd.DataFrame:
    """Evaluations by dimension, with the growth exponent of each line."""
    table = mixing_table(record)
    key = ["sampler", "landscape", "distance"]
    slopes = table[table["quantity"] == "growth_exponent"].set_index(key)[["value", "low", "high"]]
    slopes.columns = ["exponent", "exponent_low", "exponent_high"]
    rows = table[table["quantity"] == "evaluations"].join(slopes, on=key)
    return rows.sort_values([*key, "dimension"], kind="stable")[list(COLUMNS)]


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    landscapes = [name for name in LANDSCAPES if name in set(frame["landscape"])]
    distances = sorted(frame["distance"].unique())
    shown = figure(2.5 * len(landscapes) + 1.0)
    axes = shown.subplots(len(landscapes), len(distances), squeeze=False, sharex=True, sharey=True)
    samplers = in_order(frame["sampler"])
    for row, landscape in zip(axes, landscapes, strict=True):
        for axis, distance in zip(row, distances, strict=True):
            chosen = frame[(frame["landscape"] == landscape) & (frame["distance"] == distance)]
            small(axis, f"{LANDSCAPES[landscape]}, modes {distance:g} apart")
            _panel(axis, chosen, samplers)
        row[0].set_ylabel("gradient evaluations", fontsize=7)
    for axis in axes[-1]:
        axis.set_xlabel("action dimensions", fontsize=7)
    shown.legend(*handles(samplers), loc="outside upper center", ncols=3, fontsize=7)
    threshold, repeats = frame["threshold"].max(), int(frame["repeats"].min())
    footer(
        shown,
        [
            f"Until the mode weight's error, averaged over {WINDOW} neighbouring budgets, is at "
            f"most {threshold:g} and stays there. Bars: 95 %, {repeats} repeats of independent "
            "chains; each sampler at the best of equally many step sizes.",
            "Hollow: some repeats never got there and count as the budget (dashed).",
        ],
    )
    return shown


def _panel(axis: Axes, rows: pd.DataFrame, samplers: Sequence[str]) -> None:
    axis.set_xscale("log")
    axis.set_yscale("log")
    for rank, sampler in enumerate(samplers):
        chosen = rows[rows["sampler"] == sampler].sort_values("dimension")
        if not len(chosen):
            continue
        # A little apart, so that bars do not hide each other.
        x = chosen["dimension"] * 1.05 ** (rank - len(samplers) / 2)
        low = (chosen["value"] - chosen["low"]).fillna(0).clip(upper=0.9 * chosen["value"])
        high = (chosen["high"] - chosen["value"]).fillna(0)
        look = line(sampler) | {"marker": ""}
        axis.errorbar(x, chosen["value"], yerr=[low, high], elinewidth=0.7, **look)
        for is_censored in (False, True):
            part = (chosen["censored"] > 0) == is_censored
            face = "white" if is_censored else line(sampler)["color"]
            style = line(sampler) | {"linestyle": "", "markerfacecolor": face}
            axis.plot(x[part], chosen["value"][part], zorder=3, **style)
    axis.axhline(rows["budget"].max(), color=GREY, linestyle="--", linewidth=0.7)
    sizes = sorted(int(size) for size in rows["dimension"].unique())
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_minor_formatter(NullFormatter())


def _write(content: bytes, output: Path) -> None:
    output.write_bytes(render(content, draw))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    description = __doc__.splitlines()[0]
    return derive(PROBE, description, "analysis.figures.mixing", FIGURE, arguments, data, _write)


if __name__ == "__main__":
    sys.exit(main())
