"""The matrix products that acting and learning need, and their floating-point operations.

Counted is what has to be computed, nothing twice: the parts of a chain's first layer that do not
depend on the action once a chain, a forward pass that two losses share once, no gradient that
nobody reads. A product of (rows, inner) and (inner, columns) counts 2 rows inner columns, a sum of
products of matrices nothing else: what is done element by element is not counted, nor are the
level's embedding (16 -> 32 -> 16 for each of ten levels, 0.01 % of an update), Adam, or averages of
targets. `tests/test_throughput.py` holds the counts against `torch.utils.flop_counter`.

Imports neither torch nor an algorithm; the constants are those of the algorithms' files.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Sizes(NamedTuple):
    """What the number of products depends on."""

    observation: int
    action: int
    batch: int
    """Rows of an update's batch, or of a whole rollout (PPO)."""
    width: int
    layers: int
    """Hidden layers of `width` units, of every network."""
    steps: int = 0
    """Langevin or denoising steps of one chain."""
    candidates: int = 1
    """Actions drawn for each one taken (Diffusion-QL)."""
    epochs: int = 0
    """Passes over a rollout (PPO)."""
    minibatches: int = 0
    """Parts of a rollout (PPO)."""
    environments: int = 1
    """Rows of the values at the end of a rollout (PPO)."""


class Product(NamedTuple):
    """`count` times `copies` products of (rows, inner) and (inner, columns)."""

    part: str
    """What of the method it belongs to."""
    copies: int
    rows: int
    inner: int
    columns: int
    count: int = 1
    is_sampling: bool = False
    """Whether it is done in the precision of the chain's products (`sampling_precision`)."""

    @property
    def flops(self) -> int:
        """Multiplications and additions, of all `count` of them."""
        return 2 * self.count * self.copies * self.rows * self.inner * self.columns


def flops(products: Iterable[Product], is_sampling: bool | None = None) -> int:
    """Of all products, or of those in (or not in) the precision of the chain."""
    return sum(p.flops for p in products if is_sampling in (None, p.is_sampling))


class Perceptron(NamedTuple):
    """`copies` stacked networks of equal sizes, and their products."""

    part: str
    copies: int
    inputs: tuple[int, ...]
    """Widths of the parts of the input."""
    width: int
    layers: int
    outputs: int

    def forward(self, rows: int, inputs: Iterable[int] | None = None) -> list[Product]:
        """From all parts of the input, or from those given where the others are at hand."""
        return [
            *(self._layer(rows, n) for n in (self.inputs if inputs is None else inputs)),
            *self._hidden(rows),
            self._product(rows, self.width, self.outputs),
        ]

    def weight_gradients(self, rows: int) -> list[Product]:
        """Gradients for the weights, and through the layers above the first."""
        return [
            *(self._product(n, rows, self.width) for n in self.inputs),
            *([self._product(self.width, rows, self.width)] * (self.layers - 1)),
            self._product(self.width, rows, self.outputs),
            *self._backward(rows),
        ]

    def input_gradient(self, rows: int, inputs: int) -> list[Product]:
        """The gradient for one part of the input; the weights get none."""
        return [*self._backward(rows), self._product(rows, self.width, inputs)]

    def _backward(self, rows: int) -> list[Product]:
        return [self._product(rows, self.outputs, self.width), *self._hidden(rows)]

    def _hidden(self, rows: int) -> list[Product]:
        return [self._layer(rows, self.width)] * (self.layers - 1)

    def _layer(self, rows: int, inputs: int) -> Product:
        return self._product(rows, inputs, self.width)

    def _product(self, rows: int, inner: int, columns: int) -> Product:
        return Product(self.part, self.copies, rows, inner, columns)


def langevin_chain(s: Sizes, rows: int) -> list[Product]:
    """20 steps (or as many as there are) of the gradient of twin critics in the action.

    A step needs the action's part of the first layer, the hidden layers, and both the other way.
    The last layer's weights are the gradient that comes back from it: no product.
    """
    return [
        Product("chain: observation", 2, rows, s.observation, s.width),
        Product("chain: action", 2, rows, s.action, s.width, s.steps),
        Product("chain: hidden", 2, rows, s.width, s.width, 2 * (s.layers - 1) * s.steps, True),
        Product("chain: gradient", 2, rows, s.width, s.action, s.steps),
    ]


def _critics(s: Sizes, part: str) -> Perceptron:
    return Perceptron(part, 2, (s.observation, s.action), s.width, s.layers, 1)


def _regression(s: Sizes, part: str) -> list[Product]:
    critics = _critics(s, part)
    return critics.forward(s.batch) + critics.weight_gradients(s.batch)


def lql(s: Sizes) -> list[Product]:
    """One update: the chain, the targets' values and TD."""
    target = _critics(s, "target").forward(s.batch)
    return langevin_chain(s, s.batch) + target + _regression(s, "td")


