"""The sampler laboratory: its samplers are the methods' own, and its tables say what records
hold."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import repository
import torch

from algorithms.langevin import annealed_step_sizes, geometric_noise_levels
from algorithms.nc_lql import Configuration
from analysis import exactness, mixing, sampler_records
from analysis.figures import mixing as mixing_figure
from analysis.figures import sampler_exactness
from analysis.probes import critics, quantities
from analysis.probes import exactness as exactness_probe
from analysis.probes import mixing as mixing_probe
from analysis.probes.laboratory import Place
from analysis.probes.landscapes import Separable, landscape
from analysis.probes.lines import Quadratic
from analysis.probes.quantities import Measurement
from analysis.probes.samplers import (
    LADDER,
    LEVELS,
    SMOOTHINGS,
    Sampler,
    Target,
    fine_step_sizes_of,
    generators,
    step_sizes_of,
)
from analysis.probes.samples import ProbeRecordError, conditions

CPU = torch.device("cpu")

# Samplers ---------------------------------------------------------------------------------------


def quadratic(width: float, dimension: int = 1) -> Separable:
    line = Quadratic(0.3, width)
    return Separable("quadratic", dimension, line, line)


@pytest.mark.parametrize("scale", [0.125, 1.0, 8.0])
def test_the_plain_sampler_has_the_closed_form_of_its_quadratic(scale):
    """Through the probe's own path, scaled by Q or by the temperature: the biased variance of (1)
    in
    `algorithms.langevin`, and not that of another scale."""
    width, product, steps = 0.5, 1.0, 10
    step_size = product * width**2 / scale
    for target in (
        Target(quadratic(width), scale, 1.0, "none"),
        Target(quadratic(width), 1.0, scale, "none"),
    ):
        start = torch.full((1, 60_000, 1), 0.9)
        sampler = Sampler("plain", target)
        (end,) = sampler.run(steps, start, [step_size], generators(0, "a").torch)
        rho, curvature = 1 - product / 2, scale / width**2
        variance = (1 - rho ** (2 * steps)) / (curvature * (1 - product / 4))
        assert end.var().item() == pytest.approx(variance, rel=0.03)
        assert end.mean().item() == pytest.approx(0.3 + rho**steps * 0.6, abs=0.02 / scale**0.5)
        assert abs(end.var().item() * curvature - 1) > 0.2, "the unbiased law is another"


@pytest.mark.parametrize(("name", "kind"), [("annealed_mean", 0.0), ("annealed_soft", 1.0)])
def test_the_annealed_sampler_composes_its_smoothed_levels(name, kind):
    """On a quadratic every level is linear: its curvature is 1 / (width^2 + sigma^2) as the soft
    policy asks, 1 / width^2 as the regression smooths."""
    width, finest, steps = 0.1, 1e-6, 2
    sigmas = geometric_noise_levels(*LADDER, LEVELS)

    def composed(added: float) -> tuple[float, float]:
        mean, variance = 0.6, 0.0
        for sigma, epsilon in zip(sigmas, annealed_step_sizes(sigmas, finest), strict=True):
            rho = 1 - epsilon / (width**2 + added * sigma**2) / 2
            for _ in range(steps):
                mean, variance = rho * mean, rho**2 * variance + epsilon
        return mean, variance

    sampler = Sampler(name, Target(quadratic(width), boundary="none"))
    start = torch.full((1, 100_000, 1), 0.9)
    (end,) = sampler.run(steps * LEVELS, start, [finest], generators(0, "b").torch)
    mean, variance = composed(kind)
    assert end.mean().item() == pytest.approx(0.3 + mean, abs=3e-3)
    assert end.var().item() == pytest.approx(variance, rel=0.03)
    assert abs(composed(1 - kind)[0] - mean) > 0.05


def test_the_walk_is_that_of_the_method():
    """The same levels, steps, temperature and boundary as NC-LQL's configuration gives them."""
    c, sampler = Configuration(), Sampler("authors", Target(landscape("mixture", 2)))
    levels = geometric_noise_levels(c.largest_noise, c.smallest_noise, c.noise_levels)
    found = [ratio * c.finest_step_size for ratio in sampler.ladder_of_steps]
    assert found == pytest.approx(annealed_step_sizes(levels, c.finest_step_size))
    assert len(sampler.conditionings) == c.noise_levels
    assert tuple(sampler.dynamics) == (c.inverse_temperature, True, c.boundary)
    assert Sampler("plain", Target(landscape("ring", 2))).dynamics.normalise is False
    with pytest.raises(ValueError, match="multiple"):
        sampler.run(15, torch.zeros(1, 4, 2), [1e-4], generators(0).torch)


