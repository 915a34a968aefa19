"""Derives `results/throughput.csv` from the raw samples of the throughput probe.

    python -m analysis.throughput [--records DIR] [--output FILE]

One row each, by `kind`:

- `time`: seconds a call of `quantity`. `flops` is what the call needs (`analysis.probes.products`);
  `share_of_limit` how long the machine's best square matrix products would take for them, in the
  same precisions and the same round, over how long it took.
- `limit`: seconds of a square matrix product of the best size, for each part of the record.
- `ratio`: of two times, round by round, or of parts of a desk run. `aim` is what was set out for.
- `exponent`: k in time ~ size^k over a growth table, by least squares of the logarithms.

`median`, `lower_quartile`, `upper_quartile` and `fastest` are over the `samples`: the rows of
`record` with the case in `cases` (of a ratio: numerator / denominator). Nothing else enters. Needs
neither torch nor an algorithm.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.artefacts import PROBES, RESULTS
from analysis.derived import csv_bytes
from analysis.probes.samples import ProbeRecord, ProbeRecordError, usable

RECORDS = PROBES / "throughput"
TABLE = RESULTS / "throughput.csv"
COLUMNS = (
    *("machine", "device", "part", "kind", "algorithm", "quantity", "precision", "compiled"),
    *("implementation", "parameter", "value", "unit", "median", "lower_quartile", "upper_quartile"),
    *("fastest", "samples", "units_per_second", "flops", "gflops_per_second", "share_of_limit"),
    *("share_lower_quartile", "share_upper_quartile", "aim", "cases", "record"),
    *("processor", "cores", "threads", "torch", "commit", "dirty"),
)
SHARE_AIMS = {
    ("nc_lql", "learn"): "at least 0.85",
    ("nc_lql", "chain"): "at least 0.90",
    ("lql", "learn"): "at least 0.85",
    ("lql", "chain"): "at least 0.90",
}
"""For float32."""
PRODUCTS_AIMS = {"diffusion_ql": "at most 1.3"}
PRECISION_AIMS = {"nc_lql": "at most 0.65", "lql": "at most 0.65"}
PEER_AIMS = {"ppo": "at least 2"}
LOOP_AIMS = {"nc_lql": "at most 0.15"}
COMPILATION_AIMS = {"cold": "at most 30", "warm": "at most 10"}
Row = dict[str, Any]


class Reader:
    """Samples of one record by case, and what the cases are."""

    def __init__(self, record: ProbeRecord):
        self.record = record
        self.cases: dict[str, dict[str, Any]] = record.document["cases"]
        grouped = record.samples.groupby("case", sort=False)
        self.seconds = {name: rows.set_index("round")["seconds_a_call"] for name, rows in grouped}

    def find(self, **fields: Any) -> list[str]:
        """Measured cases whose description has these values."""
        return [
            name
            for name, about in self.cases.items()
            if name in self.seconds and all(about.get(key) == v for key, v in fields.items())
        ]

    @cached_property
    def limits(self) -> dict[tuple[str, str], tuple[str, pd.Series]]:
        """By part and precision: the case of the best size, and FLOPs a second in each round."""
        found: dict[tuple[str, str], tuple[str, pd.Series]] = {}
        for name in self.find(quantity="matrix_product"):
            about = self.cases[name]
            key = about["group"], about["precision"]
            rate = about["flops"][about["precision"]] / self.seconds[name]
            if key not in found or rate.median() > found[key][1].median():
                found[key] = name, rate
        return found

    def limit_seconds(self, name: str) -> pd.Series | None:
        """Seconds in each round that the machine's limit allows for the FLOPs of a case."""
        about = self.cases[name]
        total: pd.Series | None = None
        for precision, flops in about.get("flops", {}).items():
            if (about["group"], precision) not in self.limits:
                return None
            seconds = flops / self.limits[about["group"], precision][1]
            total = seconds if total is None else total + seconds
        return total

    def common(self, name: str, kind: str) -> Row:
        """What every row of a case has."""
        about, document = self.cases[name], self.record.document
        return {
            "machine": self.record.name,
            "device": document["device"],
            "part": about["group"],
            "kind": kind,
            **{key: about.get(key) for key in _DESCRIBED},
            "cases": name,
            "record": self.record.path,
            "processor": document["machine"]["processor"],
            "cores": document["machine"]["cores"],
            "threads": document["threads"],
            "torch": document["versions"]["torch"],
            "commit": document["commit"],
            "dirty": document["dirty"],
        }


_DESCRIBED = (
    *("algorithm", "quantity", "precision", "compiled", "implementation", "parameter", "value"),
)


