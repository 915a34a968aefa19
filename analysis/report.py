"""Writes results/report.html: one page, complete in itself, that opens without a network.

    python -m analysis.report [--scale NAME] [--missing gap]

Verdicts first, then table 1, learning curves to pick from, figures, hyperparameters with their
sources, and every run with its provenance and its own curve. Same results, same bytes.
"""

import base64
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import vl_convert
from markupsafe import Markup

from analysis import captions, charts, claims_page, report_parts
from analysis.artefacts import clips_of
from analysis.declarations import read_claims
from analysis.derived import command, number
from analysis.figures.style import base_of, looks
from analysis.records import RecordError, Records
from analysis.statistics import SMOOTHING_WINDOW
from analysis.tables import evaluated_candidates

TEMPLATE = Path("paper/report")
TABLES = (
    *("claims", "table1", "final_scores", "sample_efficiency", "hyperparameters", "provenance"),
    "figures/learning_curves",
)
PARTS = {"returns", "efficiency", "verdicts", "runs"}
"""Topics with sections of their own. Others have figures, and the tables behind their claims."""


def derive(plan: Mapping, records: Records) -> dict[str, bytes]:
    """report.html. RecordError for a table or a source of the page that is not there."""
    folder = Path(plan["folder"])
    tables = read_tables(folder)
    look = looks(
        pd.DataFrame(
            [(label, base_of(records, label)) for label in records.plan["algorithms"]],
            columns=["algorithm", "base"],
        )
    )
    curves = tables["figures/learning_curves"]
    points = list(_points(curves, records))
    levels = list(_levels(curves, look))
    claiming = list(dict.fromkeys(row["algorithm"] for row in levels if "algorithm" in row))
    data = {
        "points": points,
        "levels": levels,
        "on_dark": {colour: charts.on_dark(colour) for colour in charts.colours(look).values()},
        "notes": {env: _note(curves[curves["env"] == env], look) for env in _environments(plan)},
        "runs": report_parts.runs(tables["provenance"], look),
        "specs": {
            "curves": charts.curves(look, _environments(plan)[0], claiming),
            "run": charts.run(look),
        },
    }
    names = {label: style.name for label, style in look.items()}
    figures = list(_figures(folder))
    claims = read_claims()
    context = {
        "scale": plan["scale"],
        "tally": report_parts.tally(tables["claims"]),
        "lead": report_parts.lead(tables["claims"], tables["table1"]),
        "topics": report_parts.topics(tables["claims"], claims["topics"]),
        "amendments": [claims_page.amendment(change) for change in claims["amendments"]],
        "budget": report_parts.budget(records.plan),
        "candidates": [
            f"{names[label]} ({count})"
            for label, count in evaluated_candidates(plan, list(names)).items()
        ],
        "returns": report_parts.returns(tables["table1"], records.plan, names),
        "averaged": SMOOTHING_WINDOW,
        "efficiency": report_parts.efficiency(tables["sample_efficiency"], names),
        "hyperparameters": report_parts.hyperparameters(tables["hyperparameters"], names),
        "runs": report_parts.run_rows(tables["provenance"], tables["final_scores"], names),
        "environments": _environments(plan),
        "labels": [
            {"label": label, "name": names[label], "colour": colour}
            for label, colour in charts.colours(look).items()
        ],
        "curves": bool(points),
        "figures": figures,
        "laboratory": list(report_parts.laboratory(tables["claims"], claims, figures, PARTS)),
        "clips": list(_clips(plan["scale"], names)),
        "data": Markup(_script_json(data)),
        "css": Markup(_source("page.css")),
        "script": Markup(_source("page.js")),
        "vega": Markup(_in_script(vl_convert.javascript_bundle())),
    }
    return {"report.html": _render(context)}


