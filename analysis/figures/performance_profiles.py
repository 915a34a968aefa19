"""Performance profiles: the share of runs above each normalised score, over all environments.

    python -m analysis.figures.performance_profiles [--scale NAME] [--missing gap]

With pointwise stratified bootstrap bands at 95 % from five seeds on.
"""

import math
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import statistics
from analysis.figures.aggregate_bars import remarks
from analysis.figures.style import GREY, base_of, figure, figure_command, footer, looks
from analysis.records import Records
from analysis.reference import source_of_one
from analysis.scores import final_scores, matrices

STEP = 0.02
"""Of normalised score, between the points of a profile."""
COLUMNS = [
    *("algorithm", "base", "threshold", "share", "low", "high", "seeds"),
    *("over", "left_out", "note", "source_of_one"),
]


def data(plan: Mapping, records: Records) -> pd.DataFrame:
    """A row for each algorithm and threshold; one without threshold where there is no profile."""
    found = matrices(records, final_scores(records))
    scores = np.concatenate([matrix.ravel() for matrix in found.scores.values()] or [[0.0]])
    first = math.floor(min(0.0, scores.min()) / STEP)
    last = math.ceil(max(1.0, scores.max()) / STEP)
    thresholds = np.arange(first, last + 1) * STEP
    left_out = "; ".join(f"{env}: {reason}" for env, reason in found.left_out.items())
    rows = []
    for algorithm in records.plan["algorithms"]:
        common = {
            "algorithm": algorithm,
            "base": base_of(records, algorithm),
            "over": " ".join(found.environments),
            "left_out": left_out,
            "source_of_one": source_of_one(found.environments),
        }
        if algorithm not in found.scores:
            rows.append(common | {"seeds": 0, "note": found.absent[algorithm]})
            continue
        matrix = found.scores[algorithm]
        profile = statistics.performance_profile(matrix, thresholds)
        note = found.notes[algorithm]
        rows += [
            common
            | {
                "threshold": threshold,
                "share": point.value,
                "low": point.low,
                "high": point.high,
                "seeds": len(matrix),
                "note": note,
            }
            for threshold, point in zip(thresholds, profile, strict=True)
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


def draw(frame: pd.DataFrame) -> Figure:
    """The figure of a table of `data`."""
    look = looks(frame)
    shown = figure(3.6)
    axis = shown.subplots()
    for rank, (label, style) in enumerate(look.items()):
        rows = frame[(frame["algorithm"] == label) & frame["threshold"].notna()]
        missing = " (no profile)" if rows.empty else ""
        axis.plot(
            rows["threshold"],
            rows["share"],
            **style.line,
            markevery=(rank, 8),
            drawstyle="steps-post",
            linewidth=1.5,
            label=style.name + missing,
        )
        axis.fill_between(
            rows["threshold"],
            rows["low"],
            rows["high"],
            color=style.colour,
            alpha=0.15,
            linewidth=0,
            step="post",
        )
    axis.axvline(1, color=GREY, linewidth=0.7, linestyle=(0, (1, 2)))
    axis.set_xlabel("normalised score")
    axis.set_ylabel("share of runs above it")
    axis.set_ylim(-0.02, 1.02)
    if frame["threshold"].isna().all():
        axis.set_xlim(0, 1.05)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    small_print = [line.replace("Lines:", "Bands:") for line in remarks(frame)]
    footer(shown, small_print)
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return figure_command("performance_profiles", __doc__.splitlines()[0], data, draw, arguments)


if __name__ == "__main__":
    sys.exit(main())