def spread(values: pd.Series) -> Row:
    """Median, quartiles, fastest and number."""
    return {
        "median": values.median(),
        "lower_quartile": values.quantile(0.25),
        "upper_quartile": values.quantile(0.75),
        "fastest": values.min(),
        "samples": len(values),
    }


def times(reader: Reader) -> Iterator[Row]:
    """Rows of single cases: `time`, and `limit` for the best matrix products."""
    for (_, precision), (name, _) in reader.limits.items():
        seconds, flops = reader.seconds[name], reader.cases[name]["flops"][precision]
        size = reader.cases[name]["sizes"]["matrix"]
        yield (
            reader.common(name, "limit")
            | spread(seconds)
            | {
                "parameter": "matrix",
                "value": size,
                "unit": "second",
                "flops": flops,
                "gflops_per_second": flops / seconds.median() / 1e9,
                "share_of_limit": 1.0,
            }
        )
    for name, seconds in reader.seconds.items():
        about = reader.cases[name]
        if about["quantity"] in ("matrix_product", "compilation"):
            continue
        row = reader.common(name, "time") | spread(seconds) | {"unit": "second"}
        row["units_per_second"] = about["units"] / seconds.median()
        limit = reader.limit_seconds(name)
        if "flops" in about:
            row["flops"] = sum(about["flops"].values())
            row["gflops_per_second"] = row["flops"] / seconds.median() / 1e9
        if limit is not None:
            share = (limit / seconds).dropna()
            row |= {
                "share_of_limit": share.median(),
                "share_lower_quartile": share.quantile(0.25),
                "share_upper_quartile": share.quantile(0.75),
            }
        yield row


def compilation(reader: Reader) -> Iterator[Row]:
    """Time that first calls take beyond second ones, of a whole process and of each call."""
    cases = reader.find(quantity="compilation")
    about = {name: reader.cases[name] for name in cases}
    kinds = dict.fromkeys((a["algorithm"], a["precision"], a["cache"]) for a in about.values())
    for kind in kinds:
        names = [n for n in cases if _kind(about[n]) == kind]
        fixed = {"parameter": "cache", "value": kind[2], "unit": "second"}
        total = sum(reader.seconds[name] for name in names)
        yield (
            reader.common(names[0], "time")
            | spread(total)
            | fixed
            | {
                "aim": COMPILATION_AIMS[kind[2]],
                "cases": " + ".join(names),
            }
        )
        for name in names:
            row = reader.common(name, "time") | spread(reader.seconds[name]) | fixed
            yield row | {"quantity": f"compilation of {about[name]['call']}"}


def _kind(about: dict[str, Any]) -> tuple[str, str, str]:
    return about["algorithm"], about["precision"], about["cache"]


def ratio(reader: Reader, quantity: str, top: str, bottom: str, aim: str | None, **more) -> Row:
    """A row of the ratio of two cases, round by round."""
    values = (reader.seconds[top] / reader.seconds[bottom]).dropna()
    row = reader.common(top, "ratio") | spread(values) | {"unit": "1", "quantity": quantity}
    return row | {"aim": aim, "cases": f"{top} / {bottom}", **more}


def ratios(reader: Reader) -> Iterator[Row]:
    """Rows of what the times are compared with."""
    for name in reader.find(group="updates", compiled=True):
        about = reader.cases[name]
        algorithm, quantity = about["algorithm"], about["quantity"]
        limit = reader.limit_seconds(name)
        if quantity in ("learn", "chain") and limit is not None:
            is_bar = about["precision"] == "float32"
            used = [reader.limits["updates", p][0] for p in about["flops"] if about["flops"][p]]
            yield (
                reader.common(name, "ratio")
                | spread((limit / reader.seconds[name]).dropna())
                | {
                    "quantity": f"{quantity}: share of the machine's limit",
                    "unit": "1",
                    "aim": SHARE_AIMS.get((algorithm, quantity)) if is_bar else None,
                    "cases": " + ".join([*used]) + f" / {name}",
                }
            )
        same = {"group": "updates", "algorithm": algorithm}
        for other in reader.find(**same, quantity="products", precision=about["precision"]):
            if quantity == "learn":
                aim = PRODUCTS_AIMS.get(algorithm)
                yield ratio(reader, "learn over its matrix products", name, other, aim)
        for other in reader.find(**same, quantity=quantity, precision="float32", compiled=True):
            if about["precision"] == "bfloat16":
                aim = PRECISION_AIMS.get(algorithm) if quantity == "learn" else None
                yield ratio(reader, f"{quantity}: bfloat16 over float32", name, other, aim)
        for other in reader.find(**same, quantity=quantity, precision="float32", compiled=False):
            if about["precision"] == "float32":
                yield ratio(reader, f"{quantity}: eager over compiled", other, name, None)
    for name in reader.find(quantity="end_to_end", implementation="ours"):
        algorithm = reader.cases[name]["algorithm"]
        same = {"quantity": "end_to_end", "algorithm": algorithm}
        for other in reader.find(**same, implementation="stable_baselines3"):
            quantity = "transitions a second over Stable-Baselines3's"
            # Seconds of one sample, which is of as many transitions on either side.
            yield ratio(reader, quantity, other, name, PEER_AIMS.get(algorithm), **_OURS)
    yield from loops(reader)


