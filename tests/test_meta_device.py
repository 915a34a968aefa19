"""What would stop or stray on a GPU, found without one.

Tensors on torch's `meta` device have no values, so reading one back raises. It lets some mixtures
of devices through, though (indices, gathers, embeddings from the host), and copies from the host
without a word; a dispatch mode catches these.
"""

import pytest
import torch
from conformance import SPACES, Subject, noise, subject
from learners import random_transition
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from algorithms import ALGORITHMS
from algorithms.agent import Agent
from algorithms.device import adam, generator_on
from algorithms.finite import FiniteLatch
from algorithms.normalisation import RunningMoments
from algorithms.replay import Batch, Replay

META = torch.device("meta")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


class StrayTensor(AssertionError):
    """One operation on tensors of two devices."""


class OneDevice(TorchDispatchMode):
    """Raises StrayTensor when tensors with elements to count, among an operation's arguments and
    results, stand on two devices. Scalars may: a GPU takes them as arguments of a kernel."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, result))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.dim() > 0]
        if len({tensor.device for tensor in tensors}) > 1:
            told = ", ".join(f"{tuple(tensor.shape)} on {tensor.device}" for tensor in tensors)
            raise StrayTensor(f"{function} with {told}")
        return result


def run_on(algorithm: Subject, device: torch.device, guard, **settings) -> Agent:
    """Vector steps and evaluations, in the warm-up and past an update; `guard()` is a context."""
    agent, source = algorithm.make(device=device, **settings), noise()
    observation = torch.zeros(7, SPACES.observation_size, device=device)
    while agent.updates == 0:
        with guard():
            assert agent.act(observation, explore=False).device.type == device.type
        transition = random_transition(agent, source)
        with guard():
            assert agent.act(transition.observation, explore=True).device.type == device.type
            metrics = algorithm.step_on(agent, transition)
        strays = [name for name, value in metrics.items() if value.device.type != device.type]
        assert not strays, f"{algorithm.file}: metrics {strays} are not on the device"
        assert agent.transitions < agent.run.transitions, f"{algorithm.file}: no updates"
    for name, part in agent.networks().items():
        for tensor in (*part.module.parameters(), *part.module.buffers()):
            assert tensor.device.type == device.type, f"{algorithm.file}: {name} strays"
    assert agent.finite.flag.device.type == device.type
    return agent


@pytest.mark.parametrize("name", ALGORITHMS)
def test_nothing_is_read_back_and_nothing_strays(name):
    """With every boolean and `Literal` of the configuration switched, one at a time."""
    algorithm = subject(name)
    for choice in algorithm.choices():
        run_on(algorithm, META, OneDevice, **choice)


@needs_cuda
@pytest.mark.parametrize("name", ALGORITHMS)
def test_nothing_waits_for_cuda(name):
    """CUDA says itself where the host waits for it."""

    class NoWaiting:
        def __enter__(self):
            torch.cuda.set_sync_debug_mode("error")

        def __exit__(self, *failure):
            torch.cuda.set_sync_debug_mode("default")

    run_on(subject(name), torch.device("cuda"), NoWaiting)


class Planted(Replay):
    """A replay with one of the mistakes that this file is about."""

    def __init__(self, mistake: str):
        super().__init__(100, 3, 2, META)
        self.mistake = mistake

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        on_host = torch.randint(self.size, (batch_size,), generator=generator)
        batch = super().sample(batch_size, generator)
        stored = self._stored.reward
        if self.mistake == "index":
            return batch._replace(reward=stored[on_host])
        if self.mistake == "gather":
            return batch._replace(reward=stored.gather(0, on_host))
        if self.mistake == "embedding":
            rows = torch.nn.functional.embedding(on_host, self._stored.observation)
            return batch._replace(observation=rows)
        if self.mistake == "copy":
            return batch._replace(reward=on_host.float().to(META))
        if self.mistake == "item":
            batch.reward.sum().item()
        if self.mistake == "cpu":
            batch.reward.cpu()
        if self.mistake == "truth" and (batch.reward > 0).any():
            return batch
        return batch


def use(mistake: str) -> None:
    replay = Planted(mistake)
    rows = torch.zeros(8, 3, device=META)
    flags = torch.zeros(8, dtype=torch.bool, device=META)
    replay.add(Batch(rows, rows[:, :2], rows[:, 0], flags, rows))
    replay.sample(4, generator_on(META, 0))


def test_the_replay_without_a_mistake_passes():
    with OneDevice():
        use("none")


@pytest.mark.parametrize("mistake", ["index", "gather", "embedding", "copy"])
def test_a_planted_stray_tensor_is_caught(mistake):
    use(mistake)  # which the meta device alone lets through
    with OneDevice(), pytest.raises(StrayTensor, match="on cpu"):
        use(mistake)


@pytest.mark.parametrize("mistake", ["item", "cpu", "truth"])
def test_a_planted_reading_back_is_caught(mistake):
    with OneDevice(), pytest.raises((RuntimeError, NotImplementedError), match="meta|Meta"):
        use(mistake)


def test_scalars_of_the_host_are_no_strays():
    with OneDevice():
        torch.zeros(3, device=META) + torch.tensor(1.0)


def test_shared_rooms_stay_on_their_device():
    rows = torch.zeros(8, 3, device=META)
    weight = torch.nn.Parameter(torch.zeros(3, 2, device=META))
    latch, moments, optimiser = FiniteLatch(META), RunningMoments(3, META), adam([weight], 1e-3)
    with OneDevice():
        for update in range(3):
            moments.update(rows)
            loss = (moments.standardise(rows, 10.0) @ weight).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            latch.check(update, loss=loss)
    assert latch.flag.is_meta and weight.is_meta
