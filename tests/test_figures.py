"""Figures from planted records: what they say, and that the CSV beside them is all they are of."""

import dataclasses
import io
import re
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import curve, plant

from analysis import reference
from analysis.figures import chains_in_training, learning_curves, sensitivity, style
from analysis.records import read_run

ROOT = Path(__file__).resolve().parents[1]
NAMES = (
    "learning_curves",
    "aggregate_bars",
    "performance_profiles",
    "probability_of_improvement",
)
HOPPER = "Hopper-v4"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with the committed floors and reference scores, and no record."""
    for file in (reference.FLOORS, reference.REFERENCE_SCORES):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planted_runs(seeds: int, algorithms=("nc_lql", "ppo"), environments=(HOPPER,)) -> dict:
    generator = np.random.default_rng(0)
    return {
        (env, algorithm, seed): curve(generator.normal(1000, 100), untrained=10.0)
        for env in environments
        for algorithm in algorithms
        for seed in range(seeds)
    }


def draw(name: str, *options: str) -> tuple[pd.DataFrame, str]:
    """The CSV and the SVG that the program of a figure leaves."""
    module = import_module(f"analysis.figures.{name}")
    assert module.main(list(options)) == 0
    figures = Path("results/figures")
    table = pd.read_csv(figures / f"{name}.csv", keep_default_na=False, na_values=[""])
    return table, (figures / f"{name}.svg").read_text()


def words(svg: str) -> str:
    """All text of a figure; matplotlib leaves it as comments beside the outlines."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", svg, re.S))


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_says_that_it_has_no_interval_and_five_do_not(name, folder):
    plant(planted_runs(1))
    table, svg = draw(name)
    assert "1 seed: no interval." in words(svg)
    assert table[["low", "high"]].isna().all(axis=None)
    plant(planted_runs(5))
    table, svg = draw(name)
    assert "no interval" not in words(svg)
    assert table["low"].notna().any()


@pytest.mark.parametrize("name", NAMES)
def test_absent_runs_are_named(name, folder):
    gaps = [(HOPPER, "ppo", 0)]
    plant(planted_runs(1, algorithms=("nc_lql", "lql")), gaps=gaps)
    assert import_module(f"analysis.figures.{name}").main([]) == 2
    assert not Path("results/figures").exists()
    _, svg = draw(name, "--missing", "gap")
    assert re.search("PPO: (gap: )?no record in", words(svg))


@pytest.mark.parametrize("name", NAMES)
def test_a_scale_without_any_record_can_be_drawn(name, folder):
    plant({}, gaps=[(HOPPER, "ppo", 0), (HOPPER, "sac", 0)])
    _, svg = draw(name, "--missing", "gap")
    assert "PPO; SAC: " in words(svg) and "no record in" in words(svg)


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_drawn_from_their_csv_alone_to_the_byte(name, folder):
    plant(planted_runs(2))
    module = import_module(f"analysis.figures.{name}")
    table, svg = draw(name)
    content = Path(f"results/figures/{name}.csv").read_bytes()
    assert style.render(content, module.draw).decode() == svg
    column = {"probability_of_improvement": "probability", "performance_profiles": "share"}
    changed = io.BytesIO()
    table.assign(**{c: table[c] * 0.5 for c in [column.get(name, "value")]}).to_csv(changed)
    assert style.render(changed.getvalue(), module.draw).decode() != svg


def test_learning_curves_show_levels_with_words(folder):
    plant(planted_runs(1, algorithms=("nc_lql", "ppo", "lql")))
    table, svg = draw("learning_curves")
    text = words(svg)
    assert "digest: NC-LQL 3,560" in text and "digest: PPO 2,800" in text
    assert "digest: LQL" not in text  # It states none.
    assert "random actions 19" in text and "zero actions 145" in text
    assert "version v2, without seeds or steps" in text
    assert sorted(table.loc[table["series"] == "claimed", "value"]) == [2800, 3560]