def nc_lql(s: Sizes) -> list[Product]:
    """LQL's, and smoothing. The forward pass of TD gives smoothing its target too; smoothing's own
    is another one, since a step of Adam and a noisy action lie between."""
    return lql(s) + _regression(s, "smoothing")


def _denoiser(s: Sizes, part: str) -> Perceptron:
    return Perceptron(part, 1, (s.action, s.observation), s.width, s.layers, s.action)


def denoising_chain(s: Sizes, rows: int, observations: int, part: str) -> list[Product]:
    """Forward passes of `rows` actions at so many observations, whose part is computed once."""
    steps = repeated(_denoiser(s, part).forward(rows, [s.action]), s.steps)
    return [Product(part, 1, observations, s.observation, s.width), *steps]


def diffusion_ql(s: Sizes) -> list[Product]:
    """One update: the target's chain and values, TD, cloning, and the actor's chain through one of
    the critics (the other's value alone is needed, for the scale). Cloning and chain share the
    observation's part of the first layer, and the gradient for its weights."""
    rows, critics = s.batch, _critics(s, "actor: value")
    cloning, actor = (
        _denoiser(s, part)._replace(inputs=(s.action,)) for part in ("cloning", "actor")
    )
    # Back through the chain: the first step's action is noise, to which nothing is passed on.
    passed_on = Product("actor", 1, rows, s.width, s.action, s.steps - 1)
    return [
        *denoising_chain(s, rows, rows, "target: chain"),
        *_critics(s, "target").forward(rows),
        *_regression(s, "td"),
        *cloning.forward(rows),
        *cloning.weight_gradients(rows),
        *denoising_chain(s, rows, rows, "actor"),
        *repeated(actor.weight_gradients(rows), s.steps),
        passed_on,
        Product("actor", 1, s.observation, rows, s.width),
        *critics.forward(rows),
        *critics._replace(copies=1).input_gradient(rows, s.action),
    ]


def sac(s: Sizes) -> list[Product]:
    """One update: the target, the critics' regression, and the actor through both critics."""
    rows, critics = s.batch, _critics(s, "actor: value")
    actor = Perceptron("actor", 1, (s.observation,), s.width, s.layers, 2 * s.action)
    return [
        *actor._replace(part="target: action").forward(rows),
        *_critics(s, "target").forward(rows),
        *_regression(s, "td"),
        *actor.forward(rows),
        *critics.forward(rows),
        *critics.input_gradient(rows, s.action),
        *actor.weight_gradients(rows),
    ]


def ppo(s: Sizes) -> list[Product]:
    """One fit: the values of a rollout and after its end, and a gradient for each minibatch. The
    probabilities of its actions are those of acting."""
    policy = Perceptron("policy", 1, (s.observation,), s.width, s.layers, s.action)
    value = Perceptron("value", 1, (s.observation,), s.width, s.layers, 1)
    rows, larger = divmod(s.batch, s.minibatches)
    steps = [
        product
        for network in (policy, value)
        for size, count in ((rows, s.minibatches - larger), (rows + 1, larger))
        for product in repeated(network.forward(size) + network.weight_gradients(size), count)
        if count
    ]
    advantages = value._replace(part="advantages").forward(s.batch + s.environments)
    return advantages + repeated(steps, s.epochs)


def langevin_act(s: Sizes, rows: int) -> list[Product]:
    """Actions of LQL or NC-LQL: one chain."""
    return langevin_chain(s, rows)


def diffusion_ql_act(s: Sizes, rows: int) -> list[Product]:
    """Actions of Diffusion-QL: the candidates of each observation, and their values."""
    drawn, critics = rows * s.candidates, _critics(s, "value")
    return [
        *denoising_chain(s, drawn, rows, "chain"),
        Product("value", 2, rows, s.observation, s.width),
        *critics.forward(drawn, [s.action]),
    ]


def sac_act(s: Sizes, rows: int) -> list[Product]:
    """Actions of SAC: one forward pass of the policy."""
    return Perceptron("actor", 1, (s.observation,), s.width, s.layers, 2 * s.action).forward(rows)


def ppo_act(s: Sizes, rows: int) -> list[Product]:
    """Actions of PPO: one forward pass of the policy."""
    return Perceptron("policy", 1, (s.observation,), s.width, s.layers, s.action).forward(rows)


def repeated(products: Iterable[Product], times: int) -> list[Product]:
    """The same products as often."""
    return [p._replace(count=p.count * times) for p in products]


LEARNING: dict[str, Callable[[Sizes], list[Product]]] = {
    "lql": lql,
    "nc_lql": nc_lql,
    "diffusion_ql": diffusion_ql,
    "sac": sac,
    "ppo": ppo,
}
"""Products of one `learn` that has something to do."""

ACTING: dict[str, Callable[[Sizes, int], list[Product]]] = {
    "lql": langevin_act,
    "nc_lql": langevin_act,
    "diffusion_ql": diffusion_ql_act,
    "sac": sac_act,
    "ppo": ppo_act,
}
"""Products of one `act` on so many observations."""