@pytest.mark.parametrize("name", ["plain", *SMOOTHINGS])
def test_every_sampler_has_as_many_step_sizes_as_the_paper_says(name):
    sizes = step_sizes_of(name)
    assert len(set(sizes)) == 11 and np.diff(np.log10(sizes)) == pytest.approx(0.5, abs=1e-3)
    text = (repository.ROOT / "paper/parts/results.typ").read_text()
    assert "each at the best of eleven step sizes" in text


def test_only_the_divided_gradient_forgets_the_scale_of_q():
    place, sizes = Place("mixture", 2, 1.0), exactness_probe.SMOKE
    cell = exactness_probe.Cell(place, sizes)

    def shares(name):
        return [
            np.mean([row["unchanged_share"] for row in found.repeats])
            for found in cell.unchanged(name, 1e-4 if name == "authors" else 0.01, 20)
        ]

    assert min(shares("authors")) > 0.95
    assert max(shares("plain")) < 0.2


def test_a_plain_chain_knows_nothing_of_other_independent_coordinates():
    """Why the mixture of equal widths cannot show growth for it: the first coordinate of a chain
    in 50 dimensions is that of a chain in one, with the same noise. The divided gradient couples
    them."""
    ends = {}
    for name in ("plain", "authors"):
        few, many = landscape("mixture", 2), landscape("mixture", 50)
        x = torch.rand(1, 200, 50, generator=generators(1).torch) * 2 - 1
        noise = torch.randn(20, 200, 50, generator=generators(2).torch)
        ends[name] = []
        for scene, d in ((few, 2), (many, 50)):
            sampler, at = Sampler(name, Target(scene)), x[..., :d]
            for z in noise:
                gradient = sampler.gradient(at, sampler.conditionings[-1])
                at = step(at, gradient, z[:, :d], sampler)
            ends[name].append(at[..., 0])
    torch.testing.assert_close(*ends["plain"])
    assert (ends["authors"][0] - ends["authors"][1]).abs().median() > 1e-3


def step(at, gradient, z, sampler):
    from algorithms.langevin import langevin_step

    return langevin_step(at, gradient, z, torch.tensor(1e-3), sampler.dynamics)


def test_previous_starts_where_the_mirror_image_was_preferred():
    scene = landscape("mixture", 3, 1.0)
    starts = Sampler("previous", Target(scene)).starts(20_000, generators(0))
    assert (starts[0, :, 0] > 0).double().mean().item() == pytest.approx(0.2, abs=0.02)


# Stationarity -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "annealed_soft"])
def test_stationarity_is_only_called_where_chains_forget_their_start(name):
    sizes = exactness_probe.SMOKE._replace(stationary_evaluations=20000)
    unimodal = exactness_probe.Cell(Place("quadratic", 1), sizes)
    two_modes = exactness_probe.Cell(Place("mixture", 1, 1.0), sizes)
    streams, size = generators(0), [0.004]
    targets = [Sampler(name, Target(cell.landscape)) for cell in (unimodal, two_modes)]
    (_, (one,)), (_, (two,)) = (
        cell.held(sampler, 64, size, streams)
        for cell, sampler in zip((unimodal, two_modes), targets, strict=True)
    )
    assert two > 1.05
    assert one <= exactness_probe.HIGHEST_R_HAT


def test_only_fine_steps_are_held_where_the_gradient_is_followed():
    """A coarse step crosses between two modes by overshooting, and becomes stationary for that."""
    two_modes = landscape("mixture", 1, 1.0)
    assert max(fine_step_sizes_of("plain", two_modes)) == 0.01, "epsilon k = 1 where k = 100"
    assert max(fine_step_sizes_of("annealed_soft", two_modes)) == 0.01
    assert fine_step_sizes_of("authors", two_modes) == step_sizes_of("authors")