def _environments(plan: Mapping) -> list[str]:
    return plan["scales"][plan["scale"]]["environments"]


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Every one of `TABLES`. RecordError for one that is not there."""
    return {name: _table(folder / f"{name}.csv") for name in TABLES}


def _table(file: Path) -> pd.DataFrame:
    """Cells as they stand."""
    try:
        return pd.read_csv(file, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise RecordError(file, f"missing (snakemake {file} makes it)") from None
    except (ValueError, OSError) as error:
        raise RecordError(file, " ".join(str(error).split())) from None


def _source(name: str) -> str:
    try:
        return (TEMPLATE / name).read_text()
    except OSError as error:
        raise RecordError(TEMPLATE / name, f"cannot be read: {error.strerror}") from None


def _render(context: Mapping[str, Any]) -> bytes:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["slug"] = lambda verdict: verdict.replace(" ", "-")
    page = environment.get_template("page.html.jinja").render(context)
    return f"{page.strip()}\n".encode()


# Learning curves --------------------------------------------------------------------------------


def _points(curves: pd.DataFrame, records: Records) -> Iterator[dict[str, Any]]:
    """Evaluations of runs and their means, as `charts.curves` describes them."""
    clocks = {
        (run.env, run.algorithm, run.seed): _clock(records.metrics(run.path))
        for run in records.runs.itertuples()
        if not run.gap
    }
    own = curves[curves["series"].isin(["seed", "mean", "diverged"])]
    for row in own.itertuples():
        at = float(row.transitions)
        point = {
            "env": row.env,
            "algorithm": row.algorithm,
            "kind": row.series,
            "transitions": int(at),
            "updates": int(row.updates),
            "value": float(row.value),
        }
        if row.series == "mean":
            cell = [c for (e, a, _), c in clocks.items() if (e, a) == (row.env, row.algorithm)]
            point |= {"low": _cell(row.low), "high": _cell(row.high)}
        else:
            point["seed"] = int(row.seed)
            cell = [clocks[row.env, row.algorithm, point["seed"]]]
        seconds = [np.interp(at, *clock) for clock in cell if clock is not None]
        point["seconds"] = round(float(np.mean(seconds)), 1) if len(seconds) == len(cell) else None
        yield point


def _clock(metrics: pd.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """Transitions and wall-clock seconds of a run; None for a record without a clock."""
    if "wall_seconds" not in metrics:
        return None
    known = metrics[["transitions", "wall_seconds"]].dropna()
    if known.empty:
        return None
    return (
        np.concatenate([[0.0], known["transitions"].to_numpy()]),
        np.concatenate([[0.0], known["wall_seconds"].to_numpy()]),
    )


def _levels(curves: pd.DataFrame, look: Mapping) -> Iterator[dict[str, Any]]:
    for row in curves.itertuples():
        if row.series == "claimed" and row.algorithm in look:
            told = f"digest {float(row.value):,.0f}"
            yield {
                "env": row.env,
                "algorithm": row.algorithm,
                "kind": "claimed",
                "value": float(row.value),
                "text": told,
            }
        elif row.series in ("random", "zero"):
            value = float(row.value)
            told = f"{row.series} actions {value:,.0f}".replace("-", "−")
            yield {"env": row.env, "kind": "floor", "value": value, "text": told}


def _note(curves: pd.DataFrame, look: Mapping) -> str:
    """What is absent of an environment, and what dashes mean."""
    parts = []
    counts = Counter()
    for row in curves[curves["series"] == "gap"].itertuples():
        counts[row.note] += 1
        parts.append(f"{look[row.algorithm].name}: {row.note}.")
    if len(counts) == 1 and counts.total() == len(look):
        parts = ["No run of this environment is recorded."]
    if (curves["series"] == "claimed").any():
        parts.append("Dashed: what the digest states, without seeds or steps.")
    if (curves["series"] == "diverged").any():
        parts.append("A cross: the run diverged there.")
    return " ".join(parts)


def _cell(cell: str) -> float | None:
    return float(cell) if cell else None


# Into the page ----------------------------------------------------------------------------------


def _figures(folder: Path) -> Iterator[dict[str, str]]:
    for picture in captions.pictures(folder):
        # Interactive on this page.
        if picture.file.stem != "learning_curves":
            yield {
                "name": picture.file.stem,
                "topic": picture.caption.topic,
                "caption": picture.caption.text,
                "source": _data_address("image/svg+xml", picture.file),
            }


def _clips(scale: str, names: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Rollouts of methods of this scale, from their records."""
    for file in map(Path, clips_of(scale)):
        animation = file.with_suffix(".webp")
        label = file.parent.name
        if file.suffix != ".json" or label not in names:
            continue
        try:
            record = json.loads(file.read_text())
            told = (
                f"seed {record['seed']}: the first {record['shown_seconds']:.1f} s of an episode "
                f"of {record['length']:,} steps that returned {number(record['return'])}"
            )
            source = _data_address("image/webp", animation)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise RecordError(file, f"is no record of a rollout ({reason})") from None
        yield {"name": names[label], "env": record["env"], "told": told, "source": source}


def _data_address(kind: str, file: Path) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _script_json(data: Mapping[str, Any]) -> str:
    text = json.dumps(_finite(data), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    # Within a script element only this could end it.
    return text.replace("<", "\\u003c")


def _in_script(source: str) -> str:
    return source.replace("</script", "<\\/script")


def _finite(value: Any) -> Any:
    """NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return command("analysis.report", __doc__.splitlines()[0], derive, arguments)


if __name__ == "__main__":
    sys.exit(main())
