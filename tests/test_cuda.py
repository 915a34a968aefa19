"""What only a GPU can show: skipped where there is none.

That an update never waits for the device is in `test_meta_device.py`.
"""

import json
import os
import subprocess
import sys

import pytest
import torch
import torture
from conformance import kept, noise, subject, vector
from learners import CPU
from test_meta_device import needs_cuda
from torch.overrides import TorchFunctionMode

from algorithms import ALGORITHMS
from algorithms.agent import Agent
from algorithms.randomness import agent_generators

# As a run sets it, before anything is multiplied: for the same bytes twice.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

CUDA = torch.device("cuda")
VECTOR_STEPS = 40
"""Past the first updates of every method, PPO's rollouts included."""

pytestmark = needs_cuda


class DrawnOnTheHost(TorchFunctionMode):
    """Draws from a generator of the host and takes what it drew to the device."""

    DRAWS = (torch.rand, torch.randn, torch.randint, torch.randperm)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function in self.DRAWS and "generator" in kwargs:
            device = kwargs.pop("device", CPU)
            return function(*args, **kwargs).to(device)
        return function(*args, **kwargs)


def made(name: str, device: torch.device = CUDA, compile: bool = False) -> Agent:
    """A small agent in float32 throughout."""
    algorithm = subject(name)
    settings = algorithm.known({"sampling_precision": "float32"})
    return algorithm.make(device=device, compile=compile, **settings)


def advance(name: str, agent: Agent, source: torch.Generator) -> None:
    """Vector steps on transitions of noise."""
    for _ in range(VECTOR_STEPS):
        subject(name).step(agent, source)
    assert agent.updates > 3


def largest_difference(one: Agent, other: Agent) -> float:
    """Of any parameter of any network."""
    parts = one.networks(), other.networks()
    pairs = [[vector(part[name].module).cpu() for part in parts] for name in parts[0]]
    return max((a - b).abs().max().item() for a, b in pairs)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_updates_on_cuda_equal_those_on_the_host(name):
    """The same state, transitions and draws; and not without the same draws."""
    host, agents = made(name, CPU), [made(name) for _ in range(2)]
    for agent in agents:
        agent.generators.update(agent_generators(CPU, 0))
        parts = kept({"components": host.state_dict()["components"]}, CUDA)
        for key, component in agent.components().items():
            component.load_state_dict(parts["components"][key])
    host.generators.update(agent_generators(CPU, 0))
    agents[1].generators.update(agent_generators(CPU, 99))
    with DrawnOnTheHost():
        for agent in (host, *agents):
            advance(name, agent, noise())
    with_its_draws, with_others = (largest_difference(host, agent) for agent in agents)
    assert with_its_draws < 0.05 * with_others


@pytest.mark.parametrize("name", ALGORITHMS)
def test_compiled_updates_on_cuda_equal_eager_ones(name):
    eager, compiled = (made(name, compile=c) for c in (False, True))
    before = {key: vector(part.module) for key, part in eager.networks().items()}
    for agent in (eager, compiled):
        advance(name, agent, noise())
    moved = max((vector(eager.networks()[k].module) - v).abs().max() for k, v in before.items())
    assert largest_difference(eager, compiled) < 0.05 * moved


@pytest.mark.parametrize("name", ALGORITHMS)
def test_restored_on_cuda_it_goes_on_to_the_bit(name):
    agent, source = made(name, compile=True), noise()
    advance(name, agent, source)
    state, following = kept(agent.state_dict(), CUDA), source.get_state()
    advance(name, agent, source)
    for is_restored in (True, False):
        other = made(name, compile=True)
        if is_restored:
            other.load_state_dict(state)
        source.set_state(following)
        advance(name, other, source)
        assert (largest_difference(agent, other) == 0) == is_restored


@pytest.mark.long
@pytest.mark.parametrize("name", ["nc_lql", "diffusion_ql"])
def test_killed_twice_on_cuda_a_run_ends_with_the_same_bytes(tmp_path, name):
    arguments = ["--algorithm", name, "--env", "Pendulum-v1", "--seed", "0", "--device", "cuda"]
    arguments += ["--transitions", "3000", "--warm-up", "300", "--evaluate-every", "1000"]
    report = torture.torture(tmp_path, [*arguments, "--compile"], kills=2)
    assert report.is_same and report.kills == 2


def test_a_run_on_cuda_says_what_it_ran_on_and_in_how_much_memory(tmp_path):
    command = [sys.executable, "-m", "algorithms.train", "--algorithm", "nc_lql"]
    command += ["--env", "Pendulum-v1", "--transitions", "600", "--warm-up", "100"]
    command += ["--evaluation-episodes", "2", "--evaluate-every", "300", "--no-compile"]
    subprocess.run([*command, "--output", str(tmp_path)], check=True)
    document = json.loads((tmp_path / "run.json").read_text())
    assert document["device"] == f"cuda: {torch.cuda.get_device_name()}", "`auto` takes it"
    assert document["peak_device_memory_bytes"] > 1e6
    assert document["resolved"]["sampling_precision"] == "float32"
