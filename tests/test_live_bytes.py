"""Bytes that live at once: peaks of known blocks, and parts of an agent counted once."""

import torch
from cost_records import CPU, small

from analysis.probes.live_bytes import PARTS, kept_bytes, live_bytes, peak_rise, storage_bytes

MEGABYTE = 2**20


def block(megabytes: int) -> torch.Tensor:
    return torch.empty(megabytes * MEGABYTE, dtype=torch.uint8)


def test_the_peak_is_of_what_lives_at_once():
    def run() -> None:
        a, b = block(1), block(3)
        del a
        c = block(2)
        del b, c

    # Neither all that is ever made, 6, nor what is left at the end, 0.
    assert peak_rise(run, CPU) == 5 * MEGABYTE


def test_what_a_call_leaves_to_the_next_is_released_in_it():
    kept = []

    def run() -> None:
        kept.clear()
        kept.append(block(4))

    assert peak_rise(run, CPU) == 0
    # A single call would have seen its block made and never released.
    calls = iter([lambda: None, run])
    kept.clear()
    assert peak_rise(lambda: next(calls)(), CPU) == 4 * MEGABYTE


def test_the_peak_of_a_backward_pass_has_what_the_forward_pass_saves():
    weight = torch.zeros(64, 64, requires_grad=True)
    x = torch.zeros(256, 64)
    activation = 256 * 64 * 4

    def run(is_trained: bool) -> None:
        weight.grad = None
        with torch.set_grad_enabled(is_trained):
            h = (x @ weight).sin().cos().exp()
            if is_trained:
                h.sum().backward()

    # The inputs of sin, cos and exp, and the gradients on their way back.
    assert 4 * activation <= peak_rise(lambda: run(True), CPU) <= 7 * activation
    assert peak_rise(lambda: run(False), CPU) == 2 * activation


def test_what_is_kept_is_counted_once_by_part():
    agent = small("sac", batch_size=8).agent
    kept = kept_bytes(agent)
    numbers = {
        trained: 4 * sum(p.numel() for n in agent.networks().values() if n.trained == trained
                         for p in n.module.parameters())
        for trained in (True, False)
    }  # fmt: skip
    # Alpha is trained too, and no network.
    assert kept["parameters"] == numbers[True] + 4 and kept["targets"] == numbers[False]
    # Adam's two moments, a count of steps for each tensor, and all of alpha's.
    tensors = sum(len(list(n.module.parameters())) for n in agent.networks().values() if n.trained)
    assert kept["optimiser_state"] == 2 * numbers[True] + 4 * tensors + 3 * 4
    assert kept["gradients"] == numbers[True] + 4
    assert kept["replay"] == 10_000 * (4 * (17 + 6 + 1 + 17) + 1)
    assert set(kept) == set(PARTS)


def test_views_of_one_vector_are_counted_once():
    agent = small("ppo", epochs=1, minibatches=2, rollout_transitions=100).agent
    assert kept_bytes(agent)["parameters"] == 4 * agent.parameters.vector.numel()
    views = list(agent.network.parameters())
    each = sum(storage_bytes([view], set()) for view in views)
    assert each == len(views) * kept_bytes(agent)["parameters"], "storage by storage it would be"


def test_denoising_keeps_its_chain_alive_and_langevin_dynamics_does_not():
    def activations(name: str, **steps) -> int:
        subject = small(name, batch_size=32, **steps)
        return live_bytes(subject.agent, subject.run, subject.prepare)["activations"]

    few, many = (activations("diffusion_ql", denoising_steps=n) for n in (2, 12))
    assert many > 2.5 * few
    few, many = (activations("lql", chain_steps=n) for n in (2, 12))
    # Ten steps' noise, (10, 32, 6) in float32, and no activations.
    assert few < many <= few + 2 * 10 * 32 * 6 * 4
