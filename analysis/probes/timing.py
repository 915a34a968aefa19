"""Times cases in shuffled rounds, the machine's matrix products among them."""

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from algorithms.device import generator_on
from analysis.probes.products import Product
from analysis.probes.samples import Sample

MATRIX_SIZES = (512, 768, 1024, 1536, 2048)
SHORTEST_SAMPLE_SECONDS = 0.02
BURN_IN_CALLS = 3
BURN_IN_SECONDS = 0.25
"""After the first call, which compiles, no further one is made for burn-in beyond these."""
LONG_CALL_SECONDS = 1.0
"""A call that takes longer averages a machine's noise by itself: one sample a process."""


@dataclass
class Case:
    """Something to time, and what it is."""

    name: str
    about: dict[str, Any]
    """For the record: algorithm, quantity, sizes, FLOPs."""
    run: Callable[[], Any]
    prepare: Callable[[], Any] | None = None
    """Called before each `run`, outside of its time; then a sample is of one call."""
    single_calls: int = 0
    """Successive calls of a round that are samples of their own; 0: one sample of `calls`."""
    calls: int = field(default=1, init=False)
    """Calls a sample."""
    is_long: bool = field(default=False, init=False)
    """Whether one sample is enough."""


def measure(
    cases: Sequence[Case],
    rounds: int,
    device: torch.device,
    seed: int = 0,
    shortest: float = SHORTEST_SAMPLE_SECONDS,
) -> list[Sample]:
    """Burn in, then `rounds` samples of each case, one a round, in an order shuffled anew.

    A sample is of as many calls as take `shortest` seconds, at least one. A case of long calls is
    sampled in the first round only.
    """
    for case in cases:
        burn_in(case, device, shortest)
    shuffle = random.Random(seed).sample
    samples = []
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            for order, case in enumerate(shuffle(list(cases), len(cases))):
                if number and case.is_long:
                    continue
                for _ in range(case.single_calls or 1):
                    seconds = sample_seconds(case, device)
                    samples.append(Sample(case.name, number, order, case.calls, seconds))
    finally:
        gc.enable()
    return samples


def burn_in(case: Case, device: torch.device, shortest: float) -> None:
    """Compile and fill caches; then set the calls of a sample by the last call's time."""
    spent = 0.0
    sample_seconds(case, device)
    for _ in range(BURN_IN_CALLS - 1):
        seconds = sample_seconds(case, device)
        spent += seconds
        if spent > BURN_IN_SECONDS:
            break
    case.is_long = seconds > LONG_CALL_SECONDS
    if case.prepare is None and not case.single_calls:
        case.calls = max(1, min(1000, round(shortest / max(seconds, 1e-7))))


def sample_seconds(case: Case, device: torch.device) -> float:
    """Seconds of `case.calls` calls, with the device waited for on either side."""
    if case.prepare is not None:
        case.prepare()
    synchronise(device)
    begin = time.perf_counter()
    for _ in range(case.calls):
        case.run()
    synchronise(device)
    return time.perf_counter() - begin


def synchronise(device: torch.device) -> None:
    """Wait for all that was asked of the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def normal(shape: tuple[int, ...], precision: str, device: torch.device) -> Tensor:
    """Standard normal numbers: some devices multiply ones or zeros faster."""
    generator = generator_on(device, 0)
    return torch.randn(shape, generator=generator, device=device).to(getattr(torch, precision))


def matrix_product_cases(group: str, precisions: Sequence[str], device: torch.device) -> list[Case]:
    """Square products, the machine's limit, in each precision and of each size."""
    cases = []
    for precision in precisions:
        for size in MATRIX_SIZES:
            a, b, out = (normal((size, size), precision, device) for _ in range(3))
            cases.append(
                Case(
                    f"{group}/matrix_product/{precision}/{size}",
                    {
                        "group": group,
                        "quantity": "matrix_product",
                        "precision": precision,
                        "sizes": {"matrix": size},
                        "flops": {precision: 2 * size**3},
                    },
                    lambda a=a, b=b, out=out: torch.mm(a, b, out=out),
                )
            )
    return cases


def products_only(
    products: Sequence[Product], precision: str, device: torch.device
) -> Callable[[], None]:
    """A function that does these matrix products and nothing else, into memory that is at hand."""
    calls = []
    for product in products:
        used = precision if product.is_sampling else "float32"
        shapes = (
            (product.copies, product.rows, product.inner),
            (product.copies, product.inner, product.columns),
            (product.copies, product.rows, product.columns),
        )
        a, b, out = (normal(shape, used, device) for shape in shapes)
        if product.copies == 1:
            calls.append((torch.mm, a[0], b[0], out[0], product.count))
        else:
            calls.append((torch.bmm, a, b, out, product.count))

    def run() -> None:
        for multiply, a, b, out, count in calls:
            for _ in range(count):
                multiply(a, b, out=out)

    return run
