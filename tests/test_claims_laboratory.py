"""Verdicts of every claim on the laboratory's tables, on each side of its bound."""

from pathlib import Path

import pandas as pd
import pytest
from audited import COMPARATOR, HOPPER, derive, furnish, runs
from planted import plant

from algorithms import ALGORITHMS
from analysis import claims, declarations

DOCUMENT = declarations.read_claims(declarations.SCHEMA.parent / "claims.yaml")
CELL = {"env": HOPPER, "landscape": "ring", "dimension": 2, "distance": 1.0}
COUNTS = {"seeds": 5, "repeats": 5, "censored": 0, "comparator_censored": 0}
NEUTRAL = {"value": 1.0, "low": 0.9, "high": 1.1, "degrees_of_freedom": 4} | COUNTS


@pytest.fixture(scope="module")
def planted_once(tmp_path_factory) -> tuple[Path, dict]:
    folder, returns = tmp_path_factory.mktemp("claims"), {}
    with pytest.MonkeyPatch.context() as patch:
        furnish(folder)
        patch.chdir(folder)
        for algorithm in ALGORITHMS:
            returns |= runs(algorithm, 1000, 5, environments=[HOPPER])
        plan = plant(returns)
        derive(plan)
    return folder, plan


@pytest.fixture
def plan(planted_once, monkeypatch) -> dict:
    """Of a working folder whose run tables are there, and no table of the laboratory."""
    folder, plan = planted_once
    monkeypatch.chdir(folder)
    for table in {table for table, *_ in DECIDED}:
        Path("results", table).unlink(missing_ok=True)
    return dict(plan)


def write(table: str, claim: str, changes: list[dict]) -> None:
    """A table with a neutral row for each test that reads it, and `changes` to those of a claim."""
    rows = []
    for declared in declarations.declarations(DOCUMENT, "desk", 10_000):
        own = iter(changes)
        for test in declared.tests:
            if test["evidence"] == table and declared.scale == "desk":
                where = {column: one_of(value) for column, value in test["where"].items()}
                row = CELL | NEUTRAL | where
                rows.append(row | next(own) if declared.id == claim else row)
    columns = DOCUMENT["evidence"][table]["columns"]
    file = Path("results", table)
    pd.DataFrame(rows).reindex(columns=columns).drop_duplicates().to_csv(file, index=False)


def one_of(value):
    """What a test's `where` asks for: the first of several; the form of Diffusion-QL as published
    where the better one was not chosen yet."""
    value = value[0] if isinstance(value, list) else value
    return "diffusion_ql" if value == "chosen" else value


def around(value: float, half: float = 0.05, **more) -> dict:
    return {"value": value, "low": value - half, "high": value + half} | more


LOST = {"censored": 3, "comparator_censored": 3}
"""Of five, in both arms."""
DECIDED = [
    ("mixing.csv", "3-authors", [around(0.5)], "supported"),
    ("mixing.csv", "3-authors", [around(2.0, 0.5)], "not supported"),
    ("mixing.csv", "3-authors", [around(1.0, 0.2)], "inconclusive"),
    ("mixing.csv", "3-authors", [around(0.5) | LOST], "not tested"),
    # One arm that never arrives pulls the ratio towards 1 only.
    ("mixing.csv", "3-authors", [around(0.5, comparator_censored=5)], "supported"),
    ("ablation.csv", "4c", [around(10.0, 5.0)], "supported"),
    ("ablation.csv", "4c", [around(-10.0, 5.0)], "not supported"),
    ("ablation.csv", "4c", [around(2.0, 5.0)], "inconclusive"),
    ("ablation.csv", "4c", [around(10.0, 5.0, seeds=4)], "inconclusive"),
    ("sensitivity.csv", "14-nc_lql-temperature", [around(0.3)], "supported"),
    ("sensitivity.csv", "14-nc_lql-temperature", [around(-0.3)], "not supported"),
    ("sensitivity.csv", "14-nc_lql-temperature", [around(0.03)], "inconclusive"),
    ("bandit.csv", "16-lattice-lql", [around(0.6), around(1.9), around(0.99, 0.01)], "supported"),
    ("bandit.csv", "16-lattice-lql", [around(0.4), around(1.9), around(1.0)], "not supported"),
    ("bandit.csv", "16-lattice-lql", [around(0.6), around(2.2), around(1.0)], "not supported"),
    ("bandit.csv", "16-lattice-lql", [around(0.6), around(1.9), around(0.8)], "not supported"),
    ("bandit.csv", "16-lattice-lql", [around(0.52), around(1.9), around(1.0)], "inconclusive"),
    ("proposals.csv", "17-lql", [around(0.96), around(1.0)], "supported"),
    ("proposals.csv", "17-lql", [around(0.80), around(1.0)], "not supported"),
    ("proposals.csv", "17-lql", [around(0.96), around(0.4)], "not supported"),
    ("proposals.csv", "17-lql", [around(0.96), around(2.5)], "not supported"),
    ("proposals.csv", "17-lql", [around(0.92), around(1.0)], "inconclusive"),
    ("exploration.csv", "18a-ppo", [around(1.2)], "supported"),
    ("exploration.csv", "18a-diffusion_ql", [around(0.8)], "not supported"),
    ("exploration.csv", "18a-sac", [around(1.02)], "inconclusive"),
    ("bandit.csv", "18b-ppo", [around(0.5)], "supported"),
    ("bandit.csv", "18b-sac", [around(1.5)], "not supported"),
    ("bandit.csv", "18b-diffusion_ql", [around(0.97)], "inconclusive"),
    ("bandit.csv", "18b-ppo", [around(0.5) | LOST], "not tested"),
]


@pytest.mark.parametrize(("table", "claim", "changes", "expected"), DECIDED)
def test_a_claim_is_decided_by_the_side_of_its_bound(plan, table, claim, changes, expected):
    write(table, claim, changes)
    family = [c for c in DOCUMENT["claims"] if c["id"].split("-")[0] == claim.split("-")[0]]
    plan |= {"others": {"comparator": COMPARATOR}, "artefacts": [table]}
    table = claims.claims_table(DOCUMENT | {"claims": family}, plan, "refuse")
    found = table.set_index("claim").loc[claim]
    assert found["verdict"] == expected, found["reason"]


def test_every_claim_of_the_laboratorys_tables_is_among_them():
    tables = {table for table, *_ in DECIDED}
    declared = declarations.declarations(DOCUMENT, "desk", 10_000)
    families = {d.id.split("-")[0] for d in declared for t in d.tests if t["evidence"] in tables}
    # 13, of growth, is tested with the degrees of its interval.
    assert families - {claim.split("-")[0] for _, claim, *_ in DECIDED} == {"13"}


def test_the_two_claims_of_returns_by_noise_conditioning_have_one_rule():
    first, second = (
        next(claim for claim in DOCUMENT["claims"] if claim["id"] == name) for name in ("4a", "4b")
    )
    (a,), (b,) = first["tests"], second["tests"]
    assert a | {"where": b["where"]} == b and a["supported"] == {"above": 0.5}
    assert b["where"] == {"algorithm": "nc_lql", "comparator": "nc_lql_unconditioned"}
