"""Reads the evidence of claims: derived tables, row by row, into cells of which verdicts are made.

A table that lacks, that lost a column or in which a value wanted never occurs is an error that
names it. Only what is declared to be absent makes a claim untested: a scale without records, a
probe that the suite does not have yet, a value that a claim says may lack, gaps asked for.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import reference, statistics
from analysis.artefacts import LABORATORY
from analysis.declarations import CHOSEN, CLAIMS, Declaration
from analysis.records import RecordError
from analysis.statistics import Interval
from analysis.verdicts import Cell, Region

LABELS = ("algorithm", "comparator")
"""Columns of algorithms and variants, of which a scale may have fewer than claims speak of."""


class NotTested(Exception):
    """Why a claim cannot be decided, in words."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """The form of the baseline that claims are held against."""

    label: str
    note: str
    """How it was chosen."""


class Evidence:
    """The tables that claims read, of the plan's scale and of others that are derived."""

    def __init__(self, document: Mapping[str, Any], plan: Mapping[str, Any], missing: str):
        """`document` of `read_claims`, `plan` of `load_plan`; `missing` is `refuse` or `gap`."""
        self.document, self.plan, self.missing = document, plan, missing
        self.own = plan["scale"]
        self._tables: dict[tuple[str, str], pd.DataFrame] = {}

    def path(self, scale: str, name: str) -> Path:
        """Where a table of a scale stands, there or not."""
        others = self.plan.get("others", {})
        folder = self.plan["folder"] if scale == self.own else others.get(scale, {}).get("folder")
        return Path(folder or f"results/{scale}") / name

    def check_scale(self, scale: str) -> None:
        """NotTested if the tables of a scale are not derived."""
        if scale == self.own:
            return
        other = self.plan.get("others", {}).get(scale)
        if other is None:
            raise NotTested(f"the protocol has no '{scale}'")
        if other["derived"]:
            return
        recorded, planned = other["recorded"], other["planned"]
        if not recorded:
            raise NotTested(f"no run of '{scale}' is recorded (0 of {planned})")
        raise NotTested(
            f"{recorded} of {planned} runs of '{scale}' are recorded; its tables are derived when "
            "all are, or with missing=gap"
        )

    def unvalidated(self, scale: str) -> dict[str, str]:
        """Environments of a scale that enter no verdict, and why."""
        if scale == self.own:
            return self.plan["scales"][scale].get("unvalidated", {})
        return self.plan["others"][scale].get("unvalidated", {})

    def table(self, scale: str, name: str) -> pd.DataFrame:
        """A table with its declared columns, cells as they stand. RecordError if it is no good,
        NotTested if it is awaited and not there."""
        self.check_scale(scale)
        key = (scale, name)
        if key not in self._tables:
            self._tables[key] = self._read(self.path(scale, name), name)
        return self._tables[key]

    def _read(self, path: Path, name: str) -> pd.DataFrame:
        declared = self.document["evidence"][name]
        is_made = name in self.plan.get("artefacts", ())
        # What the workflow does not make there is another default scale's, left over.
        if "awaited" in declared and not is_made:
            raise NotTested(f"gap: not measured yet, awaits {declared['awaited']} ({path})")
        try:
            table = pd.read_csv(
                path, float_precision="round_trip", keep_default_na=False, dtype=str
            )
        except FileNotFoundError:
            raise RecordError(path, f"missing (snakemake {path} makes it)") from None
        except (ValueError, OSError) as error:
            raise RecordError(path, " ".join(str(error).split())) from None
        absent = [column for column in declared["columns"] if column not in table]
        if absent:
            raise RecordError(path, f"has no column {', '.join(absent)} ({CLAIMS} reads it)")
        if "mirrored" in declared:
            table = _with_mirror(table, declared["mirrored"], path)
        if "env" in table:
            table["env_name"] = [reference.split(env)[0] for env in table["env"]]
        return table

    @cached_property
    def choice(self) -> Choice:
        """What `chosen` stands for. RecordError as of `table`."""
        chosen = self.document["chosen_comparator"]
        study, among = chosen["study"], chosen["among"]
        published = f"held against {among[0]}, the published form"
        try:
            table = self.table(study, chosen["evidence"])
        except NotTested as reason:
            return Choice(among[0], f"{published}, since {reason}")
        values = numbers(table, chosen["value"], self.path(study, chosen["evidence"]))
        # Seeds first, then environments, so that a missing seed moves no weight.
        by_env = values.groupby([table["algorithm"], table["env"]]).mean().unstack()
        means = by_env.reindex(among).mean(axis=1, skipna=False)
        if means.isna().any():
            lacking = ", ".join(means.index[means.isna()])
            return Choice(among[0], f"{published}, since '{study}' has no full score of {lacking}")
        best = str(means.idxmax())
        return Choice(best, f"held against {best}, the best of its forms in study '{study}'")

    # Cells -------------------------------------------------------------------------------------

    def cells(self, declaration: Declaration) -> Iterator[tuple[Mapping[str, Any], list[Cell]]]:
        """Each test of a claim with its cells. RecordError and NotTested."""
        for test in declaration.tests:
            yield test, list(self._cells(test, declaration))

    def _cells(self, test: Mapping[str, Any], declaration: Declaration) -> Iterator[Cell]:
        path = self.path(declaration.scale, test["evidence"])
        table = self.table(declaration.scale, test["evidence"])
        rows = self._select(test, test.get("where", {}), table, path, declaration.scale)
        others = None
        if "relative_to" in test:
            where = test.get("where", {}) | test["relative_to"]
            others = self._select(test, where, table, path, declaration.scale)
        if "env" in test.get("per", ()):
            rows = rows[~rows["env"].isin(list(self.unvalidated(declaration.scale)))]
        if rows.empty:
            raise NotTested("no environment of this scale is validated")
        named_by = [test["named_by"]] if "named_by" in test else []
        for name, key, group in _groups(rows, test.get("per", named_by)):
            name = " ".join(filter(None, (test.get("called"), name)))
            reader = _Reader(test, path, declaration.id, name, group)
            if "above_all" in test:
                yield reader.over_rows()
            elif others is not None or "count" in test or test.get("is_count"):
                own = reader.exact()
                beside = 1.0
                if others is not None:
                    of_key = others
                    for column, value in key.items():
                        of_key = of_key[of_key[column] == value]
                    if of_key.empty:
                        raise RecordError(path, f"claim {declaration.id}: nothing beside {name}")
                    beside = _Reader(test, path, declaration.id, name, of_key).exact()
                value = own / beside if beside else math.nan
                yield reader.cell(Interval(value, value, value), is_exact=True)
            else:
                yield reader.from_columns()

    def _check_registered(self, test: Mapping, where: Mapping) -> None:
        """NotTested if a table of studies has no such row and a method is run at no scale: with one
        that is not registered its quantities go too, or all rows."""
        parts = self.plan["scales"][self.own], *self.plan.get("others", {}).values()
        run = {"", *(label for part in parts for label in part["algorithms"])}
        wanted = [where[column] for column in LABELS if isinstance(where.get(column), str)]
        wanted = [self.choice.label if label == CHOSEN else label for label in wanted]
        gone = [label for label in wanted if label not in run]
        if gone and Path(test["evidence"]).stem in LABORATORY:
            raise NotTested(f"{', '.join(gone)} is run at no scale")

    def _check_labels(self, wanted: list[str], scale: str) -> None:
        """NotTested if what has no row is no part of the scale either."""
        part = self.plan["scales"][scale] if scale == self.own else self.plan["others"][scale]
        absent = [label for label in wanted if label and label not in part["algorithms"]]
        if absent:
            raise NotTested(f"{', '.join(absent)} is not run at the scale '{scale}'")

    def _select(
        self, test: Mapping, where: Mapping, table: pd.DataFrame, path: Path, scale: str
    ) -> pd.DataFrame:
        if table.empty:
            self._check_registered(test, where)
            declared = self.document["evidence"][test["evidence"]]
            if "may_be_empty" in declared:
                raise NotTested(declared["may_be_empty"])
            if self.missing == "gap":
                raise NotTested(f"gap: {path} has no row")
            raise RecordError(path, "has no row")
        chosen = self.choice.label if CHOSEN in map(_text, where.values()) else None
        rows = table
        # First what may lack: that no GPU was measured says more than that its quantities are not.
        may_lack = test.get("may_lack", {})
        for column in sorted(where, key=lambda name: name not in may_lack):
            wanted = where[column] if isinstance(where[column], list) else [where[column]]
            wanted = [chosen if value == CHOSEN else _text(value) for value in wanted]
            found = rows[rows[column].map(_plain).isin(wanted)]
            if found.empty and column in may_lack:
                raise NotTested(may_lack[column])
            if found.empty and column in LABELS:
                self._check_labels(wanted, scale)
            if found.empty:
                self._check_registered(test, where)
                known = ", ".join(dict.fromkeys(rows[column]))
                names = " or ".join(repr(value) for value in wanted)
                raise RecordError(path, f"no row where {column} is {names} (has: {known:.200})")
            rows = found
        return rows


