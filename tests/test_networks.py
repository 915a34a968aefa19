"""The written-out gradient, the fast activation, initial weights and the target rate."""

import pytest
import torch

from algorithms import networks
from algorithms.actor_critic import ReLUCritics
from algorithms.device import generator_on
from algorithms.networks import (
    LEVEL_FEATURES,
    POWER_OF_TWO,
    Critics,
    Mish,
    exponential,
    mish_with_derivative,
    polyak_update,
    truncated_normal_,
)
from algorithms.policies import (
    DiagonalGaussianPolicy,
    SquashedGaussianPolicy,
    orthogonal_perceptron,
)

CPU = torch.device("cpu")


def critics(levels: int = 0, layers: int = 3, seed: int = 0) -> Critics:
    generator = generator_on(CPU, seed)
    return Critics(5, 3, 32, layers, CPU, generator, levels=levels)


@pytest.mark.parametrize("layers", [1, 2, 3, 6])
@pytest.mark.parametrize("levels", [0, 10])
def test_written_out_gradient_equals_automatic_differentiation(levels, layers):
    q = critics(levels, layers)
    observation, action = torch.randn(7, 5), torch.rand(7, 3, requires_grad=True)
    for level, conditioning in enumerate(q.conditioning(observation, torch.float32)):
        index = torch.full((7,), level) if levels else None
        (expected,) = torch.autograd.grad(q(observation, action, index).sum(), action)
        got = q.action_gradient(action.detach(), conditioning)
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_bfloat16_products_give_nearly_the_same_gradient():
    q = critics(10)
    observation, action = torch.randn(200, 5), torch.rand(200, 3)
    exact = q.action_gradient(action, q.conditioning(observation, torch.float32)[3])
    rough = q.action_gradient(action, q.conditioning(observation, torch.bfloat16)[3])
    assert rough.dtype == torch.float32
    assert 1e-5 < ((rough - exact).norm() / exact.norm()).item() < 0.02


@pytest.mark.parametrize("compiling", [False, True], ids=["eager", "fused"])
def test_mish_and_its_derivative(compiling, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    x = torch.cat([torch.linspace(-30, 30, 6001), torch.tensor([-1e4, -88.0, 89.0, 1e4])])
    exact = x.double().requires_grad_()
    value = torch.nn.functional.mish(exact)
    (slope,) = torch.autograd.grad(value.sum(), exact)
    y, derivative = mish_with_derivative(x)
    torch.testing.assert_close(y, value.float(), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(derivative, slope.float(), atol=1e-6, rtol=1e-6)
    parameter = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Mish.apply(parameter).sum(), parameter)
    torch.testing.assert_close(gradient, slope.float(), atol=1e-6, rtol=1e-6)


def test_the_fast_exponential_is_one_up_to_four_millionths(monkeypatch):
    x = torch.linspace(-80, 20, 1_000_001)
    f = torch.linspace(-0.5, 0.5, 10_001, dtype=torch.float64)
    power = sum(c * f**k for k, c in enumerate(POWER_OF_TWO))
    assert (power / torch.exp2(f) - 1).abs().max() < 1e-7

    def largest_error():
        return (exponential(x).double() / x.double().exp() - 1).abs().max()

    assert largest_error() < 4e-6
    assert exponential(torch.tensor(float("nan"))).isnan()
    shorter = (*POWER_OF_TWO[:4], 0.00967554, 0.0)
    monkeypatch.setattr(networks, "POWER_OF_TWO", shorter)
    assert largest_error() > 3e-5


def test_initial_weights_are_cut_off_at_two_deviations():
    weight = truncated_normal_(torch.empty(400, 400), 100, generator_on(CPU, 0))
    assert weight.abs().max() <= 0.2
    # A normal cut off at two deviations keeps 0.8796 of its deviation.
    assert weight.std().item() == pytest.approx(0.08796, rel=0.01)


def test_critics_begin_as_wide_as_the_whole_of_what_each_layer_reads():
    """The first layer, kept in parts, is one layer; so is that of the level."""
    q = Critics(40, 20, 128, 3, CPU, generator_on(CPU, 0), levels=10)
    whole = 40 + 20 + LEVEL_FEATURES
    inputs = {
        "observation_layer.weight": whole,
        "action_weight": whole,
        "level_weight": whole,
        "time_0.weight": LEVEL_FEATURES,
        "time_1.weight": 2 * LEVEL_FEATURES,
        "hidden.0.weight": 128,
        "hidden.1.weight": 128,
        "output.weight": 128,
    }
    for name, parameter in q.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
            continue
        deviation = 1 / inputs.pop(name) ** 0.5
        assert parameter.abs().max() <= 2 * deviation, name
        error = 5 / (2 * parameter.numel()) ** 0.5
        assert parameter.std().item() == pytest.approx(0.8796 * deviation, rel=error), name
    assert not inputs


def test_actor_critics_begin_as_torchs_linear_layers_do():
    """Uniform within 1 / sqrt(inputs), biases too."""
    generator = generator_on(CPU, 0)
    q = ReLUCritics(30, 128, 2, CPU, generator)
    policy = SquashedGaussianPolicy(30, 5, 128, 2, CPU, generator)
    layers = [*zip(q.layers, (30, 128, 128), strict=True)]
    layers += [(layer, layer.in_features) for layer in policy.network[::2]]
    assert len(layers) == 6
    for layer, inputs in layers:
        limit = inputs**-0.5
        assert max(p.abs().max() for p in layer.parameters()) <= limit
        count = layer.weight.numel()
        assert layer.weight.abs().max() > (1 - 20 / count) * limit
        expected = pytest.approx(limit / 3**0.5, rel=5 / count**0.5)
        assert layer.weight.std().item() == expected
        assert layer.bias.numel() == 2 or layer.bias.abs().max() > 0.3 * limit


def test_ppo_begins_orthogonal_with_a_mean_near_zero():
    generator = generator_on(CPU, 0)
    policy = DiagonalGaussianPolicy(10, 4, 16, CPU, generator)
    value = orthogonal_perceptron((10, 16, 16, 1), 1.0, CPU, generator)
    for network, last in ((policy.mean, 0.01), (value, 1.0)):
        for layer, gain in zip(network[::2], (2**0.5, 2**0.5, last), strict=True):
            weight = layer.weight if layer.out_features <= layer.in_features else layer.weight.T
            product = weight @ weight.T / gain**2
            torch.testing.assert_close(product, torch.eye(len(weight)), atol=1e-5, rtol=0)
            assert not layer.bias.any()


def test_targets_move_by_exactly_the_rate():
    online, target = critics(10, seed=1), critics(10, seed=2)
    with torch.no_grad():
        for p in online.parameters():  # biases begin at zero in both
            p.add_(1)
    before = [p.clone() for p in target.parameters()]
    polyak_update(target, online, 0.005)
    for old, new, goal in zip(before, target.parameters(), online.parameters(), strict=True):
        torch.testing.assert_close(new, 0.995 * old + 0.005 * goal, atol=1e-8, rtol=1e-6)
        assert not torch.equal(old, goal) and not torch.equal(new, old)
