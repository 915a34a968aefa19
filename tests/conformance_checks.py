"""The checks that every registered algorithm passes; each takes a `conformance.Subject`.

They raise NotConforming with what is missing and where. `test_conformance.py` runs them for every
algorithm, `test_contributing.py` shows each of them failing for an algorithm with one mistake.
"""

import dataclasses
import random
import re
from collections.abc import Callable

import numpy as np
import torch
from conformance import (
    ENVIRONMENTS,
    SMALL,
    SPACES,
    TRANSITIONS,
    WARM_UP,
    Subject,
    differences,
    kept,
    noise,
    snapshot,
)
from learners import CPU, train, truncation_taken_for_an_end

from algorithms.agent import Agent
from algorithms.configuration import fields
from algorithms.evaluation import evaluate
from envs.point import Point

CHECKS: list[Callable[[Subject], None]] = []


def check(function: Callable[[Subject], None]) -> Callable[[Subject], None]:
    """Register a check."""
    CHECKS.append(function)
    return function


@check
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


@check
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


@check
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


@check
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


@check
def counters_and_metrics_are_kept(subject: Subject) -> None:
    """And learning changes every network."""
    for environments in (1, ENVIRONMENTS):
        agent, source = subject.make(environments=environments), noise()
        before = {name: _vector(part.module) for name, part in agent.networks().items()}
        subject.step(agent, source)
        subject.require(
            agent.transitions == environments,
            f"transitions is {agent.transitions} after a step of {environments} environments; "
            "observe() must add the number of rows",
        )
        history = [subject.step_until_update(agent, source) for _ in range(3)]
        subject.require(
            agent.optimiser_steps >= agent.updates,
            f"optimiser_steps is {agent.optimiser_steps} after {agent.updates} updates; count "
            "every step of an optimiser in `self.optimiser_steps`",
        )
        subject.require(
            all(list(metrics) == list(history[0]) for metrics in history) and history[0],
            f"learn() returned {[list(metrics) for metrics in history]}; the same metrics at every "
            "update, at least one",
        )
        for name, value in history[-1].items():
            subject.require(
                isinstance(value, torch.Tensor) and value.shape == () and not value.requires_grad,
                f"metric {name!r} is {value}; metrics are scalar tensors without gradient",
            )
            subject.require(bool(value.isfinite()), f"metric {name!r} is not finite: {value}")
        subject.require(before, "networks() is empty; name every network, trained or target")
        for name, part in agent.networks().items():
            subject.require(
                not part.trained or not torch.equal(before[name], _vector(part.module)),
                f"network {name!r} is called trained and three updates left it as it was",
            )


def _vector(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1).clone() for p in module.parameters()])


@check
def evaluating_leaves_no_trace(subject: Subject) -> None:
    """Wherever it happens in a vector step: nothing differs from a run without evaluations."""
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


@check
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


@check
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


@check
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
        for _ in range(3):
            following = source.get_state()
            for other in (restored, agent):
                source.set_state(following)
                subject.step_until_update(other, source)
            changed = differences(agent.state_dict(), restored.state_dict())
            subject.require(
                not changed,
                f"an update after restoring, {changed} differ; something that the update depends "
                "on is not in components() (networks, targets, optimisers, replay, normalisers)",
            )
        subject.step_until_update(fresh, source)
        subject.require(
            differences(agent.state_dict()["components"], fresh.state_dict()["components"]),
            "an agent that nothing was restored into is the same; its state is empty",
        )


@check
def targets_move_at_their_rate(subject: Subject) -> None:
    """`target_x` follows `x` by `configuration.target_rate`, exactly, once an update."""
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
    for _ in range(3):
        before = {name: _vector(agent.networks()[name].module) for name in targets}
        subject.step_until_update(agent, source)
        for name, old in before.items():
            online = _vector(agent.networks()[name.removeprefix("target_")].module)
            _check_rate(subject, name, old, _vector(agent.networks()[name].module), online, agent)


def _check_rate(subject, name, old, new, online, agent) -> None:
    rate = agent.configuration.target_rate
    old, new, online = (part.to(torch.float64) for part in (old, new, online))
    found = ((new - old) @ (online - old) / (online - old).square().sum()).item()
    error = (new - (1 - rate) * old - rate * online).abs().max().item()
    # A few roundings of float32 numbers of this size; a wrong rate moves some parameter further.
    subject.require(
        error <= 4 * torch.finfo(torch.float32).eps * old.abs().max().item(),
        f"{name} moved towards its online network by {found:.6f} of the way and not by "
        f"target_rate = {rate}; after an update's optimiser steps call polyak_update once",
    )