class _Reader:
    """Reads one cell of a test from its rows."""

    def __init__(self, test: Mapping, path: Path, claim: str, name: str, rows: pd.DataFrame):
        self.test, self.path, self.claim, self.name, self.rows = test, path, claim, name, rows

    def number(self, column: str) -> float:
        """Of the only row."""
        return float(numbers(self.rows, column, self.path).iloc[0])

    def _check_single(self) -> None:
        if len(self.rows) != 1:
            where = f" of {self.name}" if self.name else ""
            reason = f"claim {self.claim}: {len(self.rows)} rows{where} where one is meant"
            raise RecordError(self.path, reason)

    def cell(self, interval: Interval, **more: Any) -> Cell:
        """With what the test declares of regions."""
        unit = 1.0
        if "of" in self.test:
            unit = self.number(self.test["of"])
            if not unit > 0:
                raise RecordError(self.path, f"claim {self.claim}: {self.test['of']} is {unit}")
        refuted = self.test.get("refuted")
        row = self.rows.iloc[0] if len(self.rows) else None
        return Cell(
            self.name,
            interval,
            _region(self.test["supported"]).scaled(unit),
            _region(refuted).scaled(unit) if refuted else None,
            row=row,
            **more,
        )

    def exact(self) -> float:
        """A count of rows, or the value of the only one."""
        if "count" in self.test:
            # Exact numbers only: True and False are switches.
            values = pd.to_numeric(self.rows[self.test["count"]], errors="coerce")
            return float(values.notna().sum())
        self._check_single()
        return self.number(self.test["value"])

    def over_rows(self) -> Cell:
        """Mean over rows of `value` less the highest of `above_all`."""
        value = numbers(self.rows, self.test["value"], self.path)
        levels = [numbers(self.rows, name, self.path) for name in self.test["above_all"]]
        surplus = (value - np.max(levels, axis=0)).dropna()
        found = statistics.mean_against(surplus)
        return self.cell(
            Interval(found.difference, found.low, found.high),
            degrees_of_freedom=found.degrees_of_freedom,
            p_value=found.p_value,
            detectable=found.detectable,
            replicates=float(len(surplus)),
        )

    def from_columns(self) -> Cell:
        """As the columns of the only row say."""
        self._check_single()
        test = self.test
        replicates = min(self.number(column) for column in test["replicates"])
        interval = Interval(*(self.number(test[key]) for key in ("value", "low", "high")))
        if not math.isnan(interval.low) and not interval.low <= interval.high:
            raise RecordError(self.path, f"claim {self.claim}: low is above high ({self.name})")
        enough = replicates >= test.get("fewest", statistics.MINIMUM_SEEDS)
        if "enters" in test and self.rows.iloc[0][test["enters"]] != "yes":
            enough = False
        untested = self._void() or self._censored()
        if not enough or untested:
            interval = Interval(interval.value, math.nan, math.nan)
        degrees = (
            self.number(test["degrees_of_freedom"])
            if "degrees_of_freedom" in test
            else replicates - 1
        )
        is_ratio = test.get("is_ratio", False)
        return self.cell(
            interval,
            degrees_of_freedom=degrees,
            p_value=self.number(test["p_value"]) if "p_value" in test else math.nan,
            is_ratio=is_ratio,
            detectable=(
                self.number(test["detectable"])
                if "detectable" in test
                else _detectable(interval, degrees, is_ratio)
            ),
            replicates=replicates,
            untested=untested,
        )

    def _void(self) -> str:
        """Why the row means nothing, where it is declared not to."""
        declared = self.test.get("void_where", {})
        is_void = declared and self.rows.iloc[0][declared["column"]] == declared["value"]
        return declared["reason"] if is_void else ""

    def _censored(self) -> str:
        """How many never got there, where they are too many for an estimate to mean anything."""
        declared = self.test.get("censored", {})
        arms = [tuple(map(self.number, pair)) for pair in declared.get("arms", ())]
        too_many = [never > 0.5 * total for never, total in arms]
        is_untested = any(too_many) if declared.get("of") == "either" else all(too_many)
        if not arms or not is_untested:
            return ""
        counts = " and ".join(f"{never:.0f} of {total:.0f}" for never, total in arms)
        return f"too many never got there ({counts})"


