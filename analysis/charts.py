"""Interactive charts of the report, as Vega-Lite specifications without their data.

The page names the data (`points`, `levels`) and sets the parameters that the reader picks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
from matplotlib.colors import to_hex, to_rgb

from analysis.figures.style import Look

HEIGHT = 380


def curves(look: Mapping[str, Look], environment: str, claiming: Sequence[str]) -> dict[str, Any]:
    """Every algorithm of one environment; `claiming` are those of which returns are claimed.

    Parameters: environment, axis, axis_title, with_seeds, shown (labels).

    points: env, algorithm, seed (absent in means), kind (`seed`, `mean`, `diverged`), transitions,
    updates, seconds, value, low, high. levels: env, algorithm (absent in floors), kind (`claimed`,
    `floor`), value, text.
    """
    shown = list(look)
    parameters = [
        alt.param(name="environment", value=environment),
        alt.param(name="axis", value="transitions"),
        alt.param(name="axis_title", value="environment transitions"),
        alt.param(name="with_seeds", value=True),
        alt.param(name="shown", value=shown),
    ]
    points = (
        alt.Chart(alt.NamedData("points"))
        .transform_filter("datum.env === environment && indexof(shown, datum.algorithm) >= 0")
        .transform_calculate(x="datum[axis]")
        .transform_filter("isValid(datum.x)")
    )
    x = alt.X("x:Q", title=None, axis=alt.Axis(format="~s", grid=False, tickCount=6))
    y = alt.Y("value:Q", title="return", axis=alt.Axis(format=",.0f", tickCount=6))
    colour = _colour(look)
    tooltip = [
        alt.Tooltip("algorithm:N"),
        alt.Tooltip("seed:N"),
        alt.Tooltip("value:Q", title="return", format=",.0f"),
        alt.Tooltip("transitions:Q", format=","),
        alt.Tooltip("updates:Q", format=","),
        alt.Tooltip("seconds:Q", format=",.0f"),
    ]
    seeds = points.transform_filter("datum.kind === 'seed' && with_seeds")
    means = points.transform_filter("datum.kind === 'mean'")
    levels = alt.Chart(alt.NamedData("levels")).transform_filter(
        "datum.env === environment && (datum.kind === 'floor' || "
        "indexof(shown, datum.algorithm) >= 0)"
    )
    floors = levels.transform_filter("datum.kind === 'floor'")
    claimed = levels.transform_filter("datum.kind === 'claimed'")
    words = {"baseline": "bottom", "dy": -2, "fontSize": 10}
    layers = [
        floors.mark_rule(strokeDash=[1, 3], color="#808080").encode(y="value:Q"),
        floors.mark_text(color="#808080", align="right", dx=-4, **words).encode(
            x=alt.value("width"), y="value:Q", text="text:N"
        ),
        claimed.mark_rule(strokeDash=[6, 4], opacity=0.8).encode(y="value:Q", color=colour),
        # Side by side, since claims of different methods lie close to one another.
        *(
            claimed.transform_filter(f"datum.algorithm === '{label}'")
            .mark_text(align="left", dx=4 + 84 * rank, **words)
            .encode(x=alt.value(0), y="value:Q", text="text:N", color=colour)
            for rank, label in enumerate(claiming)
        ),
        means.mark_area(opacity=0.15).encode(x=x, y="low:Q", y2="high:Q", color=colour),
        seeds.mark_line(opacity=0.45, strokeWidth=1).encode(
            x=x, y=y, color=colour, detail="seed:N", strokeDash=_dashes(look)
        ),
        means.mark_line(strokeWidth=2.4).encode(
            x=x, y=y, color=colour, strokeDash=_dashes(look), tooltip=tooltip
        ),
        means.mark_point(size=60, opacity=0).encode(x=x, y=y, tooltip=tooltip),
        points.transform_filter("datum.kind === 'diverged'")
        .mark_point(shape="cross", angle=45, size=90, filled=True)
        .encode(x=x, y=y, color=colour, tooltip=tooltip),
    ]
    chart = alt.layer(*layers).add_params(*parameters)
    return _document(chart, {"expr": "axis_title"})


def run(look: Mapping[str, Look]) -> dict[str, Any]:
    """The evaluations of one run. Parameters: environment, shown (one label), seed."""
    chart = (
        alt.Chart(alt.NamedData("points"))
        .transform_filter(
            "datum.kind === 'seed' && datum.env === environment && datum.seed === seed && "
            "indexof(shown, datum.algorithm) >= 0"
        )
        .mark_line(point=True)
        .encode(
            x=alt.X(
                "transitions:Q",
                title="environment transitions",
                axis=alt.Axis(format="~s", grid=False, tickCount=6),
            ),
            y=alt.Y("value:Q", title="return", axis=alt.Axis(format=",.0f", tickCount=6)),
            color=_colour(look),
            tooltip=[
                alt.Tooltip("value:Q", title="return", format=",.1f"),
                alt.Tooltip("transitions:Q", format=","),
                alt.Tooltip("updates:Q", format=","),
                alt.Tooltip("seconds:Q", format=",.0f"),
            ],
        )
        .add_params(
            alt.param(name="environment", value=""),
            alt.param(name="shown", value=[]),
            alt.param(name="seed", value=0),
        )
    )
    return _document(chart, None)


def colours(look: Mapping[str, Look]) -> dict[str, str]:
    """By label, `#rrggbb`."""
    return {label: to_hex(style.colour) for label, style in look.items()}


def on_dark(colour: str) -> str:
    """The colour, paler, for a dark ground."""
    return to_hex([part + 0.35 * (1 - part) for part in to_rgb(colour)])


def _colour(look: Mapping[str, Look]) -> alt.Color:
    scale = alt.Scale(domain=list(look), range=list(colours(look).values()))
    return alt.Color("algorithm:N", scale=scale, legend=None)


def _dashes(look: Mapping[str, Look]) -> alt.StrokeDash:
    dashes = [[round(2 * part) for part in style.dashes] or [1, 0] for style in look.values()]
    scale = alt.Scale(domain=list(look), range=dashes)
    return alt.StrokeDash("algorithm:N", scale=scale, legend=None)


def _document(chart: alt.TopLevelMixin, title: dict[str, str] | None) -> dict[str, Any]:
    """Vega-Lite with the width of its container; `title` of the horizontal axis."""
    document = chart.properties(width="container", height=HEIGHT).to_dict()
    document.pop("datasets", None)
    document.pop("config", None)
    if title is not None:
        _title_axes(document["layer"], title)
    return document


def _title_axes(layers: Sequence[dict], title: dict[str, str]) -> None:
    """Give the axis of a layer a title that follows a parameter (Altair takes text only)."""
    for layer in layers:
        x = layer.get("encoding", {}).get("x", {})
        if "axis" in x:
            x["axis"]["title"] = title
            x.pop("title", None)
