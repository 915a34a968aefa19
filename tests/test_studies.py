"""Tables of the laboratory's studies, from planted records, with closed forms to meet."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import EXPLORING_COSTS, curve
from studied import FAR, MULTI, ROOT, SEEDS, elsewhere, leave, samples, study, value

from analysis import ablation, bandit, exploration, proposals, sensitivity
from analysis.figures import ablation as ablation_figure
from analysis.plan import Plan
from analysis.probes.visits import coverage, visited_cells
from analysis.statistics import transitions_to_threshold
from envs.bandit import FAR_MODE, MULTIMODAL, landscape_of

__all__ = ["elsewhere"]  # a fixture that every test here uses


# The bandit --------------------------------------------------------------------------------------


def test_exact_draws_have_every_mode_at_its_mass_and_no_divergence_to_speak_of():
    generator = np.random.default_rng(0)
    for landscape in (MULTIMODAL, FAR_MODE):
        exact = bandit.qualities(landscape, landscape.draw(20, 20_000, generator))
        uniform = bandit.qualities(landscape, generator.uniform(-1, 1, (20_000, 2)))
        ratios = [x for (name, _), x in exact.items() if name == "mode_mass_ratio"]
        assert len(ratios) == len(landscape.optimal_modes)
        np.testing.assert_allclose(ratios, 1, atol=0.05)
        assert exact["inside_share", ""] > 0.98 > 0.5 > uniform["inside_share", ""]
        assert exact["divergence", ""] < 0.02 < 0.3 < uniform["divergence", ""] < np.log(2)
        assert 0 < exact["regret", ""] < 0.1 < 0.5 < uniform["regret", ""]


def test_a_policy_that_misses_a_mode_is_seen_to():
    one = np.repeat(MULTIMODAL.optimal_modes[:1], 1000, axis=0)
    found = bandit.qualities(MULTIMODAL, one)
    ratios = sorted(x for (name, _), x in found.items() if name == "mode_mass_ratio")
    np.testing.assert_allclose(ratios, [0, 0, 0, 4], rtol=0.02)
    assert found["least_mode_mass_ratio", ""] == ratios[0]
    assert found["greatest_mode_mass_ratio", ""] == ratios[-1]
    # Neither what is inside modes nor the regret tells it from one that has all four.
    assert found["inside_share", ""] == 1 and found["regret", ""] == pytest.approx(0, abs=1e-9)
    assert found["divergence", ""] > 0.3


def test_a_corner_of_the_box_is_no_mode_though_nearest_to_one():
    corners = np.array([[x, y] for x in (-1.0, 1.0) for y in (-1.0, 1.0)])
    found = bandit.qualities(MULTIMODAL, corners)
    assert [x for (name, _), x in found.items() if name == "mode_mass_ratio"] == [0] * 4
    assert len(set(MULTIMODAL.nearest_mode(corners))) == 4, "by nearest mode alone all are covered"
    assert bandit.exact_masses(MULTIMODAL).sum() > 0.98


def test_inside_is_within_the_width_of_the_nearest_mode_not_of_any():
    near = FAR_MODE.optimal_modes[0] + [0.1, 0]  # beyond 0.08, within the widths of the others
    assert not bandit.inside(FAR_MODE, near[None]).any()
    broad = FAR_MODE.worse_modes[0] + [0.1, 0]
    assert bandit.inside(FAR_MODE, broad[None]).all()
    assert FAR_MODE.mode_widths[0] == 0.08 and sorted(FAR_MODE.mode_widths)[-1] == 0.25


def test_only_the_suites_own_bandits_have_a_landscape():
    assert landscape_of(MULTI) is MULTIMODAL and landscape_of(FAR) is FAR_MODE
    assert landscape_of("Point-v0") is None and landscape_of("Hopper-v4") is None


def bandit_study(found_at, **more):
    """`lql` has the far mode in every other episode after so many evaluations of seed 0, `ppo`
    never, though it returns as much as the best of the other modes; 5 seeds. Planted episodes lie
    half a reward about their mean."""
    never = [0.0, *[0.104] * 10]
    returns = {(FAR, "ppo", seed): never for seed in SEEDS}
    for seed in SEEDS:
        returns[FAR, "lql", seed] = [
            0.0,
            *[0.0] * (found_at + seed),
            *[0.3] * (10 - found_at - seed),
        ]
    return study(returns, **more)


def test_the_far_mode_is_found_where_episodes_return_more_than_any_other_mode_does():
    table = bandit.table([bandit_study(2)()])
    lql = value(table, quantity="far_mode_transitions", algorithm="lql")
    at = [0, *range(1000, 10_001, 1000)]
    expected = [
        transitions_to_threshold(at, [0.0, *[0.0] * (2 + s), *[0.5] * (8 - s)], 0.1) for s in SEEDS
    ]
    assert lql["value"] == pytest.approx(np.mean(expected)) and lql["censored"] == 0
    assert lql["low"] < lql["value"] < lql["high"]
    ppo = value(table, quantity="far_mode_transitions", algorithm="ppo")
    assert ppo["value"] == 10_000 and ppo["censored"] == 5  # cut at the end, and counted
    ratio = value(table, quantity="far_mode_transitions_ratio", algorithm="lql", comparator="ppo")
    assert ratio["value"] == pytest.approx(np.mean(expected) / 10_000)
    assert (ratio["censored"], ratio["comparator_censored"]) == (0, 5)
    assert ratio["high"] < 1


def test_an_evaluated_regret_is_what_the_final_return_lacks_to_the_best_reward():
    finals = {
        MULTI: [0.2 + 0.1 * seed for seed in SEEDS],
        FAR: [0.7 - 0.1 * seed for seed in SEEDS],
    }
    returns = {(env, "lql", s): curve(own[s]) for env, own in finals.items() for s in SEEDS}
    table = bandit.table([study(returns)()])
    for env, own in finals.items():
        row = value(table, quantity="evaluated_regret", env=env)
        best = landscape_of(env).best_reward
        assert best > max(own) and row["seeds"] == 5
        assert row["value"] == pytest.approx(best - np.mean(own))
        assert row["minimum"] == pytest.approx(best - max(own))


def test_runs_without_samples_are_named_gaps_and_diverged_ones_the_worst_there_is():
    read = bandit_study(2)
    table = bandit.table([read()])
    row = value(table, quantity="inside_share", algorithm="lql")
    assert np.isnan(row["value"]) and row["note"] == "gap: no samples of seeds 0, 1, 2, 3, 4"
    for seed in SEEDS:
        drawn = FAR_MODE.draw(20, 500, np.random.default_rng(seed))
        leave("samples", "study", FAR, "lql", seed, samples(drawn if seed else []))
    row = value(bandit.table([read()]), quantity="inside_share", algorithm="lql")
    assert row["seeds"] == 5 and row["minimum"] == 0 and row["maximum"] > 0.9
    assert row["value"] == pytest.approx(0.8, abs=0.02)
    exact = value(table, quantity="inside_share", algorithm="exact")
    assert exact["value"] > 0.95


def test_lql_of_the_study_samples_the_soft_policy_that_it_is_held_against():
    plan = Plan(protocol_file=ROOT / "config/protocol.yaml", is_main_process=False)
    runs = plan.resolve("bandit")["runs"]
    (settings, *rest) = [r["configuration"]["settings"] for n, r in runs.items() if "/lql/" in n]
    own = settings["inverse_temperature"] * settings["reward_scale"]
    assert own == bandit.INVERSE_TEMPERATURE
    # A chain whose step is above 4 over the curvature of exp(w c reward) has no stationary law.
    assert settings["step_size"] * own / 0.15**2 < 1
    assert settings["step_size"] * own / 0.08**2 < 4 < 0.01 * own / 0.15**2
    default = plan.resolve("desk")["runs"]["desk/Hopper-v4/lql/seed0"]["configuration"]["settings"]
    pair = ("inverse_temperature", "step_size")
    assert [settings[name] for name in pair] != [default[name] for name in pair]


# Sensitivity -------------------------------------------------------------------------------------


def test_the_good_share_of_a_tent_is_what_geometry_says():
    factors = [1 / 16, 1 / 4, 1, 4, 16]
    # Rises from 0 to 1 over two of four steps and falls again: within 80 % for a fifth of each.
    assert sensitivity.good_share(factors, [0, 0.5, 1, 0.5, 0]) == pytest.approx(0.2)
    assert sensitivity.good_share(factors, [3, 3, 3, 3, 3]) == 1
    assert sensitivity.good_share(factors, [0, 0, 0, 0, 1]) == pytest.approx(0.05)
    # On a linear axis of factors the same tent would count its wide end.
    assert sensitivity.good_share(factors, [0, 0, 0, 1, 1]) == pytest.approx(0.3)
    # A knob that never beats random actions has no best of its own.
    assert sensitivity.good_share(factors, [-1, -2, -1, -1, -1]) == 0
    assert np.isnan(sensitivity.good_share(factors, [1, np.nan, 1, 1, 1]))


def sensitivity_study(tops, seeds=SEEDS):
    """Knob `alpha` of `lql` and `beta` of `sac` with these scores above random at three factors."""
    floor = pd.read_csv("results/probes/floors/floors.csv").query(
        "env == 'Pendulum-v1' and policy == 'random'"
    )["return"]
    returns, variants = {}, {}
    for algorithm, (knob, scores) in tops.items():
        for factor, score in zip((0.25, 1, 4), scores, strict=True):
            label = algorithm if factor == 1 else f"{algorithm}_{knob}_x{factor:g}"
            if label != algorithm:
                variants[label] = {"algorithm": algorithm, "knob": knob, "factors": {"f": factor}}
            for seed in seeds:
                flat = floor.mean() + score + seed
                returns["Pendulum-v1", label, seed] = [floor.mean(), *[flat] * 10]
    return study(returns, variants=variants)


def test_the_wider_knob_has_the_larger_share_and_seeds_are_the_replicates():
    tops = {"lql": ("alpha", (900, 1000, 900)), "sac": ("beta", (0, 1000, 0))}
    table = sensitivity.table([sensitivity_study(tops)()])
    wide = value(table, quantity="share_within_80_percent", algorithm="lql")
    narrow = value(table, quantity="share_within_80_percent", algorithm="sac")
    assert wide["value"] == 1 and narrow["value"] == pytest.approx(0.2, abs=0.01)
    assert wide["seeds"] == narrow["seeds"] == 5 and wide["best_factor"] == 1
    row = value(table, quantity="share_within_80_percent_difference", algorithm="lql")
    assert (row["comparator"], row["comparator_knob"]) == ("sac", "beta")
    assert row["value"] == pytest.approx(0.8, abs=0.01) and row["low"] > 0.75


def test_a_knob_that_only_delays_learning_is_seen_by_the_mean_of_a_run():
    soon, late = [0.0, *[1000.0] * 10], [0.0, *[0.0] * 8, *[1000.0] * 2]
    returns = {("Point-v0", "lql", seed): soon for seed in SEEDS}
    variants = {}
    for factor in (0.25, 4):
        label = f"lql_alpha_x{factor:g}"
        variants[label] = {"algorithm": "lql", "knob": "alpha", "factors": {"f": factor}}
        returns |= {("Point-v0", label, seed): late for seed in SEEDS}
    own = study(returns, variants=variants)()
    table = sensitivity.table([own])
    assert value(table, quantity="score", factor=1.0)["value"] == pytest.approx(1000)
    assert value(table, quantity="score", factor=4.0)["value"] == pytest.approx(200)
    assert value(table, quantity="share_within_80_percent")["value"] == pytest.approx(0.25)
    of_finals = value(table, quantity="share_of_final_within_80_percent")
    assert of_finals["value"] == 1, "by the end of the run every setting has learned the task"
    own.part["warm_up"] = 8000  # what a policy returns before it learns is no method's
    assert value(sensitivity.table([own]), quantity="score", factor=4.0)["value"] == 1000


def test_fewer_than_five_seeds_give_no_interval_and_a_gap_no_share():
    tops = {"lql": ("alpha", (900, 1000, 900)), "sac": ("beta", (0, 1000, 0))}
    read = sensitivity_study(tops, seeds=range(3))
    row = value(sensitivity.table([read()]), quantity="share_within_80_percent", algorithm="lql")
    assert row["seeds"] == 3 and np.isnan(row["low"])
    for file in Path("results/runs/study/Pendulum-v1/lql_alpha_x4/seed1").iterdir():
        file.unlink()
    row = value(sensitivity.table([read()]), quantity="share_within_80_percent", algorithm="lql")
    assert row["seeds"] == 2 and row["note"] == "gap: no whole range of alpha of seed 1"


# Ablation ----------------------------------------------------------------------------------------


def test_every_variant_is_held_against_the_algorithm_that_it_is_of():
    names = {"nc_lql": 100, "nc_lql_unconditioned": 60, "nc_lql_reversed": 100}
    returns = {(MULTI, n, s): curve(x + s) for n, x in names.items() for s in SEEDS}
    variants = {n: {"algorithm": "nc_lql", "description": "One."} for n in list(names)[1:]}
    table = ablation.table([study(returns, variants=variants)()])
    row = value(table, quantity="return_difference", comparator="nc_lql_unconditioned")
    assert row["algorithm"] == "nc_lql" and row["value"] == pytest.approx(40)
    assert row["low"] > 0 and row["seeds"] == 5
    assert row["optimiser_steps"] == 2 * row["updates"] > 0
    same = value(table, quantity="return_difference", comparator="nc_lql_reversed")
    assert same["value"] == pytest.approx(0) and same["low"] < 0 < same["high"]
    learned = curve(100 + np.mean(SEEDS))[1:]
    assert value(table, quantity="mean_return", algorithm="nc_lql")["value"] == pytest.approx(
        np.mean(learned)
    )
    exploring = value(table, quantity="exploring_return", algorithm="nc_lql")
    assert exploring["value"] == pytest.approx(learned[-1] - EXPLORING_COSTS)
    row = value(table, quantity="exploring_return_difference", comparator="nc_lql_unconditioned")
    assert row["value"] == pytest.approx(40) and row["low"] > 0
    # No difference of two variants: each changes one thing of the algorithm, not of the other.
    pairs = table[table["quantity"] == "return_difference"]
    assert set(pairs["algorithm"]) == {"nc_lql"} and len(pairs) == 2


def test_an_exploring_return_is_the_mean_of_the_last_tenth_of_a_run_that_still_learns():
    rising = [10.0 * k for k in range(21)]
    read = study({("Pendulum-v1", "nc_lql", s): rising for s in SEEDS}, evaluations=20)
    row = value(ablation.table([read()]), quantity="exploring_return", algorithm="nc_lql")
    assert row["transitions"] == 20_000
    assert row["value"] == pytest.approx((190 + 200) / 2 - EXPLORING_COSTS)


def test_exploring_well_before_diverging_is_worth_no_more_than_not_to_learn():
    runs_ = {("Pendulum-v1", "nc_lql", seed): [-50.0, 900.0, 900.0] for seed in SEEDS}
    read = study(runs_, diverged=list(runs_))
    row = value(ablation.table([read()]), quantity="exploring_return", algorithm="nc_lql")
    assert row["value"] == -50


def test_the_mean_over_a_run_is_drawn_where_runs_are_of_control_and_not_on_bandits():
    """On a bandit, whose best arm pays from the first day, how soon says less than which modes."""
    names = ["nc_lql", "nc_lql_reversed"]
    variants = {"nc_lql_reversed": {"algorithm": "nc_lql", "description": "One."}}
    studies = [
        study(
            {(env, name, seed): curve(100 + seed) for name in names for seed in SEEDS},
            name=f"on_{env}",
            variants=variants,
        )()
        for env in (MULTI, "Pendulum-v1")
    ]
    table = pd.concat([ablation.table([part]) for part in studies], ignore_index=True)
    shown = ablation_figure.data(studies, table)
    panels = set(zip(shown["env"], shown["quantity"], strict=True))
    modes = "least_mode_mass_ratio"  # of which there are no samples here: a gap, and drawn as one
    assert panels == {
        *((MULTI, quantity) for quantity in ("return", modes)),
        *(("Pendulum-v1", quantity) for quantity in ("return", "mean_return")),
    }
    assert set(shown["base"]) == {"nc_lql"}
    titles = [axis.get_xlabel() for axis in ablation_figure.draw(shown).axes]
    assert titles.count("final return") == 2 and "mean return\nover the run" in titles


# Exploration -------------------------------------------------------------------------------------


def test_visited_cells_of_a_line_and_of_a_plane():
    line = np.linspace(0, 9.99, 1000)
    assert visited_cells(line[:, None], 1.0) == 10
    diagonal = np.stack([line, line], 1)
    assert visited_cells(diagonal, 1.0) == 10
    square = np.stack(np.meshgrid(line[::25], line[::25]), -1).reshape(-1, 2)
    assert visited_cells(square, 1.0) == 100
    # Cells to the left of zero are their own, and standing still covers one.
    assert visited_cells(np.array([[-0.1, 0.0], [0.1, 0.0]]), 1.0) == 2
    assert visited_cells(np.zeros((50, 3)), 1.0) == 1
    # Over all three coordinates at once, every state of a random walk would be a new cell.
    walk = np.random.default_rng(0).normal(size=(500, 3)).cumsum(0)
    assert visited_cells(walk, 1.0) < 500


def test_coverage_grows_and_the_warm_up_is_counted_apart():
    states = np.concatenate([np.linspace([0, 0], [50, 50], 500), np.zeros((500, 2))])
    table = coverage(states, 500, 1000)
    own = table[table["width"] == 1.0].set_index("transitions")
    assert own["cells"].is_monotonic_increasing and own.loc[1000, "cells"] == 51
    assert own.loc[1000, "cells_after_warm_up"] == 1 and own.loc[500, "cells_after_warm_up"] == 0
    # A run that ended early is seen at every later point with what it had.
    cut = coverage(states[:250], 0, 1000)
    assert cut["transitions"].max() == 1000 and cut.iloc[-1]["cells"] == 25


def test_ppo_explores_as_at_the_beginning_of_a_desk_run():
    plan = Plan(protocol_file=ROOT / "config/protocol.yaml", is_main_process=False)
    runs = plan.resolve("exploration")["runs"]
    desk = plan.protocol.scale("desk").sizes["transitions"]
    own = [r["configuration"] for name, r in runs.items() if "/ppo/" in name]
    assert len(own) == 5 and all(c["transitions"] < desk for c in own)
    assert {c["settings"]["annealing_transitions"] for c in own} == {desk}


def test_coverage_ratios_are_at_equal_transitions_and_widths():
    read = study({("Hopper-v4", n, s): curve(1) for n in ("nc_lql", "sac") for s in SEEDS})
    # At widths 0.25, 0.5 and 1: by the end, and of these after the warm-up.
    cells = {"nc_lql": ((800, 200, 50), (600, 120, 20)), "sac": ((500, 100, 40), (300, 80, 10))}
    for name, (by_the_end, after_warm_up) in cells.items():
        for seed in SEEDS:
            table = [
                {"transitions": at, "width": width, "cells": by_the_end[k] * at / 10_000 + seed,
                 "cells_after_warm_up": after_warm_up[k] * (at == 10_000) + seed}
                for at in (5000, 10_000)
                for k, width in enumerate((0.25, 0.5, 1.0))
            ]  # fmt: skip
            leave("visits", "study", "Hopper-v4", name, seed, table)
    table = exploration.table([read()])
    expected = {
        "coverage": (0.5, 202, 102),
        "coverage_after_warm_up": (0.5, 122, 82),
        "coverage_fine": (0.25, 802, 502),
        "coverage_coarse": (1.0, 52, 42),
    }
    for quantity, (width, own, other) in expected.items():
        for name, mean in (("nc_lql", own), ("sac", other)):
            row = value(table, quantity=quantity, algorithm=name)
            assert (row["value"], row["width"]) == (pytest.approx(mean), width)
        row = value(table, quantity=f"{quantity}_ratio", algorithm="nc_lql", comparator="sac")
        assert row["value"] == pytest.approx(own / other) and row["low"] > 1 and row["seeds"] == 5
        assert (row["transitions"], row["width"]) == (10_000, width)
    assert set(table["quantity"]) == {
        *expected, *(f"{quantity}_ratio" for quantity in expected), "coverage_curve"
    }  # fmt: skip
    curve_of = table[(table["quantity"] == "coverage_curve") & (table["algorithm"] == "sac")]
    assert curve_of["transitions"].tolist() == [5000, 10_000]
    assert curve_of["value"].tolist() == pytest.approx([52, 102])


# Proposals ---------------------------------------------------------------------------------------


def proposal_rows(share, ratio):
    return [
        {"factor": f, "inverse_temperature": 10 * f, "proposal_value": 2 + share * f * 4,
         "exact_value": 5.0, "uniform_value": 2.0, "best_of_uniform_value": 6.0,
         "proposal_distance": ratio, "exact_distance": 1.0}
        for f in (0.25, 1.0)
    ]  # fmt: skip


def test_shares_of_proposals_are_between_uniform_and_the_best_of_a_thousand():
    read = study({(MULTI, "lql", seed): curve(1) for seed in SEEDS})
    for seed in SEEDS:
        leave("proposals", "study", MULTI, "lql", seed, proposal_rows(0.96 + seed / 1000, 0.7))
    table = proposals.table([read()])
    row = value(table, quantity="value_share")
    assert row["value"] == pytest.approx(0.962) and row["repeats"] == 5
    assert row["temperature"] == pytest.approx(0.1)
    assert value(table, quantity="exact_value_share")["value"] == pytest.approx(0.75)
    row = value(table, quantity="value_share_at_temperature", factor=0.25)
    assert row["temperature"] == pytest.approx(0.4) and row["value"] == pytest.approx(0.962 / 4)
    assert value(table, quantity="distance_ratio")["value"] == pytest.approx(0.7)
