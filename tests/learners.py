"""Agents on small tasks, without the training loop's files."""

from collections.abc import Callable

import torch

from algorithms.agent import Agent, Run, Spaces, Transition
from algorithms.device import to_device, to_host
from algorithms.randomness import agent_generators
from envs import VectorEnvironment, sizes

CPU = torch.device("cpu")


def make_agent(
    algorithm: type[Agent],
    spaces: Spaces,
    *,
    seed: int = 0,
    environments: int = 5,
    transitions: int = 10_000,
    warm_up: int = 0,
    updates_per_step: int = 1,
    compile: bool = False,
    **configuration,
) -> Agent:
    """An agent on the CPU, with some configuration fields changed."""
    return algorithm(
        algorithm.Configuration(**configuration),
        spaces,
        Run(environments, transitions, warm_up, updates_per_step, compile),
        CPU,
        agent_generators(CPU, seed),
    )


def train(
    algorithm: type[Agent],
    env_id: str,
    *,
    seed: int = 0,
    environments: int = 5,
    transitions: int = 10_000,
    seen_as: Callable[[Transition], Transition] = lambda transition: transition,
    **settings,
) -> Agent:
    """Train for all of `transitions`; `seen_as` changes what the agent is shown of each step."""
    agent = make_agent(
        algorithm,
        Spaces(*sizes(env_id)),
        seed=seed,
        environments=environments,
        transitions=transitions,
        **settings,
    )
    environment = VectorEnvironment(env_id, range(seed, seed + environments))
    while agent.transitions < transitions:
        observation = to_device(environment.observation, CPU)
        action = agent.act(observation, explore=True)
        host_action, _ = to_host(action, agent.finite.flag)
        step = environment.step(host_action)
        rest = (step.reward, step.terminated, step.truncated, step.next_observation)
        transition = Transition(observation, action, *(to_device(part, CPU) for part in rest))
        agent.observe(seen_as(transition))
        agent.learn()
    environment.close()
    return agent


def truncation_taken_for_an_end(transition: Transition) -> Transition:
    """The mistake that truncation tests are about."""
    return transition._replace(
        terminated=transition.terminated | transition.truncated,
        truncated=torch.zeros_like(transition.truncated),
    )


def random_transition(agent: Agent, generator: torch.Generator) -> Transition:
    """One vector step of noise, some of it ending; drawn on the host, for the agent's device."""
    n, (observation_size, action_size) = agent.run.environments, agent.spaces

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    ends = torch.rand(n, generator=generator)
    parts = (
        normal(n, observation_size),
        normal(n, action_size).clamp(-1, 1),
        normal(n),
        ends < 0.1,
        ends > 0.9,
        normal(n, observation_size),
    )
    return Transition(*(part.to(agent.device) for part in parts))