def _detectable(interval: Interval, degrees: float, is_ratio: bool) -> float:
    """The difference, or factor, that an estimate of this precision finds."""
    if math.isnan(interval.low) or not degrees >= 1:
        return math.nan
    if is_ratio and interval.low <= 0:
        return math.nan
    line = Interval(*map(math.log, interval)) if is_ratio else interval
    error = statistics.standard_error(line, degrees)
    found = statistics.smallest_detectable_difference(error, degrees)
    return math.exp(found) if is_ratio else found


def _region(declared: Mapping[str, float]) -> Region:
    return Region(
        declared.get("above", -math.inf),
        declared.get("below", math.inf),
        declared.get("value_at_most", math.inf),
    )


def numbers(table: pd.DataFrame, column: str, path: Path) -> pd.Series:
    """A column as numbers; an empty cell is NaN. RecordError for what is neither or not finite."""
    cells = table[column]
    found = pd.to_numeric(cells.where(cells != ""), errors="coerce")
    bad = cells[(cells != "") & ~np.isfinite(found)]
    if len(bad):
        raise RecordError(path, f"{column} is {bad.iloc[0]!r:.60}, not a finite number")
    return found.astype(float)


def _groups(
    rows: pd.DataFrame, per: list[str]
) -> Iterator[tuple[str, dict[str, str], pd.DataFrame]]:
    """(name of the cell, values of its columns, rows), in the order of the table."""
    if not per:
        yield "", {}, rows
        return
    for values, group in rows.groupby(per, sort=False):
        key = dict(zip(per, values, strict=True))
        words = [v if c == "env" else _in_words(c, v) for c, v in key.items()]
        yield " ".join(words), key, group


def _in_words(column: str, value: str) -> str:
    """`dimension 2`; a landscape names itself, as an environment does."""
    words = value if column == "landscape" else f"{column} {value}"
    return words.replace("_", " ")


def _text(value: Any) -> str:
    """As it would stand in a table."""
    return f"{value:g}" if type(value) in (int, float) else str(value)


def _plain(cell: str) -> str:
    """`20` of `20.0`, which a column with empty cells becomes."""
    return cell[:-2] if cell.endswith(".0") and cell[:-2].isdigit() else cell


def _with_mirror(table: pd.DataFrame, mirrored: Mapping, path: Path) -> pd.DataFrame:
    """Each pair both ways round."""
    other = table.copy()
    for first, second in mirrored["exchange"]:
        other[first], other[second] = table[second], table[first]
    value, low, high = mirrored["complement"]
    for to, of in ((value, value), (low, high), (high, low)):
        complement = 1 - numbers(table, of, path)
        other[to] = ["" if math.isnan(x) else repr(x) for x in complement]
    return pd.concat([table, other], ignore_index=True)
