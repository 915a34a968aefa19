"""What every program that derives files from records shares: its command line and its files."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.records import RecordError, Records, load_plan, read_scale

Derive = Callable[[dict, Records], Mapping[str, bytes]]
"""(plan, records of its scale) -> contents of files by their path under the scale's folder."""
DeriveFromTables = Callable[[dict, str], Mapping[str, bytes]]
"""(plan, `refuse` or `gap`) -> the same, from tables that are derived already."""


def command(module: str, description: str, derive: Derive, arguments: Sequence[str] | None) -> int:
    """Read the records of a scale, derive all files, then write them.

    A record that is missing (unless gaps are asked for) or cannot be used ends with one line that
    names it, status 2 and nothing written.
    """

    def of_records(plan: dict, missing: str) -> Mapping[str, bytes]:
        return derive(plan, read_scale(plan, plan["scale"], missing))

    return tables_command(module, description, of_records, arguments)


def tables_command(
    module: str, description: str, derive: DeriveFromTables, arguments: Sequence[str] | None
) -> int:
    """As `command`, for what is derived from tables; those are refused likewise."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--scale", help="scale or study (default: the protocol's default)")
    parser.add_argument(
        "--missing",
        choices=("refuse", "gap"),
        default="refuse",
        help="refuse runs without a record, or show them as named gaps (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    try:
        plan = load_plan(options.scale)
        files = derive(plan, options.missing)
    except RecordError as error:
        print(error, file=sys.stderr)
        return 2
    for name, content in files.items():
        path = Path(plan["folder"]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return 0


def csv_bytes(frame: pd.DataFrame, counts: Sequence[str] = ()) -> bytes:
    """A table as CSV: empty cells for what is not there, `counts` without decimals."""
    whole = frame.assign(**{name: pd.to_numeric(frame[name]).round() for name in counts})
    whole = whole.astype(dict.fromkeys(counts, "Int64"))
    return whole.to_csv(index=False, float_format="%.8g", lineterminator="\n").encode()


def number(value: float, decimals: int = 0) -> str:
    """For a reader: 1,234; a dash for what is not there."""
    # Adding zero makes the negative zero of rounding a plain one.
    return (
        "–" if pd.isna(value) else f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "−")
    )


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
