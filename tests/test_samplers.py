"""The sampler laboratory: its samplers are the methods' own."""

import json
from pathlib import Path

import numpy as np
import pytest
import repository
import runs
import torch

from algorithms.langevin import annealed_step_sizes, geometric_noise_levels
from algorithms.nc_lql import Configuration
from analysis import exactness
from analysis.probes import critics, quantities
from analysis.probes import exactness as exactness_probe
from analysis.probes import mixing as mixing_probe
from analysis.probes.crossing import evaluations_to
from analysis.probes.laboratory import Place
from analysis.probes.landscapes import Separable, landscape
from analysis.probes.lines import Quadratic
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
from analysis.probes.samples import conditions

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


# Probes -----------------------------------------------------------------------------------------


def test_an_easy_mixture_is_weighed_and_a_far_one_is_not(monkeypatch):
    sizes = mixing_probe.Sizes(5, 64, 64, (1,), 5)
    monkeypatch.setitem(mixing_probe.SIZES, "smoke", sizes)
    errors = {}
    for distance in (0.5, 1.0):
        cell = mixing_probe.Cell(Place("mixture", 1, distance), sizes)
        last = list(cell.measured("annealed_soft"))[-1]
        errors[distance] = np.mean([row["mode_weight_error"] for row in last.repeats])
    assert abs(errors[0.5]) < 0.15 < abs(errors[1.0])


def test_a_sampler_is_followed_to_the_last_budget(monkeypatch):
    """One that is below the threshold at three budgets and leaves it never gets there."""
    sizes = mixing_probe.Sizes(5, 2, 2, (1,), 8)

    def passing_through(cell, sampler, budgets, chains, step_sizes):
        for budget in budgets:
            yield np.full((len(step_sizes), chains), 0.0 if budget <= 40 else 0.3)

    monkeypatch.setattr(mixing_probe.Cell, "errors", passing_through)
    cell = mixing_probe.Cell(Place("mixture", 1, 0.5), sizes)
    found = [of.repeats[0]["mode_weight_error"] for of in cell.measured("annealed_mean")]
    assert len(found) == 9 and found[:3] == [0, 0, 0]
    assert evaluations_to(found, sizes.budgets, cell.threshold) is None
    assert evaluations_to(found[:3], sizes.budgets, cell.threshold) == 10, "had it been left there"


@pytest.fixture(scope="module")
def trained_critic(tmp_path_factory):
    """Folder of a run of LQL on the bandit, hardly trained."""
    folder = tmp_path_factory.mktemp("critic")
    changes = {"env": "MultimodalBandit-v0", "transitions": 400, "evaluate_every": 400}
    changes |= {"inverse_temperature": 200.0, "learning_rate": 0.01, "hidden_width": 16}
    assert runs.run(folder, algorithm="lql", **changes) == 0
    return folder


def test_a_trained_critics_soft_policy_is_drawn_by_quadrature_on_a_bandit(trained_critic, tmp_path):
    sizes = critics.Sizes(repeats=5, chains=200, budgets=(20,))
    frozen = critics.Frozen(trained_critic, sizes)
    assert frozen.r_hat is None and frozen.reference.shape == (3000, 2)
    # Mean Q under exp(w Q)/Z, by importance weights of uniform actions.
    uniform = torch.rand(100_000, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        height = frozen.log_density(uniform).double()
        expected = (height * height.softmax(0)).sum()
        drawn = frozen.log_density(frozen.reference).double()
    assert height.std() > 0.1, "a critic with a shape"
    error = 4 * drawn.std().item() / len(drawn) ** 0.5
    assert drawn.mean().item() == pytest.approx(expected.item(), abs=error)
    assert abs(height.mean() - expected) > error, "uniform draws would not"
    exact, own = list(frozen.measure())
    assert own.case["run"].endswith(trained_critic.name) and len(own.case["configuration_hash"]) > 8
    assert exact.case["sampler"] == "exact" and own.case["landscape"].startswith("critic of lql")
    assert len(own.repeats) == 5
    path = quantities.write(
        tmp_path, conditions(["python"], CPU), [exact, own], exactness_probe.QUANTITIES
    )
    table = exactness.exactness_table(quantities.read(path)).set_index("quantity")
    assert set(table.index) == {
        "face_share", "energy_distance_to_floor", "sliced_wasserstein_to_floor"
    }  # fmt: skip
    assert set(table["steps"]) == {20} and table["is_stationary"].isna().all()


def test_a_critic_is_of_the_method_and_not_of_a_variant_that_comes_first_by_name(tmp_path):
    """And none of a smoke run, where there is no other."""
    names = ("ablation/E/nc_lql_constant", "desk/E/nc_lql", "sweep/E/nc_lql", "smoke/E/lql")
    folders = [tmp_path / "runs" / name / "seed0" for name in names]
    for folder in folders:
        folder.mkdir(parents=True)
        algorithm = "lql" if folder.parent.name == "lql" else "nc_lql"
        document = {"configuration": {"env": "E", "algorithm": algorithm}, "status": "complete"}
        (folder / "run.json").write_text(json.dumps(document))
        for name in ("policy.pt", "evaluations.csv", "metrics.csv"):
            (folder / name).write_bytes(b"")
    assert critics.frozen_runs(tmp_path / "runs") == [folders[1]]


def test_a_critic_whose_reference_has_not_mixed_is_left_out_by_name(trained_critic, monkeypatch):
    monkeypatch.setattr(critics, "landscape_of", lambda env: None)
    sizes = critics.Sizes(5, 8, (20,), pilot_steps=2, reference_steps=200, trace_length=50)
    monkeypatch.setattr(critics, "HIGHEST_R_HAT", 0.5)
    (left_out,) = critics.Frozen(trained_critic, sizes).measure()
    assert left_out.case["study"] == "left out" and left_out.case["r_hat"] > 0.5
    assert not left_out.repeats


def test_critics_are_measured_nowhere_without_a_policy(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(critics, "frozen_runs", lambda: [])
    assert critics.main(["--output", str(tmp_path)]) == 1
    assert "policy.pt" in capsys.readouterr().err and not any(tmp_path.iterdir())


def test_no_record_of_critics_is_lost_to_one_of_fewer_nor_joined_by_another_machines(
    tmp_path, monkeypatch, trained_critic, capsys
):
    monkeypatch.setattr(critics, "frozen_runs", lambda: [trained_critic])
    monkeypatch.setattr(critics, "measure_run", lambda folder, scale: [])
    arguments = ["--output", str(tmp_path)]

    def leave(*methods: str) -> Path:
        names = [critics.landscape_name("MultimodalBandit-v0", method) for method in methods]
        cases = [quantities.Measurement({"landscape": name}, []) for name in names]
        return quantities.write(tmp_path, conditions([], CPU), cases, exactness_probe.QUANTITIES)

    record = leave("lql", "nc_lql")
    before = record.with_suffix(".json").read_bytes()
    assert critics.main(arguments) == 2
    assert "critic of nc_lql on MultimodalBandit-v0, which are not mea" in capsys.readouterr().err
    assert record.with_suffix(".json").read_bytes() == before
    leave("lql")
    assert critics.main(arguments) == 0, "the same critics may be measured again"
    record.rename(record.with_name("elsewhere.csv"))
    assert critics.main(arguments) == 2 and "elsewhere.csv" in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.glob("*.csv")) == ["elsewhere.csv"]
