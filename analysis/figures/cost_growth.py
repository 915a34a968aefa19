"""How cost grows with batch, depth, action dimension and number of environments, both axes
logarithmic, with the fitted exponents.

Drawn from the rows of compute.csv by `python -m analysis.compute`, with the CSV beside it.
"""

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from analysis.derived import number
from analysis.figures import costs
from analysis.figures.costs import line, logarithmic, looks, order, readable_name

PANELS = {
    ("update_seconds", "batch"): "update, by batch",
    ("update_seconds", "critic_layers"): "update, by layers",
    ("update_seconds", "action_dimension"): "update, by action dimension",
    ("action_seconds", "batch"): "acting, by batch",
    ("action_seconds", "critic_layers"): "action, by layers",
    ("action_seconds", "action_dimension"): "action, by action dimension",
    ("live_tensor_bytes_without_replay", "batch"): "live tensors, by batch",
    ("live_tensor_bytes_without_replay", "critic_layers"): "live tensors, by layers",
    ("transitions_per_second", "environments"): "training, by environments",
}
SMALL_PRINT = (
    "Other sizes at their defaults, those of HalfCheetah. At the top of each panel: k of cost ~ "
    "size^k, fitted over all sizes shown. Bars: 95 % intervals over processes. One update is owed "
    "for each step of all environments side by side. Live tensors are without the replay."
)


def data(table: pd.DataFrame) -> pd.DataFrame:
    """The curves that exponents were fitted over, with `over` saying which, and the exponents."""
    kept = []
    for (quantity, axis), _ in PANELS.items():
        fitted = table[(table["quantity"] == f"{quantity}_exponent") & (table["over"] == axis)]
        kept.append(fitted)
        for exponent in fitted.itertuples():
            cases = exponent.cases.split(" + ")
            own = table["cases"].isin(cases) & (table["quantity"] == quantity)
            own &= (table["machine"] == exponent.machine) & (table["comparator"] == "")
            kept.append(table[own].assign(over=axis))
    return pd.concat(kept) if kept else table.iloc[:0]


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    return costs.by_machine(frame, 6.2, _machine, SMALL_PRINT)


def _machine(part: SubFigure, rows: pd.DataFrame, title: str) -> None:
    axes = part.subplots(3, 3)
    names = order(rows)
    look = looks(names)
    for axis, ((quantity, size), heading) in zip(axes.flat, PANELS.items(), strict=True):
        own = rows[(rows["quantity"] == quantity) & (rows["over"] == size)]
        fitted = rows[(rows["quantity"] == f"{quantity}_exponent") & (rows["over"] == size)]
        if own.empty:
            axis.axis("off")
            continue
        exponents = fitted.set_index("algorithm")["value"]
        handles = []
        for name in names:
            curve = own[own["algorithm"] == name]
            if len(curve):
                line(axis, curve, size, look[name])
                label = number(exponents[name], 2)
                handles += axis.plot([], [], markersize=2.5, label=label, **look[name])
        logarithmic(axis, own[size], heading, own["unit"].iloc[0])
        low, high = axis.get_ylim()
        axis.set_ylim(low, high * (high / low) ** 0.15)  # room for the exponents
        axis.legend(
            handles=handles,
            fontsize=5.5,
            ncols=len(handles),
            handlelength=1.2,
            handletextpad=0.3,
            columnspacing=0.6,
            loc="upper left",
            borderpad=0.1,
        )
    handles = [axes[0, 0].plot([], [], markersize=3.5, **look[name])[0] for name in names]
    costs.legend(part, handles, [readable_name(name) for name in names], title)


def files(table: pd.DataFrame) -> dict[str, bytes]:
    """Contents by path."""
    return costs.files("cost_growth", table, data, draw)
