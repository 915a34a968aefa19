"""Samplers against closed forms, each with the wrong variant failing beside it."""

import math

import numpy as np
import pytest
import torch
from learners import make_agent
from scipy.stats import norm

from algorithms.agent import Spaces
from algorithms.langevin import (
    Dynamics,
    annealed_langevin,
    annealed_step_sizes,
    bounded,
    geometric_noise_levels,
    langevin,
    langevin_step,
    mala,
    reflected,
)
from algorithms.lql import LQL
from algorithms.nc_lql import NCLQL
from algorithms.replay import Batch
from analysis.probes.lines import Rugged, line_slope

FREE = Dynamics(1.0, boundary="none")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quadratic(curvature: float, centre: float = 0.0):
    """Gradient of U = -curvature (x - centre)^2 / 2."""
    return lambda x, _: -curvature * (x - centre)


def run(gradient, x, steps, step_size, dynamics, seed=0, keep=0):
    """The last x of a chain, or the last `keep` of them stacked."""
    generator, kept = seeded(seed), []
    step_size = torch.tensor(step_size, dtype=x.dtype)
    for k in range(steps):
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        x = langevin_step(x, gradient(x, None), z, step_size, dynamics)
        if steps - k <= keep:
            kept.append(x)
    return torch.stack(kept) if keep else x


@pytest.mark.parametrize("product", [0.1, 1.0, 3.0])
def test_quadratic_has_the_biased_variance_of_its_step_size(product):
    curvature, centre, chains = 4.0, 0.3, 400_000
    epsilon, rho = product / curvature, 1 - product / 2
    steps = 12
    x = run(quadratic(curvature, centre), torch.full((chains, 1), 2.0), steps, epsilon, FREE)
    mean = centre + rho**steps * (2.0 - centre)
    variance = (1 - rho ** (2 * steps)) / (curvature * (1 - product / 4))
    assert x.mean().item() == pytest.approx(mean, abs=5 * math.sqrt(variance / chains))
    tolerance = 5 * math.sqrt(2 / chains)
    assert x.var().item() == pytest.approx(variance, rel=tolerance)
    # The drift of the other convention (epsilon instead of epsilon / 2) is another law.
    wrong = run(
        quadratic(2 * curvature, centre), torch.full((chains, 1), 2.0), steps, epsilon, FREE
    )
    assert abs(wrong.var().item() / variance - 1) > 10 * tolerance


def test_quadratic_is_stable_iff_step_times_curvature_is_below_four():
    start = torch.ones(100, 1, dtype=torch.float64)
    below = run(quadratic(1.0), start, 2000, 3.9, FREE)
    above = run(quadratic(1.0), start, 2000, 4.1, FREE)
    assert below.abs().max() < 50 and above.abs().min() > 1e6