def test_actions_on_faces_are_averaged_over_parts_of_a_run_and_over_seeds(folder):
    runs = {(HOPPER, "lql", seed): curve(1000.0, evaluations=60) for seed in range(2)}
    plan = plant(runs, evaluations=60, gaps=[(HOPPER, "sac", 0)])
    table, svg = draw("chains_in_training", "--missing", "gap")
    own = table[(table["algorithm"] == "lql") & table["value"].notna()].set_index("transitions")
    assert set(own["quantity"]) == {"action_on_face"} and len(own) == 30
    # Planted shares grow to a half at the end: the two evaluations of the fifteenth part.
    total = plan["scales"]["desk"]["transitions"]
    assert own.loc[total // 2, "value"] == pytest.approx(0.5 * (29 + 30) / 2 / 60)
    assert (own["seeds"] == 2).all()
    text = words(svg)
    assert "SAC: gap: no record of seed 0 (Hopper-v4)." in text and "no record" in text


def test_drawn_chains_tell_their_drift_and_the_size_of_q_in_returns(folder):
    plant(planted_runs(1, algorithms=("lql",)))
    run = read_run("results/runs/desk/Hopper-v4/lql/seed0")
    metrics = run.metrics.assign(q_absolute=4.0, drift_length=0.3)
    run = dataclasses.replace(
        run,
        metrics=metrics,
        document=run.document | {"configuration": {"settings": {"reward_scale": 0.2}}},
    )
    parts = chains_in_training.parts(run, 10_000).groupby("quantity")["value"].unique()
    assert parts["q_absolute"] == pytest.approx([20.0]) and parts["drift_length"] == [0.3]


def test_a_method_without_the_size_of_q_says_what_its_runs_record(folder, monkeypatch):
    def read(path):
        run = read_run(path)
        told = {"nc_lql": ("q_mean", "q_absolute"), "sac": ("q_mean",)}
        columns = dict.fromkeys(told.get(Path(path).parts[-2], ()), 4.0)
        return dataclasses.replace(run, metrics=run.metrics.assign(**columns))

    plant(planted_runs(1, algorithms=("nc_lql", "sac", "ppo")))
    monkeypatch.setattr(chains_in_training, "read_run", read)
    text = words(draw("chains_in_training")[1])
    assert "SAC: no |Q|, since its runs record the mean of Q alone (Hopper-v4)." in text
    assert "PPO: no |Q|, since its runs record no Q (Hopper-v4)." in text
    assert "NC-LQL: no" not in text


def test_gaps_of_sensitivity_are_named_by_knob_and_dotted_lines_by_method():
    def rows(algorithm, knob, factors, gaps=()):
        common = {"env": "Pendulum-v1", "algorithm": algorithm, "base": algorithm, "knob": knob}
        bounds = {"value": 1.0, "minimum": 1.0, "maximum": 1.0, "seeds": 1, "note": ""}
        empty = dict.fromkeys(("value", "minimum", "maximum"), np.nan) | {"seeds": 0}
        gap = empty | {"note": "gap: no record of seed 0"}
        return [
            common | {"series": "score", "factor": factor} | (gap if factor in gaps else bounds)
            for factor in factors
        ]

    turned, every = (0.25, 1.0, 4.0), (np.nan,)
    frame = pd.DataFrame(
        [
            *rows("lql", "temperature", turned, gaps=turned),
            *rows("lql", "step_size", turned, gaps=turned),
            *rows("nc_lql", "temperature", turned, gaps=(0.25, 4.0)),
            *rows("sac", "", every),
        ],
        columns=sensitivity.COLUMNS,
    )
    text = words(style.render(frame.to_csv(index=False).encode(), sensitivity.draw).decode())
    told = (
        "LQL temperature; LQL step size; NC-LQL temperature x1/4 and 4: gap: no record of seed 0."
    )
    assert told in text and "SAC, as it is" in text


def test_band_is_students_t_over_seeds(folder):
    runs = {(HOPPER, "sac", seed): curve(1000.0 + 100 * seed) for seed in range(5)}
    plant(runs)
    table, _ = draw("learning_curves")
    last = table[table["series"] == "mean"].iloc[-1]
    half = 2.7764451 * np.sqrt(25_000 / 5)
    assert [last["value"], last["low"], last["high"]] == pytest.approx(
        [1200, 1200 - half, 1200 + half]
    )


def test_a_mean_ends_where_a_run_diverged(folder):
    runs = planted_runs(2, algorithms=("lql",))
    runs[HOPPER, "lql", 2] = [10.0, 20.0, 30.0]
    plant(runs, diverged=[(HOPPER, "lql", 2)])
    table, svg = draw("learning_curves")
    assert table.loc[table["series"] == "mean", "transitions"].max() == 2000
    assert table.loc[table["series"] == "seed", "transitions"].max() == 10_000
    end = table[table["series"] == "diverged"].iloc[0]
    assert [end["transitions"], end["value"]] == [2000, 30]
    assert "the run diverged; the mean ends there" in words(svg)
    # Going on with those that are left, the mean would jump up where the worst run fell out.
    seeds = table[table["series"] == "seed"].groupby("transitions")["value"].mean()
    assert seeds[3000] - seeds[2000] > 2 * (seeds[2000] - seeds[1000])


def test_aggregates_name_environments_that_they_leave_out(folder):
    plant(planted_runs(1, environments=(HOPPER, "Swimmer-v4")))
    for name in NAMES[1:]:
        _, svg = draw(name)
        assert "Left out: Swimmer-v4: no published SAC score." in words(svg)
    plant(planted_runs(1, environments=("Swimmer-v4",)))
    for name in NAMES[1:]:
        assert "normalised scores" in words(draw(name)[1])


def test_the_one_of_normalised_scores_is_named_by_its_source(folder):
    plant(planted_runs(1))
    file = Path(reference.REFERENCE_SCORES)
    told = "1: published SAC after a million transitions ({} results/baseline/sac.csv)."
    for name in ("aggregate_bars", "performance_profiles"):
        assert told.format("SimbaV2") in words(draw(name)[1])
    file.write_text(file.read_text().replace("SimbaV2", "Another"))
    assert told.format("Another") in words(draw("aggregate_bars")[1])


def test_an_algorithm_has_one_colour_in_every_figure(folder):
    variants = {"ppo_clipped": {"algorithm": "ppo"}}
    names = ("nc_lql", "mine", "ppo", "ppo_clipped")
    plant(planted_runs(1, algorithms=names), variants=variants)
    table, _ = draw("aggregate_bars")
    look = style.looks(table)
    assert list(look) == list(names)
    assert len({entry.colour for entry in look.values()}) == len(names)
    assert [look["ppo_clipped"].name, look["mine"].name] == ["PPO, clipped", "mine"]
    assert look["ppo_clipped"].dashes != look["ppo"].dashes
    for name in ("learning_curves", "probability_of_improvement"):
        assert "#0072b2" in draw(name)[1]  # NC-LQL's
    # Whatever else stands beside it.
    alone = style.looks(table[table["algorithm"] == "ppo"])
    assert alone["ppo"] == look["ppo"]


def test_colours_can_be_told_apart_without_red_or_green():
    # Matrices of full deuteranopia and protanopia from Machado, Oliveira and Fernandes (2009).
    simulated = {
        "none": np.eye(3),
        "deuteranopia": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        "protanopia": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
    }

    def closest(colours: list[str], matrix) -> float:
        rgb = np.array([[int(c[k : k + 2], 16) / 255 for k in (1, 3, 5)] for c in colours])
        seen = np.clip((rgb**2.2) @ np.transpose(matrix), 0, 1) ** (1 / 2.2)
        distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
        return distances[np.triu_indices(len(colours), 1)].min()

    for matrix in simulated.values():
        assert closest(list(style.COLOURS.values()), matrix) > 0.18
    # The red and the green of matplotlib's own cycle.
    assert closest(["#D62728", "#2CA02C"], simulated["deuteranopia"]) < 0.13


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ([1, 1], "1 seed: no interval."),
        ([3], "3 seeds: no interval."),
        ([5, 10], ""),
        ([5, 3, 1], "1 and 3 seeds: no interval (from 5 seeds on)."),
        ([0], ""),
    ],
)
def test_remark_on_intervals(seeds, expected):
    assert style.interval_remark(seeds) == expected


def test_levels_keep_their_order_and_distance(folder):
    plant(planted_runs(1, algorithms=("nc_lql", "diffusion_ql")))
    frame, _ = draw("learning_curves")
    frame = frame.assign(**{name: frame[name].fillna("") for name in ("algorithm", "base", "note")})
    (axis,) = learning_curves.draw(frame).axes
    named = {text.get_text(): text.get_position()[1] for text in axis.texts}
    low, high = axis.get_ylim()
    assert named["digest: NC-LQL 3,560"] - named["digest: Diffusion-QL 3,520"] > 0.07 * (high - low)
