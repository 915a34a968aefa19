"""The table of exploration: states that methods visit in the first transitions of a run.

Of the records of `analysis.probes.visits`, by quantity:

- `coverage`: cells of side `WIDTH` visited by the end, averaged over pairs of coordinates of the
  observation; `coverage_after_warm_up` leaves out the first transitions of every method, as many as
  methods with a replay begin with at random.
- `coverage_fine`, `coverage_coarse`: with cells of half and of twice that side.
- `coverage_curve`: as `coverage`, after so many `transitions`.
- `coverage_ratio` and, for each of the others, `<quantity>_ratio`: of two methods, with Welch's
  interval on the scale of logarithms.

All methods have the same transitions. A run that diverged counts what it had visited.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.laboratory import Study, mean_row, pair_rows, ratio_row

COLUMNS = [
    *("quantity", "algorithm", "comparator", "env", "value", "low", "high", "seeds"),
    *("transitions", "width", "minimum", "maximum", "note", "degrees_of_freedom"),
]
PROBE_BY_QUANTITY = {"": "visits"}
"""The probe that all quantities are of."""
WIDTH = 0.5
"""In standard deviations of a random policy's states."""
QUANTITIES = {
    "coverage": ("cells", WIDTH),
    "coverage_after_warm_up": ("cells_after_warm_up", WIDTH),
    "coverage_fine": ("cells", WIDTH / 2),
    "coverage_coarse": ("cells", WIDTH * 2),
}
"""Column of the records and width of a cell."""


def table(studies: Sequence[Study]) -> pd.DataFrame:
    """All quantities of all studies."""
    rows = [
        row for study in studies for env in study.part["environments"] for row in _env(study, env)
    ]
    return pd.DataFrame(rows, columns=COLUMNS).fillna({"comparator": "", "note": ""})


def _env(study: Study, env: str) -> list[dict]:
    visits = {label: study.probed("visits", env, label) for label in study.part["algorithms"]}
    total, seeds = study.part["transitions"], study.part["seeds"]
    rows = []
    for quantity, (column, width) in QUANTITIES.items():
        cells, notes = {}, {}
        for label, by_seed in visits.items():
            cells[label] = {
                seed: _at(rows_, total, width)[column] for seed, rows_ in by_seed.items()
            }
            row = mean_row(cells[label], seeds, "visits")
            notes[label] = row["note"]
            common = {
                "quantity": quantity,
                "algorithm": label,
                "transitions": total,
                "width": width,
            }
            rows.append(common | row)
        pairs = pair_rows(f"{quantity}_ratio", cells, notes, ratio_row)
        rows += [row | {"transitions": total, "width": width} for row in pairs]
    for label, by_seed in visits.items():
        for point in sorted({at for visited in by_seed.values() for at in visited["transitions"]}):
            cells_at = {
                seed: _at(visited, point, WIDTH)["cells"] for seed, visited in by_seed.items()
            }
            common = {"quantity": "coverage_curve", "algorithm": label, "transitions": point}
            rows.append(common | {"width": WIDTH} | mean_row(cells_at, seeds, "visits"))
    return [{"env": env} | row for row in rows]


def _at(visited: pd.DataFrame, transitions: int, width: float) -> Mapping[str, float]:
    """The row of a record."""
    is_it = (visited["transitions"] == transitions) & (visited["width"] == width)
    return visited[is_it].iloc[0]
