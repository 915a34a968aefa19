"""What is alive at the peak of an update, part by part.

Drawn from the rows of compute.csv by `python -m analysis.compute`, with the CSV beside it.
"""

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from analysis.figures import costs
from analysis.figures.costs import order, readable_name

PARTS = {
    "parameter_bytes": ("parameters", "#0072B2"),
    "target_bytes": ("targets", "#56B4E9"),
    "gradient_bytes": ("gradients", "#E69F00"),
    "optimiser_state_bytes": ("optimiser's state", "#F0E442"),
    "other_bytes": ("other", "#999999"),
    "activation_bytes": ("activations and temporaries", "#D55E00"),
}
SMALL_PRINT = (
    "Live tensors at the peak of an update at the sizes of a desk run; activations are the "
    "measured peak less all that is accounted for. Left out, and printed: the replay (PPO: its "
    "rollout)."
)


def data(table: pd.DataFrame) -> pd.DataFrame:
    """The parts of live bytes, and the replay's."""
    return table[table["quantity"].isin([*PARTS, "replay_bytes"]) & (table["comparator"] == "")]


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    bars = frame.groupby("machine").apply(lambda rows: len(_bars(rows)), include_groups=False)
    return costs.by_machine(
        frame, 0.9 + 0.2 * (bars.max() if len(bars) else 1), _machine, SMALL_PRINT
    )


def _bars(rows: pd.DataFrame) -> list[tuple[str, float]]:
    """(algorithm, its number of steps), top to bottom."""
    found = rows[["algorithm", "steps"]].drop_duplicates()
    return [
        (name, steps)
        for name in order(rows)
        for steps in sorted(found.loc[found["algorithm"] == name, "steps"])
    ]


def _machine(part: SubFigure, rows: pd.DataFrame, title: str) -> None:
    axis = part.subplots()
    labels = []
    for place, (name, steps) in enumerate(_bars(rows)):
        is_steps = rows["steps"].isna() if pd.isna(steps) else rows["steps"] == steps
        own = rows[(rows["algorithm"] == name) & is_steps].set_index("quantity")["value"] / 1e6
        begin = 0.0
        for quantity, (_, colour) in PARTS.items():
            axis.barh(place, own.get(quantity, 0), left=begin, color=colour, height=0.7)
            begin += own.get(quantity, 0)
        told = f"+ {own['replay_bytes']:.1f}" if "replay_bytes" in own else ""
        axis.annotate(told, (begin, place), (3, 0), textcoords="offset points", **_SMALL)
        labels.append(readable_name(name) + ("" if pd.isna(steps) else f", {steps:.0f} steps"))
    axis.set_yticks(range(len(labels)), labels, fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("MB", fontsize=7)
    axis.tick_params(labelsize=6.5)
    axis.margins(x=0.12)
    handles = [axis.barh([0], [0], color=colour) for _, colour in PARTS.values()]
    costs.legend(part, handles, [label for label, _ in PARTS.values()], title)


_SMALL = {"fontsize": 6, "color": "#595959", "va": "center"}


def files(table: pd.DataFrame) -> dict[str, bytes]:
    """Contents by path."""
    return costs.files("memory_parts", table, data, draw)
