"""Networks of Mish whose parameters are one vector and whose gradient is written out.

Both are for speed on a processor. With one vector, a norm, a step of Adam or of an average is one
operation, and which of two networks is meant can be chosen on the device. With the gradient
written out, nothing is computed twice and a few small functions are all there is to compile. One
network is evaluated at a time: the activations of two at once leave the processor's cache.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from algorithms.networks import mish_with_derivative
from algorithms.policies import uniform_


class Layers(NamedTuple):
    """Parameters of one network: x and further inputs, hidden layers of Mish, a linear output."""

    first: Tensor
    """(inputs + further inputs, width); the last further input is 1, and its row the bias."""
    output: Tensor
    """(outputs, width): for so few outputs the faster way round."""
    output_bias: Tensor
    """(outputs,)"""
    weights: tuple[Tensor, ...]
    """(width, width) each, inputs first; one less than there are hidden layers."""
    biases: tuple[Tensor, ...]
    """(width,) each."""


class Kept(NamedTuple):
    """What the gradient needs of a forward pass: (batch, width) of each hidden layer."""

    activations: tuple[Tensor, ...]
    slopes: tuple[Tensor, ...]
    """The derivative of Mish."""


def value(x: Tensor, further: Tensor, layers: Layers) -> Tensor:
    """Outputs (batch, outputs) for x (batch, inputs) and further inputs, the last of which is 1."""
    h, _ = mish_with_derivative(torch.cat([x, further], dim=1) @ layers.first)
    for weight, bias in zip(layers.weights, layers.biases, strict=True):
        h, _ = mish_with_derivative(_product(h, weight) + bias)
    return h @ layers.output.t() + layers.output_bias


def value_and_kept(x: Tensor, further: Tensor, layers: Layers) -> tuple[Tensor, Kept]:
    """`value`, and what `gradients` needs."""
    h, slope = mish_with_derivative(torch.cat([x, further], dim=1) @ layers.first)
    activations, slopes = [h], [slope]
    for weight, bias in zip(layers.weights, layers.biases, strict=True):
        h, slope = mish_with_derivative(_product(h, weight) + bias)
        activations.append(h)
        slopes.append(slope)
    kept = Kept(tuple(activations), tuple(slopes))
    return h @ layers.output.t() + layers.output_bias, kept


def gradients(
    g: Tensor, x: Tensor, further: Tensor, kept: Kept, layers: Layers
) -> tuple[Tensor, Layers]:
    """Gradients of x and of all parameters, for that of the outputs g (batch, outputs)."""
    # Sums over the batch are products with ones: a loop over columns takes three times as long.
    ones = g.new_ones(1, g.shape[0])
    output, output_bias = g.t() @ kept.activations[-1], (ones @ g)[0]
    g = (g @ layers.output) * kept.slopes[-1]
    weights, biases = [], []
    for h, slope, weight in zip(
        kept.activations[-2::-1], kept.slopes[-2::-1], layers.weights[::-1], strict=True
    ):
        weights.append(h.t() @ g)
        biases.append((ones @ g)[0])
        g = (g @ weight.t()) * slope
    first = torch.cat([x, further], dim=1).t() @ g
    of_layers = Layers(first, output, output_bias, tuple(weights[::-1]), tuple(biases[::-1]))
    return g @ layers.first[: x.shape[1]].t(), of_layers


def input_gradient(g: Tensor, x: Tensor, kept: Kept, layers: Layers) -> Tensor:
    """The first of `gradients` alone, for half the products."""
    g = (g @ layers.output) * kept.slopes[-1]
    for slope, weight in zip(kept.slopes[-2::-1], layers.weights[::-1], strict=True):
        g = (g @ weight.t()) * slope
    return g @ layers.first[: x.shape[1]].t()


def _product(h: Tensor, weight: Tensor) -> Tensor:
    """h weight, as a batch of one: so the compiler leaves the bias to the loop that follows, where
    it is free, and does not put it into the product, where it takes a pass of its own."""
    return torch.bmm(h[None], weight[None])[0]


class Kernels(NamedTuple):
    """The functions above, as they are or compiled. One set serves networks of one shape."""

    value: Callable
    value_and_kept: Callable
    gradients: Callable
    input_gradient: Callable

    @classmethod
    def of(cls, compiled: Callable[[Callable], Callable] = lambda function: function) -> "Kernels":
        """`compiled` makes of a function the one that is called in its place."""
        return cls(*map(compiled, (value, value_and_kept, gradients, input_gradient)))


class _Perceptron(torch.autograd.Function):
    """`value`, with its gradient for x and for the layers, or for x alone where they need none."""

    @staticmethod
    def forward(context, kernels: Kernels, x: Tensor, further: Tensor, *parameters: Tensor):
        output, kept = kernels.value_and_kept(x, further, _layers(parameters))
        context.kernels = kernels
        context.save_for_backward(x, further, *parameters, *kept.activations, *kept.slopes)
        return output

    @staticmethod
    @once_differentiable
    def backward(context, g: Tensor):
        x, further, *rest = context.saved_tensors
        hidden = (len(rest) - 1) // 4
        count = 3 + 2 * (hidden - 1)
        layers = _layers(rest[:count])
        kept = Kept(tuple(rest[count : count + hidden]), tuple(rest[count + hidden :]))
        if not any(context.needs_input_grad[3:]):
            of_x = context.kernels.input_gradient(g, x, kept, layers)
            return None, of_x, None, *(None,) * count
        of_x, of_layers = context.kernels.gradients(g, x, further, kept, layers)
        return None, of_x, None, *of_layers[:3], *of_layers.weights, *of_layers.biases


def _layers(parameters) -> Layers:
    first, output, output_bias, *hidden = parameters
    half = len(hidden) // 2
    return Layers(first, output, output_bias, tuple(hidden[:half]), tuple(hidden[half:]))


def perceptron(x: Tensor, further: Tensor, layers: Layers, kernels: Kernels) -> Tensor:
    """`value`, differentiable once in x and layers."""
    is_needed = x.requires_grad or layers.first.requires_grad
    if is_needed and torch.is_grad_enabled():
        parameters = (*layers[:3], *layers.weights, *layers.biases)
        return _Perceptron.apply(kernels, x, further, *parameters)
    return kernels.value(x, further, layers)


class Shape(NamedTuple):
    """Of a part of the parameters, and the number of inputs that sets the scale of its filling."""

    sizes: tuple[int, ...]
    fan_in: int


class Perceptrons(nn.Module):
    """`copies` networks of one shape, the parameters of each a row of one matrix.

    They are filled uniformly within 1 / sqrt(fan-in) of zero, as torch's own linear layers are.
    """

    def __init__(
        self,
        copies: int,
        shapes: dict[str, Shape],
        kernels: Kernels,
        device: torch.device,
        generator: torch.Generator,
    ):
        """`shapes` by name, `hidden_shapes` among them."""
        super().__init__()
        self.kernels, self.shapes = kernels, shapes
        self.counts = [math.prod(shape.sizes) for shape in shapes.values()]
        self.vectors = nn.Parameter(torch.empty(copies, sum(self.counts), device=device))
        for vector in self.vectors.detach():
            for name, part in self.parts(vector).items():
                uniform_(part, shapes[name].fan_in, generator)

    def parts(self, vector: Tensor) -> dict[str, Tensor]:
        """Views of one row, by name."""
        pieces = vector.split(self.counts)
        return {
            name: piece.view(shape.sizes)
            for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }


def hidden_shapes(width: int, layers: int, outputs: int) -> dict[str, Shape]:
    """All but the first of `layers` hidden layers, and the output."""
    shapes = {}
    for k in range(1, layers):
        shapes[f"hidden_{k}/weight"] = Shape((width, width), width)
        shapes[f"hidden_{k}/bias"] = Shape((width,), width)
    shapes["output/weight"] = Shape((outputs, width), width)
    shapes["output/bias"] = Shape((outputs,), width)
    return shapes


def layers_of(first: list[Tensor], parts: dict[str, Tensor]) -> Layers:
    """Layers of a first one's rows, in pieces, and the parts of `hidden_shapes`."""
    hidden = sum(name.startswith("hidden_") for name in parts) // 2
    return Layers(
        torch.cat(first),
        parts["output/weight"],
        parts["output/bias"],
        tuple(parts[f"hidden_{k}/weight"] for k in range(1, hidden + 1)),
        tuple(parts[f"hidden_{k}/bias"] for k in range(1, hidden + 1)),
    )
