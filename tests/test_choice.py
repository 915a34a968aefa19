"""The choice of a sweep, from planted records."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import plant
from studied import ROOT, elsewhere, value

from algorithms.lql import Configuration
from analysis.choice import choice
from analysis.records import RecordError, read_scale, record_digest
from analysis.reference import normalisation

__all__ = ["elsewhere"]
CHEETAH, HOPPER = "HalfCheetah-v4", "Hopper-v4"


def chosen(returns, missing="gap", **more):
    return choice(read_scale(plant(returns, scale="sweep", **more), "sweep", missing))


def test_the_best_mean_of_late_returns_over_environments_is_chosen():
    steady, lucky = [0.0, *[600.0] * 10], [0.0, *[100.0] * 9, 2000.0]
    table = chosen(
        {
            (CHEETAH, "steady", 0): steady,
            (HOPPER, "steady", 0): steady,
            (CHEETAH, "lucky", 0): lucky,
            (HOPPER, "lucky", 0): lucky,
        }
    )
    own = value(table, algorithm="steady", env="all")
    expected = np.mean([normalisation(env)(600.0) for env in (CHEETAH, HOPPER)])
    assert own["normalised"] == pytest.approx(expected) and own["chosen"] == 1
    other = value(table, algorithm="lucky", env=HOPPER)
    assert other["late"] == pytest.approx((4 * 100 + 2000) / 5)
    assert value(table, algorithm="lucky", env="all")["chosen"] == 0, "its last evaluation is best"
    assert table["algorithm"].tolist() == ["steady", "lucky", *["steady"] * 2, *["lucky"] * 2]


def test_an_environment_of_large_returns_does_not_decide_alone():
    table = chosen(
        {
            (CHEETAH, "a", 0): [0.0, *[1000.0] * 10],
            (HOPPER, "a", 0): [0.0, *[100.0] * 10],
            (CHEETAH, "b", 0): [0.0, *[400.0] * 10],
            (HOPPER, "b", 0): [0.0, *[600.0] * 10],
        }
    )
    late = {label: table[table["algorithm"] == label]["late"].sum() for label in "ab"}
    assert late["a"] > late["b"]
    assert value(table, algorithm="b", env="all")["chosen"] == 1


def test_nothing_is_chosen_while_a_run_lacks_and_a_diverged_one_is_not():
    good, bad = [0.0, *[500.0] * 10], [0.0, *[2000.0] * 4]
    table = chosen({(HOPPER, "good", 0): good}, gaps=[(HOPPER, "other", 0)])
    assert table["chosen"].isna().all()
    diverged = {(HOPPER, "good", 0): good, (HOPPER, "bad", 0): bad}
    table = chosen(diverged, diverged=[(HOPPER, "bad", 0)])
    assert value(table, algorithm="good", env="all")["chosen"] == 1
    assert value(table, algorithm="bad", env="all")["chosen"] == 0


def test_where_every_label_has_a_diverged_run_none_is_chosen():
    """All are as bad as can be, which is no best; and one that diverged at its first evaluation
    counts as recorded all the same."""
    runs = {(HOPPER, label, 0): [0.0, 900.0] for label in ("late", "later")}
    table = chosen(runs, diverged=list(runs), evaluate_every=1000)
    assert (table[table["env"] == "all"]["chosen"] == 0).all()
    never = {(HOPPER, "good", 0): [0.0, *[500.0] * 10], (HOPPER, "never", 0): [0.0]}
    plan = plant(never, scale="sweep", diverged=[(HOPPER, "never", 0)])
    (run,) = [run for run in plan["scales"]["sweep"]["runs"] if run["algorithm"] == "never"]
    table = Path(run["path"], "evaluations.csv")
    table.write_text(table.read_text().splitlines()[0] + "\n")
    run["digest"] = record_digest(run["path"])
    found = choice(read_scale(plan, "sweep"))
    assert value(found, algorithm="good", env="all")["chosen"] == 1
    assert value(found, algorithm="never", env="all")["chosen"] == 0


def test_defaults_of_lql_are_those_that_its_sweep_chose():
    file = ROOT / "results/sweep_lql/choice.csv"
    if not file.exists():
        pytest.skip("the sweep is not recorded yet")
    table = pd.read_csv(file)
    if table["chosen"].isna().all():
        pytest.skip("the sweep is not whole")
    (label,) = table[table["chosen"] == 1]["algorithm"]
    own = Configuration()
    assert label == f"lql_inverse_temperature_{own.inverse_temperature}_step_size_{own.step_size}"


def test_no_choice_by_an_environment_without_a_scale():
    with pytest.raises(RecordError, match="Pendulum-v1"):
        chosen({("Pendulum-v1", "a", 0): [0.0] * 11})
