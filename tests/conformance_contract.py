"""Checks of what an algorithm is and what it hands out: configuration, actions, counters, metrics.

Each takes a `conformance.Subject` and raises NotConforming with what is missing and where.
"""

import dataclasses
import re

import torch
from conformance import (
    ENVIRONMENTS,
    SPACES,
    UPDATES,
    WARM_UP,
    Subject,
    differences,
    noise,
    snapshot,
    vector,
)

from algorithms.agent import Agent
from algorithms.configuration import fields
from algorithms.off_policy import OffPolicyAgent
from algorithms.options import resolve_settings
from algorithms.train import Options


def is_an_agent(subject: Subject) -> None:
    algorithm = subject.algorithm
    subject.require(
        re.fullmatch("[a-z][a-z0-9_]*", subject.name),
        f"its name {subject.name!r} stands in paths: lower case, digits and underscores",
    )
    subject.require(
        isinstance(algorithm, type) and issubclass(algorithm, Agent),
        f"{algorithm} is no subclass of Agent (off-policy methods: of OffPolicyAgent)",
    )
    subject.require(
        not algorithm.__abstractmethods__,
        f"{algorithm.__name__} does not write {sorted(algorithm.__abstractmethods__)}; "
        "algorithms/agent.py says what each returns",
    )
    subject.require(
        dataclasses.is_dataclass(getattr(algorithm, "Configuration", None))
        and algorithm.Configuration.__dataclass_params__.frozen,
        f"{algorithm.__name__}.Configuration must be a frozen dataclass of its hyperparameters",
    )


def every_hyperparameter_is_documented(subject: Subject) -> None:
    configuration = subject.algorithm.Configuration
    for field in fields(configuration):
        where = f"Configuration.{field.name}"
        subject.require(
            field.default is not dataclasses.MISSING, f"{where} has no default; give it one"
        )
        subject.require(
            isinstance(field.default, bool | int | float | str | None),
            f"the default of {where} is a {type(field.default).__name__}; records keep plain "
            "numbers, strings and booleans",
        )
        subject.require(
            field.description,
            f"{where} has no docstring; write under it what it is, its unit or range, and "
            '"Source: " where its value comes from',
        )
        subject.require(
            field.source,
            f'the docstring of {where} has no source; end it with "Source: " and the publication '
            'or code its value comes from, or "Source: ours: " and the reason',
        )
        subject.require(
            field.source.partition("ours")[2].lstrip(": ") or not field.source.startswith("ours"),
            f'the source of {where} is "ours" without a reason',
        )
    taken = {field.name for field in dataclasses.fields(Options)}
    clashes = sorted(taken & {field.name for field in fields(configuration)})
    subject.require(not clashes, f"{clashes} are options of every run; give them other names")
    try:
        resolve_settings(configuration, {})
    except ValueError as error:
        subject.require(False, f"a default is not what its docstring says: {error}")


def actions_lie_in_the_box(subject: Subject) -> None:
    """Exploring and evaluating, in the warm-up and after it, in one environment and in many, and
    far from any observation seen."""
    for environments in (1, ENVIRONMENTS):
        agent, source = subject.make(environments=environments), noise()
        for phase in ("at the start", "after updates"):
            for explore in (True, False):
                # An evaluation has as many rows as episodes, whatever the run has.
                for rows in (environments,) if explore else (1, 7):
                    observation = 100 * torch.randn(rows, SPACES.observation_size, generator=source)
                    where = f"act(explore={explore}) {phase}, {rows} observations"
                    _check_action(subject, agent.act(observation, explore), rows, where)
            if phase == "at the start":
                # What was drawn is observed, so that no exploring action is left in the air.
                for _ in range(3):
                    subject.step_until_update(agent, source)


def proposals_are_of_any_number(subject: Subject) -> None:
    """More candidates than the run has environments, and fewer."""
    agent, source = subject.make(), noise()
    if not isinstance(agent, OffPolicyAgent):
        return
    subject.step_until_update(agent, source)
    for rows, count in ((1, 1), (3, 4)):
        observation = torch.randn(rows, SPACES.observation_size, generator=source)
        found = tuple(agent.propose(observation, count).shape)
        subject.require(
            found == (rows, count, SPACES.action_size),
            f"propose({rows} observations, {count}) is of shape {found}; policy(explore=True) acts "
            "at any number of observations: noise that goes on from step to step is of the run's "
            "own environments alone",
        )


