"""What an action, an update and the memory of an update cost, by the number of steps of a chain.

Drawn from the rows of compute.csv by `python -m analysis.compute`, with the CSV beside it.
"""

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from analysis.figures import costs
from analysis.figures.costs import line, logarithmic, looks, order, readable_name

PANELS = {
    "action_seconds": "an action, batch 1",
    "update_seconds": "an update",
    "live_tensor_bytes_without_replay": "live tensors, replay left out",
}
SMALL_PRINT = (
    "Bars: 95 % intervals over processes. Dotted: the default number of steps of NC-LQL; the ring "
    "is where Diffusion-QL, as it acts, begins to cost more. Horizontal: methods without a chain. "
    "PPO's update is one minibatch of 64, the others' are of 256."
)


def data(table: pd.DataFrame) -> pd.DataFrame:
    """The measured curves over steps, and the crossings of NC-LQL at its default sizes."""
    rows = table[(table["comparator"] == "") & table["quantity"].isin(list(PANELS))]
    rows = rows[(rows["quantity"] != "action_seconds") | (rows["batch"] == 1)]
    # Sizes as the algorithm has them by default, but for the steps and candidates.
    kept = []
    for _, group in rows.groupby(["machine", "device", "quantity", "algorithm"], sort=False):
        base = group.iloc[0]
        same = [
            (group[size] == base[size]) | (group[size].isna() & pd.isna(base[size]))
            for size in ("critic_layers", "action_dimension", "batch")
        ]
        kept.append(group[pd.concat(same, axis=1).all(axis=1)])
    crossed = table["quantity"].isin([f"{quantity}_crossing" for quantity in PANELS])
    crossed &= (table["algorithm"] == "nc_lql") & (table["comparator"] == "diffusion_ql")
    return pd.concat([*kept, table[crossed]])


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    return costs.by_machine(frame, 2.6, _machine, SMALL_PRINT)


def _machine(part: SubFigure, rows: pd.DataFrame, title: str) -> None:
    axes = part.subplots(1, len(PANELS))
    names = order(rows)
    look, handles = looks(names), {}
    for axis, (quantity, heading) in zip(axes, PANELS.items(), strict=True):
        own = rows[rows["quantity"] == quantity]
        for name in names:
            of = own[own["algorithm"] == name]
            if of.empty:
                continue
            if of["steps"].isna().all():
                value = costs.SCALE[of["unit"].iloc[0]] * of["value"].iloc[0]
                axis.axhline(value, color=look[name]["color"], linewidth=0.9)
                continue
            most = of["candidates"].max()
            for candidates, curve in of.groupby("candidates", dropna=False):
                is_few = candidates < most
                line(axis, curve, "steps", look[name], linestyle=":" if is_few else "-")
        _default(axis, rows, own, quantity)
        steps = own["steps"].dropna()
        logarithmic(axis, steps, heading, own["unit"].iloc[0] if len(own) else "second")
        axis.set_xlabel("steps of the chain", fontsize=6.5)
    for name in names:
        (handles[name],) = axes[0].plot([], [], markersize=3.5, **look[name])
    labels = [readable_name(name) for name in names]
    few = axes[0].plot([], [], ":", **looks(["diffusion_ql"])["diffusion_ql"], markersize=3.5)[0]
    costs.legend(part, [*handles.values(), few], [*labels, "Diffusion-QL, one candidate"], title)


def _default(axis, rows: pd.DataFrame, own: pd.DataFrame, quantity: str) -> None:
    """NC-LQL at its default number of steps, which stands first, and where it is crossed."""
    default = own[own["algorithm"] == "nc_lql"]
    if default.empty:
        return
    first = default.iloc[0]
    level = costs.SCALE[first["unit"]] * first["value"]
    axis.axhline(level, color=looks(["nc_lql"])["nc_lql"]["color"], linestyle=":", linewidth=0.8)
    crossed = rows[(rows["quantity"] == f"{quantity}_crossing") & (rows["steps"] == first["steps"])]
    for at in crossed["value"].dropna():
        axis.plot([at], [level], "o", markersize=8, fillstyle="none", color="black", zorder=5)
        axis.annotate(
            f"{at:.0f}", (at, level), (5, -9), textcoords="offset points", fontsize=6.5, zorder=5
        )


def files(table: pd.DataFrame) -> dict[str, bytes]:
    """Contents by path."""
    return costs.files("cost_of_steps", table, data, draw)