@pytest.mark.parametrize("name", exactness_probe.LANDSCAPES)
def test_curvature_is_the_largest_in_the_box(name):
    scene = landscape(name, 2, 1.0)
    action = torch.rand(2000, 2, generator=generators(0).torch, dtype=torch.float64) * 2 - 1
    curvatures = torch.func.vmap(torch.func.hessian(scene.log_density))(action)
    largest = -float(torch.linalg.eigvalsh(curvatures).min())
    assert scene.curvature == pytest.approx(largest, rel=0.05)


# From a record to the tables --------------------------------------------------------------------


def planted(folder: Path, probe: str, measurements, scale: str = "desk") -> Path:
    document = {"probe": probe, **conditions(["python"], CPU), "scale": scale}
    names = {"exactness": exactness_probe.QUANTITIES, "mixing": mixing_probe.QUANTITIES}[probe]
    return quantities.write(folder, document, measurements, names)


def exactness_record(folder: Path, **options) -> Path:
    """Total variation 0.1 above a floor of 0.02; energy distance three times its floor."""
    place = {"landscape": "mixture", "dimension": 2, "distance": 1.0, "scale": 1.0}
    place |= {"temperature_factor": 1.0, "boundary": "clip", "chains": 100}

    def rows(variation, energy, share=0.0):
        return [
            {
                "total_variation_of_others": variation + 0.001 * (k - 2.5),
                "energy_distance": energy * (1 + 0.01 * (k - 2.5)),
                "mode_weight_error": share + 0.01 * (k - 2.5),
                "face_share": 0.0,
            }
            for k in range(6)
        ]

    main = place | {"study": "main", "step_size": 1e-3}
    held = main | {"sampler": "authors", "steps": "stationary", "r_hat": 1.8}
    by_step = main | {"study": "step_size", "sampler": "plain", "steps": 20}
    return planted(
        folder,
        "exactness",
        [
            Measurement(main | {"sampler": "plain", "steps": 20}, rows(0.12, 0.3, -0.2)),
            Measurement(held | {"is_stationary": False}, rows(0.5, 0.3, -0.2)),
            Measurement(by_step, rows(0.3, 0.3)),
            Measurement(place | {"study": "floor", "sampler": "exact"}, rows(0.02, 0.1)),
        ],
        **options,
    )


def test_exactness_is_told_above_its_floor(tmp_path):
    exactness_record(tmp_path)
    table = exactness.exactness_table(sampler_records.record_of(tmp_path, "exactness"))
    main = table[(table["steps"] == 20) & (table["study"] == "main")].set_index("quantity")
    variation = main.loc["total_variation_above_floor"]
    assert variation["value"] == pytest.approx(0.1) and variation["floor"] == pytest.approx(0.02)
    assert variation["low"] < 0.1 < variation["high"] and variation["repeats"] == 6
    assert main.loc["energy_distance_to_floor", "value"] == pytest.approx(3)
    assert main.loc["mode_weight_error", "value"] == pytest.approx(-0.2)
    # One row a claim: other studies have other quantities.
    assert (table["quantity"] == "total_variation_above_floor").sum() == 2
    assert "total_variation_above_floor_by_step_size" in set(table["quantity"])
    held = table[table["steps"] == "stationary"]
    assert held[["low", "high"]].isna().all(axis=None), "no interval of chains that have not mixed"
    assert held["value"].notna().all()


def test_the_jackknife_of_a_mean_is_students_interval():
    """Of the mean of pooled draws, leaving repeats out gives the usual standard error."""
    x = np.random.default_rng(0).standard_normal(8)
    others = [np.delete(x, k).mean() for k in range(8)]
    found = sampler_records.above_floor(others, [0.0] * 8)
    expected = sampler_records.mean_interval(x)
    assert found == pytest.approx(expected)
    naive = sampler_records.mean_interval(others)
    assert naive.high - naive.low < 0.5 * (found.high - found.low)


