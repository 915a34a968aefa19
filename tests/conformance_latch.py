"""Checks that what stops being finite is noticed, and that no choice of a setting does so.

Each takes a `conformance.Subject` and raises NotConforming with what is missing and where.
"""

import torch
from conformance import ENVIRONMENTS, SPACES, TRANSITIONS, Subject, noise

from algorithms.agent import Agent


def every_choice_runs(subject: Subject) -> None:
    """Each boolean and each `Literal` of the configuration, one at a time."""
    for choice in subject.choices():
        agent, source = subject.make(**choice), noise()
        for _ in range(2):
            metrics = subject.step_until_update(agent, source)
        _require_clean(subject, agent)
        for name, value in metrics.items():
            subject.require(bool(value.isfinite()), f"with {choice}, metric {name!r} is {value}")
        observation = torch.randn(7, SPACES.observation_size, generator=source)
        subject.require(
            bool((agent.act(observation, explore=False).abs() <= 1).all()),
            f"with {choice}, an action outside of [-1, 1]",
        )


def a_reward_that_is_not_finite_is_latched(subject: Subject) -> None:
    for planted in (float("nan"), float("inf")):
        agent, source = subject.make(), noise()
        subject.step_until_update(agent, source)
        reward = torch.zeros(ENVIRONMENTS)
        _require_clean(subject, agent)
        reward[1] = planted
        subject.step(agent, source, reward=reward)
        _require_latched(subject, agent, source, f"a reward of {planted}", TRANSITIONS)


def a_network_that_is_not_finite_is_latched(subject: Subject) -> None:
    for name in subject.make().networks():
        agent, source = subject.make(), noise()
        subject.step_until_update(agent, source)
        _require_clean(subject, agent)
        with torch.no_grad():
            next(agent.networks()[name].module.parameters()).view(-1)[0] = float("nan")
        _require_latched(subject, agent, source, f"a NaN in {name!r}", agent.updates + 1)


def _require_clean(subject: Subject, agent: Agent) -> None:
    found = agent.finite.describe(agent.finite.flag.tolist())
    subject.require(found is None, f"{found} is latched as not finite from the start")


def _require_latched(subject, agent, source, what: str, updates: int) -> None:
    """The flag is set, in the very update that met the value, before `updates` were done."""
    before = agent.updates
    while agent.finite.flag[0] < 0 and agent.transitions < TRANSITIONS:
        subject.require(
            agent.updates < updates,
            f"{what} was not noticed in the next update; show the update's losses and gradient "
            "norms (or finite.parameter_norm of the network) to self.finite.check",
        )
        before = agent.updates
        subject.step_until_update(agent, source)
    subject.require(
        agent.finite.flag[0] >= 0,
        f"{what} was not noticed in a whole run; show the update's losses and gradient norms to "
        "self.finite.check",
    )
    update, tensor = agent.finite.describe(agent.finite.flag.tolist())
    subject.require(
        min(before, agent.updates - 1) <= update <= agent.updates,
        f"{what} was latched with update {update}, when updates {before} to {agent.updates} were "
        "done; give self.finite.check the present `self.updates`",
    )
    subject.step_until_update(agent, source)
    later = agent.finite.describe(agent.finite.flag.tolist())
    subject.require(later == (update, tensor), f"the latch went from {(update, tensor)} to {later}")


CHECKS = (
    every_choice_runs,
    a_reward_that_is_not_finite_is_latched,
    a_network_that_is_not_finite_is_latched,
)
