"""What all figures share: colours, names, sizes, and SVG files of the same bytes every time."""

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.figure
import pandas as pd
from matplotlib.colors import to_rgb

from analysis.derived import command, csv_bytes, listed
from analysis.names import readable
from analysis.records import Records
from analysis.statistics import MINIMUM_SEEDS

# Okabe and Ito's palette (jfly.uni-koeln.de/color), made to be told apart with any colour vision.
COLOURS = {
    "nc_lql": "#0072B2",
    "lql": "#D55E00",
    "diffusion_ql": "#009E73",
    "ppo": "#E69F00",
    "sac": "#CC79A7",
}
OTHER_COLOURS = ("#000000", "#56B4E9", "#7A5C00", "#6A3D9A", "#7F7F7F")
"""For algorithms that are not in `COLOURS`, in the order of the tables."""
GREY = "#595959"
DASHES = ((), (4, 1.5), (1, 1), (4, 1, 1, 1), (6, 2), (2, 2))
MARKERS = "osD^vPX*"
WIDTH_INCHES = 7.0
"""Text width of A4 with usual margins."""
FOOTER_CHARACTERS = 150
"""In a line of small print."""


TEXT_COLUMNS = (
    *("algorithm", "base", "comparator", "comparator_base"),
    *("note", "comparator_note", "left_out", "over", "source_of_one"),
)


class Look(NamedTuple):
    """How an algorithm or variant looks, in every figure."""

    name: str
    colour: tuple[float, float, float]
    dashes: tuple[float, ...]
    marker: str

    @property
    def line(self) -> dict:
        """Arguments of `Axes.plot` and `Line2D`."""
        style = (0, self.dashes) if self.dashes else "-"
        return {"color": self.colour, "linestyle": style, "marker": self.marker, "markersize": 3.5}

    @property
    def ink(self) -> tuple[float, ...]:
        """The colour dark enough for small letters on white."""
        return tuple(0.72 * part for part in self.colour)


def looks(frame: pd.DataFrame) -> dict[str, Look]:
    """By label, from the columns `algorithm` (label) and `base` (the algorithm it is a variant of).

    A variant has its algorithm's colour, paler, and other dashes and markers.
    """
    pairs = frame[["algorithm", "base"]].drop_duplicates()
    pairs = pairs[pairs["algorithm"] != ""]
    others = [base for base in dict.fromkeys(pairs["base"]) if base not in COLOURS]
    colours = COLOURS | {
        base: OTHER_COLOURS[k % len(OTHER_COLOURS)] for k, base in enumerate(others)
    }
    order = [*COLOURS, *others]
    variants: dict[str, int] = {}
    found = {}
    for label, base in pairs.itertuples(index=False):
        rank = 0
        if label != base:
            rank = variants[base] = variants.get(base, 0) + 1
        paleness = min(0.3 * rank, 0.6)
        colour = tuple(c + (1 - c) * paleness for c in to_rgb(colours[base]))
        marker = MARKERS[(order.index(base) + 2 * rank) % len(MARKERS)]
        found[label] = Look(readable(label, base), colour, DASHES[rank % len(DASHES)], marker)
    return found


def base_of(records: Records, label: str) -> str:
    """The algorithm of a label of the plan."""
    return records.plan.get("variants", {}).get(label, {}).get("algorithm", label)


def figure(height: float, **layout) -> matplotlib.figure.Figure:
    """An empty figure of the text's width and a height in inches."""
    return matplotlib.figure.Figure(
        figsize=(WIDTH_INCHES, height), layout=layout.pop("layout", "constrained"), **layout
    )


def footer(shown: matplotlib.figure.Figure, lines: Sequence[str]) -> None:
    """Small print under a figure: what it shows, of what, and what it does not."""
    text = "\n".join(textwrap.fill(line, FOOTER_CHARACTERS) for line in lines if line)
    shown.supxlabel(text, x=0.01, ha="left", fontsize=6.5, color=GREY, linespacing=1.4)


def grouped(notes: Sequence[tuple[str, str]]) -> list[str]:
    """`a, b: note.` for (name, note) pairs, names of the same note together, in order."""
    names: dict[str, list[str]] = {}
    for name, note in notes:
        names.setdefault(note, []).append(name)
    return [f"{'; '.join(dict.fromkeys(of))}: {note}." for note, of in names.items() if note]


def interval_remark(seeds: Sequence[int]) -> str:
    """Why there is no interval, where the seeds are too few for one; empty where there is one."""
    few = sorted({int(n) for n in seeds if 0 < n < MINIMUM_SEEDS})
    if not few:
        return ""
    counts = f"{listed([str(n) for n in few])} seed{'s' if few != [1] else ''}"
    if all(0 <= n < MINIMUM_SEEDS for n in seeds):
        return f"{counts}: no interval."
    return f"{counts}: no interval (from {MINIMUM_SEEDS} seeds on)."


def without_methods(frame: pd.DataFrame) -> matplotlib.figure.Figure:
    """What is drawn in place of a figure where no method of a scale or study is registered."""
    shown = figure(1.0)
    shown.text(0.5, 0.5, "no method of it is registered", ha="center", color=GREY)
    return shown


def svg_bytes(shown: matplotlib.figure.Figure) -> bytes:
    """The figure as SVG, with text as outlines, so that it looks the same wherever it stands."""
    content = io.BytesIO()
    shown.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def theme() -> dict:
    """Settings under which figures are drawn, whatever the user's own are."""
    import seaborn as sns  # takes as long as a small figure; the report needs colours only

    settings = sns.axes_style("ticks") | sns.plotting_context("paper", font_scale=0.9)
    return settings | {
        "svg.hashsalt": "langevin-q-suite",
        "svg.fonttype": "path",
        "font.family": ["DejaVu Sans"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "legend.frameon": False,
        "legend.handlelength": 3.2,
        "axes.unicode_minus": True,
    }


def figure_command(
    name: str,
    description: str,
    data: Callable[[Mapping, Records], pd.DataFrame],
    draw: Callable[[pd.DataFrame], matplotlib.figure.Figure],
    arguments: Sequence[str] | None,
    counts: Sequence[str] = (),
) -> int:
    """Command line of a figure: figures/NAME.csv of `data`, and figures/NAME.svg drawn from it."""

    def derive(plan: Mapping, records: Records) -> dict[str, bytes]:
        table = csv_bytes(data(plan, records), counts)
        drawn = render(table, draw if records.plan["algorithms"] else without_methods)
        return {f"figures/{name}.csv": table, f"figures/{name}.svg": drawn}

    return command(f"analysis.figures.{name}", description, derive, arguments)


def render(table: bytes, draw: Callable[[pd.DataFrame], matplotlib.figure.Figure]) -> bytes:
    """SVG that `draw` makes of a CSV; empty cells of text columns are empty strings."""
    frame = pd.read_csv(io.BytesIO(table))
    for column in TEXT_COLUMNS:
        if column in frame:
            frame[column] = frame[column].fillna("").astype(str)
    # From matplotlib's own defaults: a user's matplotlibrc must not show.
    with mpl.rc_context(mpl.rcParamsDefault | theme()):
        return svg_bytes(draw(frame))