def mixing_record(folder: Path, **options) -> Path:
    """Crossings that are known: the plain chain's grow as d, the annealed one's not at all; in 200
    dimensions the plain one never gets there."""
    measurements, budgets = [], [10 * 2**k for k in range(9)]
    rng = np.random.default_rng(0)
    for sampler in ("plain", "annealed_soft"):
        for dimension in (25, 100, 200):
            factor = dimension if sampler == "plain" else 25
            spread = np.exp(0.05 * rng.standard_normal(6))
            for budget in budgets:
                # Linear in the logarithm of the budget, so that neighbours' mean is the middle.
                case = {"sampler": sampler, "landscape": "mixture", "dimension": dimension}
                case |= {"distance": 0.5, "evaluations": budget, "step_size": 1e-3}
                case |= {"threshold": 0.1, "chains": 64, "budget": 2560}
                error = [-0.1 + 0.05 * math.log2(budget / (6 * factor * s)) for s in spread]
                if sampler == "plain" and dimension == 200:
                    error = [-0.3] * 6
                # Past the crossing it stays there.
                rows = [{"mode_weight_error": min(e, -0.02)} for e in error]
                measurements.append(Measurement(case, rows))
    return planted(folder, "mixing", measurements, **options)


def test_mixing_counts_what_never_gets_there(tmp_path):
    mixing_record(tmp_path)
    table = mixing.mixing_table(sampler_records.record_of(tmp_path, "mixing"))
    single = table[table["quantity"] == "evaluations"].set_index(["sampler", "dimension"])
    assert single.loc[("plain", 100), "value"] == pytest.approx(600, rel=0.1)
    assert single.loc[("annealed_soft", 200), "value"] == pytest.approx(150, rel=0.1)
    never = single.loc[("plain", 200)]
    assert never["censored"] == 6 and never["value"] == 2560
    ratio = table[table["quantity"] == "evaluations_ratio"].set_index("dimension")
    assert set(ratio["comparator"]) == {"plain"}
    assert ratio.loc[100, "value"] == pytest.approx(0.25, rel=0.1)
    assert ratio.loc[100, "low"] < ratio.loc[100, "value"] < ratio.loc[100, "high"] < 1
    assert ratio.loc[200, "comparator_censored"] == 6
    beyond = table[table["quantity"] == "growth_exponent_beyond_100"].set_index("sampler")
    assert beyond.loc["plain", ["censored", "repeats"]].tolist() == [6, 12]
    assert beyond.loc["annealed_soft", "value"] == pytest.approx(0, abs=0.1)
    assert beyond.loc["annealed_soft", "low"] < 0 < beyond.loc["annealed_soft", "high"]


def test_the_interval_of_a_count_stays_above_zero():
    counts = np.array([12.0, 15.0, 20.0, 30.0, 2560.0])
    found = mixing.positive_mean(counts)
    assert sampler_records.mean_interval(counts).low < 0 < found.low < found.value < found.high
    # Where little varies, the two agree.
    close = np.array([100.0, 101.0, 99.0, 100.5, 99.5])
    assert mixing.positive_mean(close) == pytest.approx(
        sampler_records.mean_interval(close), rel=1e-3
    )


def test_what_the_budget_alone_made_has_no_exponent(tmp_path):
    """Repeats that never got there count as the budget, which looks like growth of exponent 0."""
    mixing_record(tmp_path)
    found = mixing.arms(sampler_records.record_of(tmp_path, "mixing"))
    for key, arm in found.items():
        if key[0] == "plain":
            arm.censored = len(arm.evaluations)
    slopes = pd.DataFrame(mixing.growth(found)).set_index(["quantity", "sampler"])["value"]
    assert slopes.xs("plain", level="sampler").isna().all()
    assert slopes.xs("annealed_soft", level="sampler").notna().all()


def test_an_exponent_is_the_slope_of_logarithms():
    repeats = np.array([0.9, 1.0, 1.1, 1.0, 1.0])
    found = mixing.exponent({d: d**1.5 * repeats for d in (10, 100, 1000)})
    assert found.value == pytest.approx(1.5) and found.low < 1.5 < found.high
    assert math.isnan(mixing.exponent({d: np.full(5, d) for d in (10, 100)}).low)


