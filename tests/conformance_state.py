"""Checks of what an algorithm's next step depends on: evaluation, seeds, generators, saved states,
targets.

Each takes a `conformance.Subject` and raises NotConforming with what is missing and where.
"""

import random

import numpy as np
import torch
from conformance import SPACES, UPDATES, Subject, differences, kept, noise, snapshot, vector

from algorithms.agent import Agent


def evaluating_leaves_no_trace(subject: Subject) -> None:
    """A run with evaluations between its vector steps ends in the state of one without."""
    agent, undisturbed = subject.make(), subject.make()
    observation = torch.randn(7, SPACES.observation_size, generator=noise(1))

    def look() -> torch.Tensor:
        before = snapshot(agent)
        generator = agent.generators["evaluation"].get_state()
        action = agent.act(observation, explore=False)
        agent.generators["evaluation"].set_state(generator)
        changed = differences(before, agent.state_dict())
        subject.require(
            not changed,
            f"act(explore=False) changed {changed}; it draws from generators['evaluation'] and "
            "changes nothing else",
        )
        repeated = agent.act(observation, explore=False)
        agent.generators["evaluation"].set_state(generator)
        subject.require(
            torch.equal(action, repeated),
            "act(explore=False) twice from one state of generators['evaluation'] gave two actions",
        )
        return action

    source = noise()
    for _ in range(3):
        subject.step_until_update(agent, source)
        look()
    source = noise()
    for _ in range(3):
        subject.step_until_update(undisturbed, source)
    last = look()
    changed = differences(undisturbed.state_dict(), agent.state_dict())
    subject.require(not changed, f"a run with evaluations and one without differ in {changed}")
    for part in agent.networks().values():
        for parameter in part.module.parameters():
            parameter.data.add_(torch.randn(parameter.shape, generator=source))
    subject.require(
        not torch.equal(last, look()), "act(explore=False) depends on none of networks()"
    )


def one_seed_is_one_run(subject: Subject) -> None:
    def run(seed: int) -> dict:
        agent, source = subject.make(seed=seed), noise()
        for _ in range(3):
            subject.step_until_update(agent, source)
        return snapshot(agent)

    first = run(0)
    changed = differences(first, run(0))
    subject.require(
        not changed, f"two runs from one seed differ in {changed}; draw from self.generators only"
    )
    parts = differences(first["components"], run(1)["components"])
    subject.require(parts, "runs from two seeds are the same; use the generators that are given")


def nothing_draws_from_a_global_generator(subject: Subject) -> None:
    def states() -> dict:
        return {
            "torch's": torch.get_rng_state(),
            "NumPy's": repr(np.random.get_state(legacy=False)),  # noqa: NPY002
            "Python's": random.getstate(),
        }

    before, agent, source = states(), subject.make(), noise()
    for _ in range(3):
        subject.step_until_update(agent, source)
        agent.act(torch.zeros(2, SPACES.observation_size), explore=False)
    agent.load_state_dict(kept(agent.state_dict()))
    used = [name for name in before if differences(before[name], states()[name])]
    subject.require(
        not used,
        f"{' and '.join(used)} global generator was drawn from; pass generator=self.generators[...]"
        " (torch.nn.Linear draws its weights too: algorithms/policies.py has `linear`)",
    )
    subject.require(
        set(agent.state_dict()["generators"]) == set(agent.generators),
        "state_dict() must keep every generator",
    )