@check
def a_reward_that_is_not_finite_is_latched(subject: Subject) -> None:
    for planted in (float("nan"), float("inf")):
        agent, source = subject.make(), noise()
        subject.step_until_update(agent, source)
        reward = torch.zeros(ENVIRONMENTS)
        _require_clean(subject, agent)
        reward[1] = planted
        subject.step(agent, source, reward=reward)
        _require_latched(subject, agent, source, f"a reward of {planted}", TRANSITIONS)


@check
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


@check
def every_choice_runs(subject: Subject) -> None:
    """Each boolean and each `Literal` of the configuration, one at a time."""
    for choice in subject.choices():
        agent, source = subject.make(**choice), noise()
        for _ in range(2):
            metrics = subject.step_until_update(agent, source)
        _require_clean(subject, agent)
        for name, value in metrics.items():
            subject.require(bool(value.isfinite()), f"with {choice}, metric {name!r} is {value}")


LEARNING = {
    "hidden_width": 32,
    "hidden_layers": 3,
    "batch_size": 64,
    "minibatches": 8,
    "epochs": 10,
    "learning_rate": 3e-3,
    "target_rate": 0.05,
    "discount": 0.9,
}
"""Learns a tiny task in some 400 updates, where an algorithm has fields of these names."""

REWARDS_ALONE = {
    "ppo": {"is_normalised": False},
    "sac": {"is_entropy_coefficient_tuned": False, "entropy_coefficient": 1e-6},
}
"""By name: what takes bonuses and normalisers off, so that a value is that of rewards."""

ANCHORS = {
    # The cloning term at its full weight holds the policy to its past (-46 after 1,000 updates);
    # without it the actor ends on a face of the box, where clipping leaves no gradient (-48).
    "diffusion_ql": {"cloning_weight": 0.1, "actor_average_after": 0},
}
"""By name: what an algorithm needs beside `LEARNING` to solve a task so soon."""


@check
def truncation_is_not_termination(subject: Subject) -> None:
    """`OneState-v0` pays 1 a step for ever and cuts its episodes every 10 steps: the value is
    1 / (1 - discount), 10 here. Where a cut is taken for an end it is 5.3 (replay: a tenth of all
    steps do not bootstrap) or less (rollouts)."""
    subject.require(subject.known({"discount": 0}), "Configuration has no `discount`")
    tiny = SMALL | LEARNING | {"hidden_width": 16, "target_rate": 0.3}
    settings = subject.known(tiny) | REWARDS_ALONE.get(subject.name, {})
    scale = getattr(subject.algorithm.Configuration(), "reward_scale", 1.0)
    right = scale / (1 - settings["discount"])
    value = _value(subject, settings)
    mishandled = _value(subject, settings, seen_as=truncation_taken_for_an_end)
    subject.require(
        abs(value / right - 1) < 0.1,
        f"the value of a task that pays 1 a step for ever is {value:.2f} and not {right:.2f} = "
        f"reward scale / (1 - discount) (shown time limits as ends: {mishandled:.2f}); bootstrap "
        "unless `terminated`, whatever `truncated` says, from the true next_observation",
    )
    subject.require(
        mishandled / right < 0.75,
        f"an end of the task does not cut its value: {mishandled:.2f} where episodes of 10 steps "
        f"end, {value:.2f} where they do not; multiply the bootstrap by (~terminated)",
    )


def _value(subject: Subject, settings: dict, **seen) -> float:
    agent = train(
        subject.algorithm, "OneState-v0", transitions=500, updates_per_step=4, **settings, **seen
    )
    value = getattr(agent.networks().get("value"), "module", None)
    if value is not None:
        return value(torch.zeros(1, 1)).item()
    # Read from the same place as every table's: the last update's mean Q.
    q_mean = agent.learn().get("q_mean")
    subject.require(
        q_mean is not None,
        "neither a metric 'q_mean' (mean Q of a batch, in units of scaled reward) nor a network "
        "'value' to look at; without one its bootstrapping cannot be tested",
    )
    return q_mean.item()


@check
def a_point_finds_its_target(subject: Subject) -> None:
    """`Point-v0`, one action, solved in 1,500 transitions, 520 updates from a replay."""
    settings = subject.known(LEARNING) | ANCHORS.get(subject.name, {})
    settings["warm_up"] = 200 if subject.algorithm.has_warm_up else 0
    agent = train(subject.algorithm, "Point-v0", transitions=1500, updates_per_step=2, **settings)
    untrained = train(subject.algorithm, "Point-v0", transitions=0, **settings)
    seeds = range(20)

    def mean_return(agent: Agent) -> float:
        return float(np.mean([e.return_ for e in evaluate(agent, "Point-v0", seeds, CPU)]))

    before, after = mean_return(untrained), mean_return(agent)
    subject.require(
        before < Point.SOLVED_RETURN < after,
        f"Point-v0 is not learnt: mean return {after:.1f} after {agent.updates} updates, "
        f"{before:.1f} untrained; solved is above {Point.SOLVED_RETURN:.0f}, random actions get "
        "-124",
    )