@pytest.mark.parametrize(
    ("program", "plant", "name"),
    [
        (exactness, exactness_record, "t.csv"),
        (mixing, mixing_record, "t.csv"),
        (sampler_exactness, exactness_record, "f.svg"),
        (mixing_figure, mixing_record, "f.svg"),
    ],
)
def test_the_command_lines_leave_the_same_bytes_twice(tmp_path, program, plant, name):
    plant(tmp_path / "records")
    arguments = ["--records", str(tmp_path / "records"), "--output", str(tmp_path / name)]
    found = []
    for _ in range(2):
        assert program.main(arguments) == 0
        found.append((tmp_path / name).read_bytes())
    assert found[0] == found[1] and len(found[0]) > 500


def test_records_that_cannot_be_used_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert mixing.main([]) == 2 and "analysis.probes.mixing" in capsys.readouterr().err
    folder = sampler_records.RECORDS / "mixing"
    path = mixing_record(folder, scale="smoke")
    assert mixing.main([]) == 2 and "smoke" in capsys.readouterr().err
    path = mixing_record(folder)
    assert mixing.main([]) == 0
    path.write_text(path.read_text().replace("-0.3", "-0.1", 1))
    with pytest.raises(ProbeRecordError, match="not those"):
        quantities.read(path)
    path.with_name("other.csv").write_text("")
    with pytest.raises(ProbeRecordError, match="several"):
        sampler_records.record_of(folder, "mixing")
    with pytest.raises(ValueError, match="no measurement"):
        measured = Measurement({}, [{"mode_weight_error": math.nan}])
        quantities.write(tmp_path, {}, [measured], ("mode_weight_error",), "x")


def test_deriving_imports_neither_torch_nor_an_algorithm():
    modules = "exactness, analysis.mixing, analysis.figures.mixing"
    code = (
        f"import sys, json, analysis.{modules}, analysis.figures.sampler_exactness; "
        "print(json.dumps(list(sys.modules)))"
    )
    root = Path(sampler_records.__file__).parent.parent
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    loaded = set(json.loads(output))
    assert "analysis.figures.mixing" in loaded
    assert not loaded & {"torch", "gymnasium", "mujoco", "envs", "algorithms.agent"}


# Probes -----------------------------------------------------------------------------------------


def test_a_place_is_measured_the_same_twice_and_derives(tmp_path, monkeypatch):
    sizes = exactness_probe.SMOKE._replace(dimensions=(1,), budgets=(20,), low_chains=40)
    monkeypatch.setitem(exactness_probe.SIZES, "smoke", sizes)
    place = Place("ring", 1)
    measured = [exactness_probe.measure_place(place, "smoke") for _ in range(2)]
    assert [m.repeats for m in measured[0]] == [m.repeats for m in measured[1]]
    planted(tmp_path, "exactness", measured[0], "smoke")
    table = exactness.exactness_table(sampler_records.record_of(tmp_path, "exactness"))
    assert set(table["sampler"]) == set(exactness_probe.SAMPLERS)
    assert set(table["steps"].map(str)) == {"20", "stationary"}
    assert table["value"].notna().all()


def test_an_easy_mixture_is_weighed_and_a_far_one_is_not(monkeypatch):
    sizes = mixing_probe.Sizes(5, 64, 64, (1,), 5)
    monkeypatch.setitem(mixing_probe.SIZES, "smoke", sizes)
    errors = {}
    for distance in (0.5, 1.0):
        cell = mixing_probe.Cell(Place("mixture", 1, distance), sizes)
        last = list(cell.measured("annealed_soft"))[-1]
        errors[distance] = np.mean([row["mode_weight_error"] for row in last.repeats])
    assert abs(errors[0.5]) < 0.15 < abs(errors[1.0])


def test_trained_critics_are_left_out_by_name_where_there_are_none(tmp_path):
    found = critics.critic_measurements("smoke", tmp_path)
    assert not found.measurements
    assert "policy.pt" in found.notes["trained critics"]["none"]


def test_tables_have_the_columns_that_claims_read():
    import yaml

    root = Path(sampler_records.__file__).parent.parent
    declared = yaml.safe_load((root / "paper/claims.yaml").read_text())["evidence"]
    assert set(declared["sampler_exactness.csv"]["columns"]) <= set(exactness.COLUMNS)
    assert set(declared["mixing.csv"]["columns"]) <= set(mixing.COLUMNS)