def restored_it_goes_on_to_the_bit(subject: Subject) -> None:
    """Saved in the middle of its warm-up or rollout and later, restored into a fresh agent."""
    for updates in (0, 3):
        agent, source = subject.make(), noise()
        for _ in range(updates):
            subject.step_until_update(agent, source)
        subject.step(agent, source)
        try:
            state = kept(agent.state_dict())
        except Exception as error:
            subject.require(False, f"its state is more than tensors and plain values: {error}")
        restored, fresh = subject.make(seed=9), subject.make(seed=9)
        restored.load_state_dict(state)
        changed = differences(agent.state_dict(), restored.state_dict())
        subject.require(not changed, f"restored, it differs in {changed}")
        lost = differences(_plain(agent), _plain(restored))
        subject.require(
            not lost,
            f"restored, it has another {', '.join(lost)} than the agent that was saved; put what "
            "an update or an action depends on into components() (a number: as a module's buffer)",
        )
        for _ in range(3):
            following, told = source.get_state(), []
            for other in (restored, agent):
                source.set_state(following)
                told.append(subject.step_until_update(other, source))
            changed = differences(agent.state_dict(), restored.state_dict())
            subject.require(
                not changed,
                f"an update after restoring, {changed} differ; something that the update depends "
                "on is not in components() (networks, targets, optimisers, replay, normalisers)",
            )
            changed = differences(*told)
            subject.require(not changed, f"an update after restoring, metrics differ: {changed}")
        subject.step_until_update(fresh, source)
        subject.require(
            differences(agent.state_dict()["components"], fresh.state_dict()["components"]),
            "an agent that nothing was restored into is the same; its state is empty",
        )


def _plain(agent: Agent) -> dict[str, int | float | torch.Tensor]:
    """Attributes that are numbers or tensors, and so have no state of their own."""
    kinds = (int, float, torch.Tensor)
    return {name: value for name, value in vars(agent).items() if isinstance(value, kinds)}


def targets_move_at_their_rate(subject: Subject) -> None:
    """`target_x` follows `x` by `configuration.target_rate`, exactly, once an update or once in
    every two, three or four (as where a policy is trained more seldom than its critics)."""
    agent, source = subject.make(), noise()
    subject.step_until_update(agent, source)
    targets = [name for name in agent.networks() if name.startswith("target_")]
    for name in targets:
        online_name = name.removeprefix("target_")
        subject.require(
            online_name in agent.networks(),
            f"networks() has {name!r} and no {online_name!r} that it follows",
        )
        subject.require(
            subject.known({"target_rate": 0}),
            f"it has {name!r} and no Configuration.target_rate, the share of the online network "
            "that enters the target at each update",
        )
        subject.require(
            not agent.networks()[name].trained,
            f"networks() calls {name!r} trained; no optimiser touches a target",
        )
    moved: dict[str, list[int]] = {name: [] for name in targets}
    for update in range(UPDATES):
        before = {name: vector(agent.networks()[name].module) for name in targets}
        subject.step_until_update(agent, source)
        for name, old in before.items():
            new = vector(agent.networks()[name].module)
            online = vector(agent.networks()[name.removeprefix("target_")].module)
            if not torch.equal(old, new):
                moved[name].append(update)
                _check_rate(subject, name, old, new, online, agent)
    for name, updates in moved.items():
        gaps = {later - earlier for earlier, later in zip(updates[:-1], updates[1:], strict=True)}
        subject.require(
            len(gaps) == 1,
            f"of {UPDATES} updates {name} moved at {updates}; let it follow its online network at "
            "every update, or at every second, third or fourth",
        )


def _check_rate(subject, name, old, new, online, agent) -> None:
    rate = agent.configuration.target_rate
    old, new, online = (part.to(torch.float64) for part in (old, new, online))
    found = ((new - old) @ (online - old) / (online - old).square().sum()).item()
    error = (new - (1 - rate) * old - rate * online).abs().max().item()
    # A few roundings of float32 numbers of this size; a wrong rate moves some parameter further.
    subject.require(
        error <= 4 * torch.finfo(torch.float32).eps * old.abs().max().item(),
        f"{name} moved towards its online network by {found:.6f} of the way and not by "
        f"target_rate = {rate}; after an update's optimiser steps call polyak_update once, or not "
        "at all",
    )


CHECKS = (
    evaluating_leaves_no_trace,
    one_seed_is_one_run,
    nothing_draws_from_a_global_generator,
    restored_it_goes_on_to_the_bit,
    targets_move_at_their_rate,
)