def _check_action(subject: Subject, action: torch.Tensor, rows: int, where: str) -> None:
    shape = (rows, SPACES.action_size)
    subject.require(isinstance(action, torch.Tensor), f"{where}: returned a {type(action)}")
    subject.require(
        tuple(action.shape) == shape, f"{where}: shape {tuple(action.shape)}, not {shape}"
    )
    subject.require(
        action.dtype == torch.float32, f"{where}: {action.dtype}; actions are torch.float32"
    )
    subject.require(
        not action.requires_grad, f"{where}: carries a gradient; act under torch.no_grad()"
    )
    subject.require(
        bool((action.abs() <= 1).all()),
        f"{where}: an action outside of [-1, 1] or not finite; clamp it",
    )


def warm_up_is_random_and_learns_nothing(subject: Subject) -> None:
    if not subject.algorithm.has_warm_up:
        return
    agent, source = subject.make(), noise()
    untrained, taken = snapshot(agent)["components"], []
    while agent.transitions < WARM_UP:
        observation = torch.zeros(ENVIRONMENTS, SPACES.observation_size)
        taken.append(agent.act(observation, explore=True))
        subject.step(agent, source)
    taken = torch.cat(taken)
    subject.require(
        agent.updates == 0,
        f"{agent.updates} updates before the warm-up of {WARM_UP} transitions was over",
    )
    # 20 uniform draws in 2 dimensions spread; those of a network at one observation seldom do.
    spread = taken.std(0).min().item()
    subject.require(
        spread > 0.3,
        f"actions of the warm-up deviate by {spread:.2f}, uniform ones by 0.58; let them be "
        "uniform in the box until run.warm_up transitions were observed, as OffPolicyAgent does",
    )
    changed = [
        path
        for path in differences(untrained, agent.state_dict()["components"])
        if not path.startswith("replay")
    ]
    subject.require(not changed, f"the warm-up changed {changed}")


def counters_and_metrics_are_kept(subject: Subject) -> None:
    """And learning changes every network."""
    for environments in (1, ENVIRONMENTS):
        agent, source = subject.make(environments=environments), noise()
        before = {name: vector(part.module) for name, part in agent.networks().items()}
        subject.step(agent, source)
        subject.require(
            agent.transitions == environments,
            f"transitions is {agent.transitions} after a step of {environments} environments; "
            "observe() must add the number of rows",
        )
        history = [subject.step_until_update(agent, source) for _ in range(UPDATES)]
        subject.require(
            agent.optimiser_steps >= agent.updates,
            f"optimiser_steps is {agent.optimiser_steps} after {agent.updates} updates; count "
            "every step of an optimiser in `self.optimiser_steps`",
        )
        half = UPDATES // 2
        early, late = (set().union(*of) for of in (history[:half], history[half:]))
        subject.require(
            all(history) and early == late,
            f"learn() returned {[list(metrics) for metrics in history]}; at least one metric at "
            "every update, and each of them at every update, or every second, third or fourth",
        )
        for name, value in {name: of[name] for of in history for name in of}.items():
            subject.require(
                isinstance(value, torch.Tensor) and value.shape == () and not value.requires_grad,
                f"metric {name!r} is {value}; metrics are scalar tensors without gradient",
            )
            subject.require(bool(value.isfinite()), f"metric {name!r} is not finite: {value}")
        subject.require(before, "networks() is empty; name every network, trained or target")
        for name, part in agent.networks().items():
            subject.require(
                not part.trained or not torch.equal(before[name], vector(part.module)),
                f"network {name!r} is called trained and three updates left it as it was",
            )


CHECKS = (
    is_an_agent,
    every_hyperparameter_is_documented,
    actions_lie_in_the_box,
    proposals_are_of_any_number,
    warm_up_is_random_and_learns_nothing,
    counters_and_metrics_are_kept,
)
