"""How the samplers of the laboratory look, in every figure."""

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.figures.style import COLOURS, GREY

LANDSCAPES = {
    "quadratic": "quadratic",
    "mixture": "mixture",
    "unequal_widths": "unequal widths",
    "ring": "ring",
    "rugged": "rugged",
}
NAMES = {
    "plain": "plain chain",
    "previous": "from the previous action",
    "annealed_mean": "annealed, E[Q(a + σz)]",
    "annealed_soft": "annealed, τ log E[exp(Q(a + σz)/τ)]",
    "annealed_soft_wide": "annealed, τ log E[…], σ from 0.5",
    "authors": "authors' form (NC-LQL)",
}
_COLOURS = {
    "plain": COLOURS["lql"],
    "previous": "#E69F00",
    "annealed_mean": "#56B4E9",
    "annealed_soft": "#009E73",
    "annealed_soft_wide": "#000000",
    "authors": COLOURS["nc_lql"],
}
_MARKERS = dict(zip(NAMES, "ovs^DP", strict=True))
_DASHES = {"previous": (0, (4, 1.5)), "annealed_soft_wide": (0, (1, 1))}


def line(sampler: str) -> dict:
    """Arguments of `Axes.plot`, `Axes.errorbar` and `Line2D`."""
    return {
        "color": _COLOURS.get(sampler, GREY),
        "marker": _MARKERS.get(sampler, "."),
        "linestyle": _DASHES.get(sampler, "-"),
        "markersize": 3.5,
        "linewidth": 1.1,
    }


def handles(samplers: list[str]) -> tuple[list[Line2D], list[str]]:
    """Of a legend."""
    return [Line2D([], [], **line(s)) for s in samplers], [NAMES.get(s, s) for s in samplers]


def in_order(samplers) -> list[str]:
    """Those that have a look, in its order."""
    return [name for name in NAMES if name in set(samplers)]


def small(axis: Axes, title: str = "") -> None:
    """Small print, as many panels need."""
    axis.set_title(title, fontsize=7.5)
    axis.tick_params(labelsize=6.5)
    axis.grid(axis="y", linewidth=0.4, color="#E0E0E0")