def annealed_response(levels, steps_per_level, curvatures, step_sizes):
    """(deviation of the mean, variance) after an annealed chain on quadratics, exactly: the chain
    is linear, so its answer to a unit start and to each unit of noise is all there is."""
    draws = levels * steps_per_level
    noise = torch.zeros(levels, steps_per_level, draws + 1, 1, dtype=torch.float64)
    for k in range(draws):
        noise[k // steps_per_level, k % steps_per_level, k + 1] = 1
    start = torch.zeros(draws + 1, 1, dtype=torch.float64)
    start[0] = 1
    x = annealed_langevin(
        lambda x, curvature: -curvature * x, start, curvatures, noise, step_sizes, FREE
    )
    return x[0].item(), (x[1:] ** 2).sum().item()


def composed(steps_per_level, curvatures, step_sizes):
    mean, variance = 1.0, 0.0
    for curvature, epsilon in zip(curvatures, step_sizes, strict=True):
        rho = 1 - epsilon * curvature / 2
        for _ in range(steps_per_level):
            mean, variance = rho * mean, rho**2 * variance + epsilon.item()
    return float(mean), float(variance)


def test_annealed_chain_composes_its_levels_in_order():
    sigmas = geometric_noise_levels(0.1, 0.001, 10)
    assert sigmas[0] == pytest.approx(0.1) and sigmas[-1] == pytest.approx(0.001)
    ratios = [b / a for a, b in zip(sigmas, sigmas[1:], strict=False)]
    assert max(ratios) == pytest.approx(min(ratios))
    step_sizes = torch.tensor(annealed_step_sizes(sigmas, 1e-4), dtype=torch.float64)
    assert step_sizes[0].item() == pytest.approx(1.0) and step_sizes[-1].item() == 1e-4
    curvatures = [0.4 / epsilon.item() ** 0.8 for epsilon in step_sizes]
    right = annealed_response(10, 2, curvatures, step_sizes)
    assert right == pytest.approx(composed(2, curvatures, step_sizes), rel=1e-12)
    reversed_order = annealed_response(10, 2, curvatures[::-1], step_sizes.flip(0))
    one_step_less = annealed_response(10, 1, curvatures, step_sizes)
    shifted = annealed_response(10, 2, curvatures[1:] + curvatures[:1], step_sizes)
    for wrong in (reversed_order, one_step_less, shifted):
        assert wrong != pytest.approx(right, rel=1e-2)


@pytest.mark.parametrize("deviation", [0.05, 0.1])
def test_clipping_a_flat_landscape_leaves_atoms_on_the_faces(deviation):
    flat = Dynamics(1.0, boundary="clip")
    start = torch.rand(20_000, 2, generator=seeded(1)) * 2 - 1
    kept = run(lambda x, _: torch.zeros_like(x), start, 4000, deviation**2, flat, keep=400)
    atoms = (kept.abs() >= 1).double().mean().item()
    mass = deviation / math.sqrt(2)
    assert atoms == pytest.approx(mass / (1 + mass), rel=0.02)


def test_reflection_leaves_the_uniform_law_exact():
    start = torch.rand(200_000, 1, generator=seeded(2)) * 2 - 1
    flat = {
        boundary: run(
            lambda x, _: torch.zeros_like(x), start, 200, 0.3, Dynamics(1.0, boundary=boundary)
        )
        for boundary in ("reflect", "clip")
    }
    count = 200_000 / 20

    def chi_square(x):
        observed = torch.histc(x, 20, -1, 1)
        return ((observed - count) ** 2 / count).sum().item()

    assert chi_square(flat["reflect"]) < 43.8  # 99.9 % of 19 degrees of freedom
    assert chi_square(flat["clip"]) > 1000


def test_reflection_folds_the_line_as_often_as_needed():
    x = torch.tensor([0.5, 1.2, -1.2, 3.0, -3.5, 5.3], dtype=torch.float64)
    expected = torch.tensor([0.5, 0.8, -0.8, -1.0, 0.5, 0.7], dtype=torch.float64)
    torch.testing.assert_close(reflected(x), expected)
    torch.testing.assert_close(bounded(x, "clip")[1], torch.tensor(1.0, dtype=torch.float64))


CENTRES, WEIGHTS, WIDTH = (-0.45, 0.4), (0.3, 0.7), 0.2


def two_modes(dimensions: int):
    """Gradient of log p and exact draws, for two Gaussians apart along the first axis."""

    def gradient(x, _):
        first = x[..., :1]
        logits = torch.cat(
            [
                math.log(weight) - (first - centre) ** 2 / (2 * WIDTH**2)
                for weight, centre in zip(WEIGHTS, CENTRES, strict=True)
            ],
            -1,
        )
        share = logits.softmax(-1) @ torch.tensor([[CENTRES[0]], [CENTRES[1]]], dtype=x.dtype)
        return torch.cat([share - first, -x[..., 1:]], -1) / WIDTH**2

    def draw(count, seed):
        generator = seeded(seed)
        x = torch.randn(count, dimensions, generator=generator) * WIDTH
        second = torch.rand(count, generator=generator) < WEIGHTS[1]
        x[:, 0] += torch.where(second, CENTRES[1], CENTRES[0])
        return x

    return gradient, draw


@pytest.mark.parametrize("dimensions", [1, 2])
def test_stationary_bias_of_two_modes_falls_with_the_step_size(dimensions):
    gradient, draw = two_modes(dimensions)
    count, edges = 200_000, [np.linspace(-1.6, 1.6, 41 if dimensions == 1 else 17)] * dimensions

    def histogram(x):
        return np.histogramdd(x.numpy(), bins=edges)[0] / len(x)

    # The law's masses of the cells, an integral each; what lies outside is below 1e-8.
    first = sum(
        w * np.diff(norm.cdf(edges[0], c, WIDTH)) for w, c in zip(WEIGHTS, CENTRES, strict=True)
    )
    exact = first if dimensions == 1 else np.outer(first, np.diff(norm.cdf(edges[1], 0, WIDTH)))

    def distance(x):
        return 0.5 * np.abs(histogram(x) - exact).sum()

    floor = distance(draw(count, 3))
    bias = [
        distance(run(gradient, draw(count, 4), round(2.0 / epsilon), epsilon, FREE)) - floor
        for epsilon in (0.08, 0.04, 0.02)
    ]
    assert bias[0] > 1.5 * bias[1] > 1.5 * 1.5 * bias[2] and bias[2] < 0.05
    assert bias[0] > 10 * floor

    def without_the_half(x, _):
        return 2 * gradient(x, _)

    wrong = distance(run(without_the_half, draw(count, 4), 100, 0.02, FREE)) - floor
    assert wrong > 2.5 * bias[2]


def test_a_soft_sampler_knows_the_scale_of_q_and_a_normalised_one_does_not():
    curvature, epsilon, chains = 1.0, 1e-3, 40_000
    start = torch.zeros(chains, 2)

    def variance(scale, dynamics):
        return run(quadratic(scale * curvature), start, 4000, epsilon, dynamics).var().item()

    cold, hot = variance(32.0, FREE), variance(4.0, FREE)
    assert hot / cold == pytest.approx(8.0, rel=0.05)

    normalised = Dynamics(500.0, normalise=True)
    start = torch.rand(chains, 6, generator=seeded(5)) * 2 - 1
    actions = [
        run(quadratic(scale, centre=0.3), start, 20, 1e-4, normalised) for scale in (0.125, 1.0, 8)
    ]
    for other in (actions[0], actions[2]):
        same = ((other - actions[1]).abs() < 1e-5).all(-1).double().mean()
        assert same > 0.99
    plain = [
        run(quadratic(scale, centre=0.3), start, 20, 1e-4, Dynamics(500.0)) for scale in (1.0, 8.0)
    ]
    assert ((plain[0] - plain[1]).abs() < 1e-5).all(-1).double().mean() < 0.01


def test_mala_is_exact_where_the_unadjusted_chain_is_not():
    curvature, epsilon, chains, steps = 4.0, 0.5, 100_000, 60
    generator = seeded(6)
    start = torch.randn(chains, 1, generator=generator, dtype=torch.float64) / 2
    noise = torch.randn(steps, chains, 1, generator=generator, dtype=torch.float64)
    uniform = torch.rand(steps, chains, generator=generator, dtype=torch.float64)
    x, accepted = mala(lambda y: -curvature * (y**2).sum(-1) / 2, start, noise, uniform, epsilon)
    tolerance = 5 * math.sqrt(2 / chains)
    assert x.var().item() == pytest.approx(1 / curvature, rel=tolerance)
    assert 0.5 < accepted.mean() < 0.95
    unadjusted = langevin(
        quadratic(curvature), start, None, noise, torch.tensor(epsilon), FREE
    ).var()
    assert unadjusted.item() == pytest.approx(2 / curvature, rel=tolerance)


def test_regression_on_noisy_actions_smooths_as_the_probes_say_it_does():
    """E[Q(a) | a + sigma z], uniform a, away from the box's ends, is the smoothed Q up to a
    constant."""
    generator, sigma, line = seeded(7), 0.2, Rugged(0.1, 0.6, 1.0, 5.0)
    action = torch.rand(4_000_000, generator=generator, dtype=torch.float64) * 2 - 1
    noisy = action + sigma * torch.randn(action.shape, generator=generator, dtype=torch.float64)
    value = line.value(action)
    edges = torch.linspace(-1, 1, 101, dtype=torch.float64)
    centre = (edges[1:] + edges[:-1]) / 2
    index = torch.bucketize(noisy, edges) - 1
    inside = (index >= 0) & (index < 100)
    total = torch.zeros(100, dtype=torch.float64)
    regressed = total.index_add(0, index[inside], value[inside]) / total.index_add(
        0, index[inside], torch.ones_like(value[inside])
    )

    def error(slope) -> float:
        """The largest in the interior, beside the integral of a slope from one bin to the next."""
        rises = (slope(edges[1:-1]) * (edges[1] - edges[0])).cumsum(0)
        away = (regressed[1:] - regressed[0] - rises)[centre[1:].abs() < 1 - 3 * sigma]
        return ((away.max() - away.min()) / 2).item()

    assert error(line.closed_form(sigma, "mean", 1.0)) < 0.02
    assert error(line.slope) > 0.2
    assert error(line_slope(line, sigma, "soft", 1.0)) > 0.1


@pytest.mark.parametrize("algorithm", [LQL, NCLQL])
def test_plain_temporal_differences_are_not_the_soft_bellman_equation(algorithm, monkeypatch):
    """Actions in [-1, 1] of the soft policy of Q_2(a) = -4 a^2, to which an action without reward
    leads: the methods' target values them at E[Q_2], where the maximum-entropy one is tau log of
    the integral of exp(Q_2 / tau)."""
    tau, discount = 2.0, 0.9
    a = np.linspace(-1, 1, 20_001)
    width = a[1] - a[0]
    density = np.exp(-4 * a**2 / tau)
    partition = density.sum() * width
    plain = (density * -4 * a**2).sum() * width / partition
    soft = tau * np.log(partition)
    # Both differ by tau times the policy's entropy.
    entropy = -(density / partition * np.log(density / partition)).sum() * width
    assert soft - plain == pytest.approx(tau * entropy, abs=1e-4)

    agent = make_agent(algorithm, Spaces(1, 1), discount=discount, reward_scale=0.2)
    quantiles = (np.arange(4000) + 0.5) / 4000
    drawn = np.interp(quantiles, density.cumsum() * width / partition, a)
    action = torch.from_numpy(drawn[:, None]).float()
    n = len(action)
    monkeypatch.setattr(
        agent, "target_critics", lambda observation, x, *level: (-4 * x**2).T.expand(2, -1)
    )
    state, nothing = torch.zeros(n, 1), torch.zeros(n)
    batch = Batch(state, action, nothing, torch.zeros(n, dtype=torch.bool), state)
    target = agent.temporal_difference_target(batch, action).mean().item()
    assert target == pytest.approx(discount * plain, abs=0.01)
    assert abs(target - discount * soft) > 0.3
