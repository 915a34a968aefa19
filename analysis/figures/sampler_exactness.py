"""How far samplers are from the soft policy, by budget, dimension, step size and scale of Q.

    python -m analysis.figures.sampler_exactness [--records DIR] [--output FILE]

First row: total variation in two dimensions against gradient evaluations. Second: the error of the
mode weight (of landscapes without modes the energy distance, to its floor) against the dimension.
Third: studies on the mixture in two dimensions. Beside the SVG the CSV that it is drawn from.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from analysis.artefacts import RESULTS
from analysis.exactness import PROBE, exactness_table
from analysis.figures.samplers import LANDSCAPES, handles, in_order, line, small
from analysis.figures.style import GREY, figure, footer, render
from analysis.probes.quantities import QuantityRecord
from analysis.sampler_records import derive

FIGURE = RESULTS / "figures" / "sampler_exactness.svg"
VARIATION, WEIGHT, ENERGY = (
    *("total_variation_above_floor", "mode_weight_error", "energy_distance_to_floor"),
)
STUDIES = {
    "step_size": ("step_size", "step size of the finest level"),
    "scale": ("scale", "Q times"),
    "boundary": ("boundary", "boundary"),
}
STUDIED = ("mixture", 2)
COLUMNS = (
    *("part", "quantity", "sampler", "landscape", "dimension", "steps", "at", "value", "low"),
    *("high", "repeats", "is_stationary"),
)


def data(record: QuantityRecord) -> pd.DataFrame:
    """What each part shows."""
    table = exactness_table(record)
    main = table[(table["study"] == "main") & table["landscape"].isin(list(LANDSCAPES))]
    budgets = [steps for steps in main["steps"].unique() if steps != "stationary"]
    # The largest budget below 10,000, at which samplers still differ.
    budget = max((steps for steps in budgets if steps < 10_000), default=0)
    of_budget = main[(main["dimension"] == 2) & (main["quantity"] == VARIATION)]
    modes = main[(main["quantity"] == WEIGHT) & main["landscape"].isin(_with_modes(main))]
    others = main[(main["quantity"] == ENERGY) & ~main["landscape"].isin(_with_modes(main))]
    of_dimension = pd.concat([modes, others])
    of_dimension = of_dimension[of_dimension["steps"] == budget]
    parts = [
        of_budget.assign(part="budget", at=of_budget["steps"]),
        of_dimension.assign(part="dimension", at=of_dimension["dimension"]),
    ]
    landscape, dimension = STUDIED
    for study, (column, _) in STUDIES.items():
        chosen = table[
            (table["quantity"] == f"{VARIATION}_by_{study}")
            & (table["landscape"] == landscape)
            & (table["dimension"] == dimension)
        ]
        steps = [s for s in chosen["steps"].unique()]
        chosen = chosen[chosen["steps"] == (max(steps) if steps else 0)]
        parts.append(chosen.assign(part=study, at=chosen[column]))
    return pd.concat(parts)[list(COLUMNS)]


def _with_modes(main: pd.DataFrame) -> set[str]:
    """Landscapes that have modes in more than one dimension."""
    rows = main[(main["quantity"] == WEIGHT) & (main["dimension"] > 1)]
    return set(rows["landscape"])


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    shown = figure(6.7)
    samplers = in_order(frame["sampler"])
    landscapes = [name for name in LANDSCAPES if name in set(frame["landscape"])]
    upper, lower = shown.subfigures(2, 1, height_ratios=[2, 1.15])
    axes = upper.subplots(2, len(landscapes), squeeze=False)
    for column, landscape in enumerate(landscapes):
        rows = frame[frame["landscape"] == landscape]
        small(axes[0, column], LANDSCAPES[landscape])
        _budgets(axes[0, column], rows[rows["part"] == "budget"], samplers)
        small(axes[1, column])
        _dimensions(axes[1, column], rows[rows["part"] == "dimension"], samplers)
    axes[0, 0].set_ylabel("total variation, d = 2", fontsize=7)
    studies = lower.subplots(1, len(STUDIES), sharey=True)
    for axis, (study, (_, label)) in zip(studies, STUDIES.items(), strict=True):
        small(axis, f"{LANDSCAPES[STUDIED[0]]}, d = {STUDIED[1]}")
        axis.set_xlabel(label, fontsize=7)
        _study(axis, frame[frame["part"] == study], samplers)
    studies[0].set_ylabel("total variation", fontsize=7)
    shown.legend(*handles(samplers), loc="outside upper center", ncols=3, fontsize=7)
    footer(shown, _remarks(frame, samplers))
    return shown


def _remarks(frame: pd.DataFrame, samplers: Sequence[str]) -> list[str]:
    """Small print: what each row shows, and a series that its name does not explain."""
    dimension_rows = frame[frame["part"] == "dimension"]
    study_rows = frame[frame["part"].isin(list(STUDIES))]
    previous = (
        "From the previous action: the plain chain, begun at an exact draw of the landscape's "
        "mirror image along the first axis instead of uniformly, as if the state had just changed."
    )
    return [
        "First row: total variation to quadrature above that of as many exact draws. st.: held "
        "until stationary; hollow: it did not become so. "
        f"Second row: at {_first(dimension_rows)} gradient evaluations; of landscapes "
        "without modes the energy distance, to that of exact draws.",
        f"Third row: at {_first(study_rows)} gradient evaluations, by step size; with Q scaled at "
        "the same temperature; and with actions that leave the box clipped, reflected or let go.",
        previous if "previous" in samplers else "",
        f"Bars: 95 %, {int(frame['repeats'].min())} repeats of independent chains. Each sampler at "
        "the best of equally many step sizes (but where these are the axis), held ones at fine "
        "ones.",
    ]


def _first(rows: pd.DataFrame) -> str:
    return str(rows["steps"].iloc[0]) if len(rows) else "no"


def _bars(axis: Axes, x: np.ndarray, rows: pd.DataFrame, sampler: str) -> None:
    value = rows["value"].to_numpy()
    low = np.nan_to_num(value - rows["low"].to_numpy())
    high = np.nan_to_num(rows["high"].to_numpy() - value)
    axis.errorbar(x, value, yerr=[low, high], elinewidth=0.7, **line(sampler))


def _budgets(axis: Axes, rows: pd.DataFrame, samplers: Sequence[str]) -> None:
    known = sorted({int(s) for s in rows["steps"] if s != "stationary"})
    places = {str(steps): rank for rank, steps in enumerate(known)}
    for rank, sampler in enumerate(samplers):
        shift = 0.06 * (rank - len(samplers) / 2)
        chosen = rows[rows["sampler"] == sampler]
        walked = chosen[chosen["steps"].astype(str) != "stationary"]
        x = np.array([places[str(steps)] + shift for steps in walked["steps"]])
        _bars(axis, x, walked, sampler)
        held = chosen[chosen["steps"].astype(str) == "stationary"]
        if len(held):
            is_stationary = str(held["is_stationary"].iloc[0]) == "True"
            look = line(sampler) | {"linestyle": ""}
            face = look["color"] if is_stationary else "white"
            axis.plot([len(known) + shift], held["value"], markerfacecolor=face, **look)
    powers = {100: "10²", 1000: "10³", 10_000: "10⁴"}
    labels = [powers.get(n, str(n)) for n in known]
    axis.set_xticks(range(len(known) + 1), [*labels, "st."])
    axis.axhline(0, color=GREY, linewidth=0.7)
    axis.set_ylim(top=1.0)
    axis.set_xlabel("gradient evaluations", fontsize=6.5)


def _dimensions(axis: Axes, rows: pd.DataFrame, samplers: Sequence[str]) -> None:
    axis.set_xscale("log")
    for rank, sampler in enumerate(samplers):
        chosen = rows[rows["sampler"] == sampler].sort_values("dimension")
        x = chosen["dimension"].to_numpy() * 1.05 ** (rank - len(samplers) / 2)
        _bars(axis, x, chosen, sampler)
    sizes = sorted(int(size) for size in rows["dimension"].unique())
    # There is no room for all of seven.
    shown = sizes[:1] + sizes[-1:] + [size for size in sizes if size in (6, 17, 50)]
    axis.set_xticks(sizes, [str(size) if size in shown else "" for size in sizes])
    axis.xaxis.set_minor_locator(NullLocator())
    if ENERGY in set(rows["quantity"]):
        axis.set_yscale("log")
        axis.axhline(1, color=GREY, linewidth=0.7)
        axis.set_title("energy distance", fontsize=6.5, fontweight="normal")
    else:
        axis.axhline(0, color=GREY, linewidth=0.7)
        axis.set_title("mode-weight error", fontsize=6.5, fontweight="normal")
    axis.set_xlabel("action dimensions", fontsize=6.5)


def _study(axis: Axes, rows: pd.DataFrame, samplers: Sequence[str]) -> None:
    places = list(dict.fromkeys(rows["at"]))
    is_text = any(isinstance(place, str) and not _is_number(place) for place in places)
    for sampler in samplers:
        chosen = rows[rows["sampler"] == sampler]
        if len(chosen):
            at = chosen["at"]
            x = np.array([places.index(a) for a in at] if is_text else at, float)
            _bars(axis, x, chosen, sampler)
    if is_text:
        names = {"clip": "clipped", "reflect": "reflected", "none": "free"}
        axis.set_xticks(range(len(places)), [names.get(place, place) for place in places])
        axis.margins(x=0.2)
    elif places:
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())
        if len(places) == 3:
            axis.set_xticks([float(p) for p in places], [f"{float(p):g}" for p in places])
            axis.xaxis.set_minor_locator(NullLocator())
    axis.axhline(0, color=GREY, linewidth=0.7)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _write(content: bytes, output: Path) -> None:
    output.write_bytes(render(content, draw))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    description, module = __doc__.splitlines()[0], "analysis.figures.sampler_exactness"
    return derive(PROBE, description, module, FIGURE, arguments, data, _write)


if __name__ == "__main__":
    sys.exit(main())
