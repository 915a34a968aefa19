"""Landscapes with known answers: draws against densities, smoothing against what noise does."""

import numpy as np
import pytest
import repository
import torch

from analysis.probes import distances, lines
from analysis.probes.landscapes import UnequalWidths, landscape
from analysis.probes.lines import Modes, Quadratic, Rugged
from analysis.probes.samplers import step_sizes_of
from analysis.probes.smoothing import smoothed_radial_slope

LANDSCAPES = ("quadratic", "mixture", "unequal_widths", "ring", "rugged")
MODES = Modes((-0.3, 0.3), (0.2, 0.8), 0.1)
RUGGED = Rugged(0.2, 0.4, 1.5, 12.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(scene, count: int, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(scene.draw(count, rng(seed), scale))


@pytest.mark.parametrize("dimension", [1, 2, 17])
@pytest.mark.parametrize("name", LANDSCAPES)
def test_gradient_is_that_of_the_log_density(name, dimension):
    scene = landscape(name, dimension)
    action = drawn(scene, 50).requires_grad_()
    (expected,) = torch.autograd.grad(scene.log_density(action).sum(), action)
    torch.testing.assert_close(scene.gradient(action.detach()), expected)


@pytest.mark.parametrize(("dimension", "scale"), [(1, 8.0), (2, 1.0), (2, 0.125)])
@pytest.mark.parametrize("name", ["quadratic", "mixture", "ring", "rugged"])
def test_draws_are_of_the_density_on_the_box(name, dimension, scale):
    scene, count = landscape(name, dimension), 20_000
    cells = distances.cell_probabilities(scene, scale)
    draws = drawn(scene, count, scale).numpy()
    assert np.abs(draws).max() <= 1
    large = count * cells > 5

    def chi_square(draws):
        edges = [np.linspace(-1, 1, n + 1) for n in cells.shape]
        counts, _ = np.histogramdd(draws, bins=edges)
        expected = count * cells[large]
        return ((counts[large] - expected) ** 2 / expected).sum() / large.sum()

    spread = 4.5 * np.sqrt(2 / large.sum())
    assert chi_square(draws) < 1 + spread
    assert chi_square(draws + 0.05) > 1 + 2 * spread


@pytest.mark.parametrize("dimension", [1, 6, 200])
@pytest.mark.parametrize("name", ["mixture", "unequal_widths", "ring"])
def test_expected_divergence_of_the_score_is_its_negative_square(name, dimension):
    """E[|grad U|^2] = -E[laplacian U] for a law that vanishes at the box's faces, in any dimension:
    the draws are of this density and not of a neighbour's. The box cuts the others off."""
    scene, count = landscape(name, dimension), 4000
    action = drawn(scene, count)
    direction = torch.from_numpy(rng(1).choice([-1.0, 1.0], (count, dimension)))
    square = scene.gradient(action).square().sum(-1)
    step = 1e-5
    ends = [scene.gradient(action + s * step * direction) for s in (1, -1)]
    laplacian = ((ends[0] - ends[1]) / (2 * step) * direction).sum(-1)
    statistic = square + laplacian
    error = statistic.std() / count**0.5
    assert statistic.mean().abs() < 4 * error
    hotter = square.mean() * 1.2 + laplacian.mean()
    assert hotter.abs() > 4 * error


def test_mode_weights_are_those_of_the_draws():
    for name in ("mixture", "unequal_widths", "rugged"):
        scene = landscape(name, 3, 0.5)
        share = (drawn(scene, 100_000)[:, 0] > scene.split).double().mean().item()
        assert share == pytest.approx(scene.share_above_split(), abs=4 * 0.5 / 100_000**0.5)
    assert landscape("mixture", 3, 1.0).share_above_split() == pytest.approx(0.8, abs=1e-5)
    # Modes that overlap do not keep their weights at either side of the split.
    assert abs(landscape("unequal_widths", 3, 0.3).share_above_split() - 0.8) > 0.01


# Smoothing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mean", "soft"])
@pytest.mark.parametrize("line", [Quadratic(0.3, 0.2), MODES, RUGGED])
def test_closed_forms_are_what_quadrature_finds(line, kind):
    sigma, x = 0.1, torch.linspace(-1, 1, 101, dtype=torch.float64)
    closed = line.closed_form(sigma, kind, 1.0)
    found = lines.quadrature(line, sigma, kind, 1.0)(x)
    size = line.slope(x).abs().max()
    if closed is None:
        assert (found - line.slope(x)).abs().max() > 0.02 * size
        return
    torch.testing.assert_close(found, closed(x), atol=2e-3 * size.item(), rtol=0)
    # Another noise is not the same, but where a quadratic's slope stays under any; nor is the other
    # kind of smoothing.
    louder = lines.quadrature(line, 1.3 * sigma, kind, 1.0)(x)
    is_any = isinstance(line, Quadratic) and kind == "mean"
    assert ((louder - closed(x)).abs().max() > 0.01 * size) != is_any
    other = lines.quadrature(line, sigma, "soft" if kind == "mean" else "mean", 1.0)(x)
    assert (other - closed(x)).abs().max() > 0.02 * size


@pytest.mark.parametrize("kind", ["mean", "soft"])
@pytest.mark.parametrize(
    ("name", "dimension"),
    [("mixture", 2), ("unequal_widths", 2), ("unequal_widths", 6), ("rugged", 2), ("ring", 6)],
)
def test_smoothing_is_what_noise_on_the_action_does(name, dimension, kind):
    """Against averages over drawn noise: of the gradient, or of it weighted by exp(U)."""
    scene, sigma, count = landscape(name, dimension, 0.5), 0.05, 30_000
    action = drawn(scene, 2, seed=3)
    action[:, 0] *= 0.2  # near the split: a mode's own quadratic has the same slope under noise
    z = torch.from_numpy(rng(4).standard_normal((count, 1, dimension)))
    at = action + sigma * z
    gradient, weight = scene.gradient(at), torch.full((count, 2, 1), 1 / count).double()
    if kind == "soft":
        weight = scene.log_density(at).softmax(0)[..., None]
    expected = (weight * gradient).sum(0)
    error = (weight**2 * (gradient - expected) ** 2).sum(0).sqrt()

    def deviations(of):
        return ((of(action) - expected).abs() / error).max()

    assert deviations(scene.smoothed(sigma, kind)) < 4.5
    assert deviations(scene.smoothed(1.5 * sigma, kind)) > 10
    other = scene.smoothed(sigma, "soft" if kind == "mean" else "mean")
    assert deviations(other) > 10


def test_a_radial_quadratic_is_smoothed_as_its_closed_form():
    """|a|^2 under noise: mean keeps the slope, soft adds the variances, in any dimension."""
    r, sigma, width = torch.linspace(0.1, 2, 20, dtype=torch.float64), 0.3, 0.2
    for dimension in (1, 2, 3, 50, 200):
        found = {
            kind: smoothed_radial_slope(
                lambda x: -x.square() / (2 * width**2),
                lambda x: -x / width**2,
                r,
                sigma,
                kind,
                width,
                dimension,
            )
            for kind in ("mean", "soft")
        }
        torch.testing.assert_close(found["mean"], -r / width**2, rtol=1e-6, atol=0)
        if dimension <= 50:
            expected = -r / (width**2 + sigma**2)
            torch.testing.assert_close(found["soft"], expected, rtol=1e-3, atol=0)


def test_soft_smoothing_is_the_law_of_noisy_draws_and_mean_smoothing_is_not():
    """Draws of exp(U) plus noise have the score of the soft smoothing: by Stein's identity the
    mean of score times action is -1 in each coordinate."""
    scene, sigma, count = UnequalWidths(2, 0.5), 0.1, 200_000
    noisy = drawn(scene, count) + sigma * torch.from_numpy(rng(5).standard_normal((count, 2)))

    def stein(kind):
        return (scene.smoothed(sigma, kind)(noisy) * noisy).mean(0)

    torch.testing.assert_close(stein("soft"), -torch.ones(2).double(), atol=0.02, rtol=0)
    assert (stein("mean") + 1).abs().max() > 0.2


def test_scaled_draws_of_unequal_widths_are_refused():
    with pytest.raises(ValueError, match="c = 1"):
        landscape("unequal_widths", 2).draw(10, rng(), 8.0)


def _bumps(a, first_width, second_width, weights=(0.2, 0.8), dimension=1):
    """log of the two modes' sum at -1/2 and 1/2 of the first axis, round in `dimension` axes."""
    parts = []
    for weight, centre, width in zip(
        weights, (-0.5, 0.5), (first_width, second_width), strict=True
    ):
        square = ((a[:, :dimension] - torch.eye(1, dimension) * centre) ** 2).sum(-1)
        parts.append(weight * torch.exp(-square / (2 * width**2)) / width**dimension)
    return torch.log(sum(parts))


PRINTED = {
    "quadratic": (
        "-(a_i - 0.5)^2 \\/ (2 dot 0.25^2)",
        lambda a: -((a - 0.5) ** 2).sum(-1) / (2 * 0.25**2),
    ),
    "mixture": (
        "log(0.2 thin N(a_1; -D\\/2, 0.1^2) + 0.8 thin N(a_1; D\\/2, 0.1^2))",
        lambda a: _bumps(a, 0.1, 0.1) - (a[:, 1:] ** 2).sum(-1) / (2 * 0.1**2),
    ),
    "unequal_widths": (
        "log(0.2 thin N(a; -D\\/2 thin e_1, 0.1^2 I) + 0.8 thin N(a; D\\/2 thin e_1, 0.12^2 I))",
        lambda a: _bumps(a, 0.1, 0.12, dimension=a.shape[-1]),
    ),
    "ring": (
        "-(|a| - 0.6)^2 \\/ (2 dot 0.1^2)",
        lambda a: -((torch.linalg.vector_norm(a, dim=-1) - 0.6) ** 2) / (2 * 0.1**2),
    ),
    "rugged": (
        "-(a_i - 0.2)^2 \\/ (2 dot 0.4^2) + 1.5 cos(4 pi a_i)",
        lambda a: (-((a - 0.2) ** 2) / (2 * 0.4**2) + 1.5 * torch.cos(4 * torch.pi * a)).sum(-1),
    ),
}
"""The paper's formulas, as printed and as numbers, written anew."""


@pytest.mark.parametrize("name", LANDSCAPES)
def test_the_paper_prints_what_is_sampled(name):
    text, formula = PRINTED[name]
    assert text in (repository.ROOT / "paper/parts/results.typ").read_text()
    scene = landscape(name, 3)
    # Where both modes are felt: elsewhere a sum of two densities underflows.
    action = 0.7 * torch.tanh(torch.randn(500, 3, dtype=torch.float64, generator=_generator()))
    difference = scene.log_density(action) - formula(action)
    assert difference.std() < 1e-6
    assert (scene.log_density(action) - formula(action * 1.01)).std() > 1e-3


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# As the paper writes them down ------------------------------------------------------------------


def normal_density(offset: np.ndarray, width: float) -> np.ndarray:
    """Of the last dimension, jointly."""
    dimension = offset.shape[-1]
    exponent = -(offset**2).sum(-1) / (2 * width**2)
    return np.exp(exponent) / (width * np.sqrt(2 * np.pi)) ** dimension


def two(a: np.ndarray, widths: tuple[float, float], distance: float) -> np.ndarray:
    lower, upper = np.zeros(a.shape[-1]), np.zeros(a.shape[-1])
    lower[0], upper[0] = -distance / 2, distance / 2
    low, high = (normal_density(a - m, w) for m, w in zip((lower, upper), widths, strict=True))
    return np.log(0.2 * low + 0.8 * high)


WRITTEN = {
    "quadratic": (
        "-(a_i - 0.5)^2 \\/ (2 dot 0.25^2)",
        lambda a: -((a - 0.5) ** 2 / (2 * 0.25**2)).sum(-1),
    ),
    "mixture": (
        "log(0.2 thin N(a_1; -D\\/2, 0.1^2) + 0.8 thin N(a_1; D\\/2, 0.1^2))",
        lambda a: two(a[:, :1], (0.1, 0.1), 1.0) - (a[:, 1:] ** 2).sum(-1) / (2 * 0.1**2),
    ),
    "unequal_widths": (
        "log(0.2 thin N(a; -D\\/2 thin e_1, 0.1^2 I) + 0.8 thin N(a; D\\/2 thin e_1, 0.12^2 I))",
        lambda a: two(a, (0.1, 0.12), 1.0),
    ),
    "ring": (
        "-(|a| - 0.6)^2 \\/ (2 dot 0.1^2)",
        lambda a: -((np.linalg.norm(a, axis=-1) - 0.6) ** 2) / (2 * 0.1**2),
    ),
    "rugged": (
        "-(a_i - 0.2)^2 \\/ (2 dot 0.4^2) + 1.5 cos(4 pi a_i)",
        lambda a: (-((a - 0.2) ** 2) / (2 * 0.4**2) + 1.5 * np.cos(4 * np.pi * a)).sum(-1),
    ),
}


@pytest.mark.parametrize("dimension", [1, 2, 6])
@pytest.mark.parametrize("name", LANDSCAPES)
def test_the_paper_writes_down_what_is_sampled(name, dimension):
    """Up to a constant, which changes no sample."""
    text = (repository.ROOT / "paper/parts/results.typ").read_text()
    words, written = WRITTEN[name]
    assert " ".join(words.split()) in " ".join(text.split())
    action = rng().uniform(-0.7, 0.7, (20, dimension))
    found = landscape(name, dimension).log_density(torch.from_numpy(action)).numpy()
    np.testing.assert_allclose(np.ptp(found - written(action)), 0.0, atol=1e-6)
    assert np.ptp(found) > 0.1


def test_as_many_step_sizes_are_tried_as_the_texts_say():
    text = (repository.ROOT / "paper/parts/results.typ").read_text()
    assert "best of eleven step sizes" in text
    assert {len(step_sizes_of(name)) for name in ("plain", "authors", "annealed_mean")} == {11}