_OURS = {"implementation": "ours", "compiled": True}


def loops(reader: Reader) -> Iterator[Row]:
    """The share of a desk run that is not `learn`: parts as measured, as often as the run does
    them; the run's warm-up is counted without `learn`."""
    for name in reader.find(group="loop", quantity="vector_step"):
        base = name.rpartition("/")[0]
        part = {key: reader.seconds[f"{base}/{key}"] for key in ("vector_step", "learn")}
        median = {
            key: reader.seconds[f"{base}/{key}"].median()
            for key in ("evaluation", "metrics_row", "checkpoint")
        }
        run = reader.cases[name]["run"]
        around = run["vector_step"] * (part["vector_step"] - part["learn"])
        around += sum(run[key] * median[key] for key in ("evaluation", "metrics_row"))
        learning = run["learning_step"] * part["learn"]
        around *= 1 + median["checkpoint"] / run["checkpoint_seconds"]
        around += learning * median["checkpoint"] / run["checkpoint_seconds"]
        algorithm = reader.cases[name]["algorithm"]
        yield (
            reader.common(name, "ratio")
            | spread(around / (around + learning))
            | {
                "quantity": "share of a desk run outside of learn",
                "unit": "1",
                "aim": LOOP_AIMS.get(algorithm),
                "cases": " + ".join(f"{base}/{key}" for key in (*part, *median)),
            }
        )
        for key in ("act", "environment", "observe"):
            quantity = f"{key} over a vector step"
            yield ratio(reader, quantity, f"{base}/{key}", name, None)


def exponents(reader: Reader) -> Iterator[Row]:
    """Rows of the slopes of growth tables, one slope a round."""
    names = [n for n in reader.find(group="growth") if "parameter" in reader.cases[n]]
    tables = dict.fromkeys(
        (reader.cases[n]["algorithm"], reader.cases[n]["parameter"]) for n in names
    )
    for algorithm, parameter in tables:
        rows = [
            n
            for n in names
            if (reader.cases[n]["algorithm"], reader.cases[n]["parameter"])
            == (algorithm, parameter)
        ]
        if len(rows) < 2:
            continue
        sizes = np.log([reader.cases[n]["value"] for n in rows])
        seconds = pd.concat([reader.seconds[n] for n in rows], axis=1).dropna()
        slopes = pd.Series(np.polyfit(sizes, np.log(seconds.to_numpy().T), 1)[0])
        yield (
            reader.common(rows[0], "exponent")
            | spread(slopes)
            | {
                "value": None,
                "unit": "1",
                "cases": " + ".join(rows),
            }
        )


def throughput_table(records: Sequence[ProbeRecord]) -> pd.DataFrame:
    """All rows of all records."""
    rows = [
        row
        for reader in map(Reader, records)
        for derive in (times, compilation, ratios, exponents)
        for row in derive(reader)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def records_of(folder: Path) -> list[ProbeRecord]:
    """The records to derive from. Raises ProbeRecordError where there is none, or where `folder` is
    that of the results and one was taken with --quick."""
    return usable(folder, RECORDS, "python -m analysis.probes.throughput")


def derive(
    write: Any, description: str, module: str, output: Path, arguments: Sequence[str] | None
) -> int:
    """Command line of a program that derives from these records; returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--records", type=Path, default=RECORDS, help="folder (%(default)s)")
    parser.add_argument("--output", type=Path, default=output, help="file (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        records = records_of(options.records)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write(throughput_table(records), options.output)
    except ProbeRecordError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _write(table: pd.DataFrame, output: Path) -> None:
    output.write_bytes(csv_bytes(table))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    description = __doc__.splitlines()[0]
    return derive(_write, description, "analysis.throughput", TABLE, arguments)


if __name__ == "__main__":
    sys.exit(main())
