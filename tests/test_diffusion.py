"""The denoising chain against `diffusers` and finite differences, its network against autograd."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from algorithms.denoiser import Denoiser, sinusoid
from algorithms.device import generator_on
from algorithms.diffusion import (
    corrupt,
    denoising_chain,
    denoising_scheduler,
    posterior_mean,
    variance_preserving_betas,
    variance_preserving_schedule,
)
from algorithms.perceptron import (
    Kernels,
    Layers,
    gradients,
    input_gradient,
    perceptron,
    value,
    value_and_kept,
)

DATA = np.load(Path(__file__).parent / "data" / "diffusion_ql_reference.npz")
CPU = torch.device("cpu")
SCHEDULE = (5, 0.1, 10.0)


def normal(*shape: int, seed: int = 0, **kind) -> torch.Tensor:
    return torch.randn(shape, generator=generator_on(CPU, seed), **kind)


def test_schedule_equals_the_authors_code():
    schedule = variance_preserving_schedule(*SCHEDULE, CPU)
    steps = torch.tensor(schedule.steps)
    expected = {
        "alphas_cumprod": steps[:, 0] ** 2,
        "posterior_mean_coef1": steps[:, 2],
        "posterior_mean_coef2": steps[:, 3],
        "posterior_variance": steps[:, 4] ** 2,
    }
    for name, ours in expected.items():
        torch.testing.assert_close(ours, torch.from_numpy(DATA[f"schedule/{name}"]), msg=name)
    betas = torch.from_numpy(variance_preserving_betas(*SCHEDULE)).float()
    torch.testing.assert_close(betas, torch.from_numpy(DATA["schedule/betas"]))
    # All of the signal's decay is that of the continuous noising over unit time.
    assert schedule.signal[-1].item() ** 2 == pytest.approx(math.exp(-(0.1 + 10.0) / 2), rel=1e-5)


@pytest.mark.parametrize("level", range(5))
def test_a_step_equals_that_of_diffusers(level):
    """Mean from the same noise; the deviation from how far two steps with two noises part."""
    scheduler = denoising_scheduler(*SCHEDULE)
    steps = variance_preserving_schedule(*SCHEDULE, CPU).steps
    x, predicted = normal(256, 6, seed=1), normal(256, 6, seed=2)

    def theirs(seed: int) -> torch.Tensor:
        return scheduler.step(predicted, level, x, generator=generator_on(CPU, seed)).prev_sample

    mean, deviation = posterior_mean(x, predicted, steps[level]), steps[level].deviation
    for seed in (3, 4):
        torch.testing.assert_close(mean + deviation * normal(256, 6, seed=seed), theirs(seed))
    spread = (theirs(3) - theirs(4)).std() / (normal(256, 6, seed=3) - normal(256, 6, seed=4)).std()
    assert deviation == pytest.approx(spread.item(), rel=1e-4, abs=1e-9)
    assert (deviation == 0) == (level == 0)
    # Some of these actions are outside of the box before the clipping, and not all.
    clean = (x - steps[level].noise * predicted) / steps[level].signal
    assert 0 < (clean.abs() > 1).float().mean() < 1
    unclipped = steps[level].clean_weight * clean + steps[level].noisy_weight * x
    assert (unclipped - mean).abs().max() > 0.1


def test_corruption_equals_that_of_diffusers():
    scheduler = denoising_scheduler(*SCHEDULE)
    schedule = variance_preserving_schedule(*SCHEDULE, CPU)
    action, noise = normal(50, 6).clamp(-1, 1), normal(50, 6, seed=1)
    level = torch.arange(50) % 5
    ours = corrupt(action, noise, level, schedule)
    torch.testing.assert_close(ours, scheduler.add_noise(action, noise, level))
    assert (ours - scheduler.add_noise(action, noise, 4 - level)).abs().max() > 0.1


def test_a_perfect_denoiser_of_normal_actions_ends_in_their_law():
    """For actions N(m, v I) deep in the box the best prediction of the noise is linear in x, and
    the chain of it a Gaussian whose moments compose step by step."""
    schedule = variance_preserving_schedule(*SCHEDULE, CPU)
    m, v = 0.3, 0.01

    def predict(x: torch.Tensor, t: int) -> torch.Tensor:
        c = schedule.steps[t]
        return c.noise * (x - c.signal * m) / (c.signal**2 * v + c.noise**2)

    mean, variance = 0.0, 1.0
    for c in reversed(schedule.steps):
        gain = c.noise**2 / (c.signal**2 * v + c.noise**2)
        slope = c.clean_weight * (1 - gain) / c.signal + c.noisy_weight
        mean = slope * mean + c.clean_weight * gain * m
        variance = slope**2 * variance + c.deviation**2
    count = 100_000
    drawn = denoising_chain(predict, normal(count, 1), normal(4, count, 1, seed=1), schedule)
    assert drawn.mean().item() == pytest.approx(mean, abs=4 * math.sqrt(variance / count))
    assert drawn.var().item() == pytest.approx(variance, rel=4 * math.sqrt(2 / count))
    assert mean == pytest.approx(m, abs=0.01)
    # A chain that walks from the least noise to the most does not end there.
    x = normal(count, 1)
    for t in range(5):
        x = posterior_mean(x, predict(x, t), schedule.steps[t])
    assert abs(x.mean().item() - m) > 0.02


def small_denoiser(layers: int = 3) -> Denoiser:
    denoiser = Denoiser(
        observation_size=2, action_size=2, width=4, layers=layers, levels=3,
        kernels=Kernels.of(), device=CPU, generator=generator_on(CPU, 0),
    )  # fmt: skip
    return denoiser.double()


def chain_end(denoiser: Denoiser, detached: bool = False) -> torch.Tensor:
    schedule = variance_preserving_schedule(3, 0.1, 10.0, CPU)
    observation = normal(3, 2, seed=5, dtype=torch.float64)
    initial = normal(3, 2, seed=6, dtype=torch.float64)
    noise = 0.1 * normal(2, 3, 2, seed=7, dtype=torch.float64)
    predict = denoiser.at(observation)

    def predict_from(x: torch.Tensor, level: int) -> torch.Tensor:
        return predict(x.detach() if detached else x, level)

    return denoising_chain(predict_from, initial, noise, schedule)


@pytest.mark.parametrize("layers", [1, 3])
def test_gradients_through_the_chain_equal_finite_differences(layers):
    denoiser = small_denoiser(layers)
    vectors = denoiser.vectors
    direction = normal(*vectors.shape, seed=8, dtype=torch.float64)

    def along(length: float) -> torch.Tensor:
        with torch.no_grad():
            vectors.add_(direction, alpha=length)
            end = chain_end(denoiser).sum()
            vectors.sub_(direction, alpha=length)
        return end

    def slope(detached: bool) -> float:
        (gradient,) = torch.autograd.grad(chain_end(denoiser, detached).sum(), vectors)
        return (gradient * direction).sum().item()

    assert (chain_end(denoiser).abs() < 1).any()  # some coordinates have a gradient at all
    difference = ((along(1e-6) - along(-1e-6)) / 2e-6).item()
    assert slope(detached=False) == pytest.approx(difference, rel=1e-6)
    # Not so where the predictions of later steps hide what they owe to earlier ones.
    assert slope(detached=True) != pytest.approx(difference, rel=1e-4)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_written_out_gradients_equal_automatic_ones(layers):
    def of(*shape: int) -> torch.Tensor:
        return normal(*shape, seed=sum(shape), dtype=torch.float64)

    parameters = Layers(
        of(6, 8), of(2, 8), of(2), (of(8, 8),) * (layers - 1), (of(8),) * (layers - 1)
    )
    x, further, g = of(7, 3), of(7, 3), of(7, 2)
    leaves = [x, *parameters[:3], *parameters.weights, *parameters.biases]
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    rest = leaves[4:]
    half = layers - 1
    automatic = Layers(*leaves[1:4], tuple(rest[:half]), tuple(rest[half:]))
    expected = torch.autograd.grad((value(leaves[0], further, automatic) * g).sum(), leaves)
    output, kept = value_and_kept(x, further, parameters)
    torch.testing.assert_close(output, value(x, further, parameters))
    of_x, of_layers = gradients(g, x, further, kept, parameters)
    found = [of_x, *of_layers[:3], *of_layers.weights, *of_layers.biases]
    torch.testing.assert_close(found, list(expected))
    torch.testing.assert_close(input_gradient(g, x, kept, parameters), expected[0])
    through = perceptron(leaves[0], further, automatic, Kernels.of())
    torch.testing.assert_close(torch.autograd.grad((through * g).sum(), leaves), expected)


def test_weights_start_as_those_of_linear_layers():
    """Uniform within 1 / sqrt(fan-in); the first layer's fan-in is that of all its parts."""
    denoiser = Denoiser(17, 6, 256, 3, 5, Kernels.of(), CPU, generator_on(CPU, 0))
    parts = denoiser.parts(denoiser.vectors[0].detach())
    for name, fan_in in {
        "action/weight": 39, "observation/weight": 39, "level/weight": 39, "first/bias": 39,
        "hidden_1/weight": 256, "hidden_2/bias": 256, "output/weight": 256, "time_1/weight": 32,
    }.items():  # fmt: skip
        limit = 1 / math.sqrt(fan_in)
        assert 0.9 * limit < parts[name].abs().max() <= limit, name
        assert parts[name].std() == pytest.approx(limit / math.sqrt(3), rel=0.15), name
    # Two linear layers of torch together with the embedding's: the same number of parameters.
    sizes = [(16, 32), (32, 16), (39, 256), (256, 256), (256, 256), (256, 6)]
    assert denoiser.vectors.numel() == sum((inputs + 1) * outputs for inputs, outputs in sizes)


def test_levels_are_embedded_by_their_index():
    features = sinusoid(5, CPU)
    assert features.shape == (5, 16)
    torch.testing.assert_close(features[0], torch.tensor([0.0] * 8 + [1.0] * 8))
    # Frequencies from 1 to 1 / 10,000, both ends included.
    torch.testing.assert_close(features[:, 0], torch.arange(5.0).sin())
    torch.testing.assert_close(features[:, 15], (torch.arange(5.0) / 10_000).cos())
    denoiser = small_denoiser()
    predict = denoiser.at(normal(3, 2, seed=5, dtype=torch.float64))
    x = normal(3, 2, dtype=torch.float64)
    mixed = predict(x, torch.tensor([2, 0, 1]))
    for row, level in enumerate((2, 0, 1)):
        torch.testing.assert_close(mixed[row], predict(x, level)[row])
        assert (mixed[row] - predict(x, (level + 1) % 3)[row]).abs().max() > 1e-4
