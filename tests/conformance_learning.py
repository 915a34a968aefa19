"""Checks of what an algorithm learns on two tiny tasks with known answers.

Each takes a `conformance.Subject` and raises NotConforming with what is missing and where.
"""

import numpy as np
import torch
from conformance import SMALL, Subject
from learners import CPU, train, truncation_taken_for_an_end

from algorithms.agent import Agent
from algorithms.evaluation import evaluate
from envs.point import Point

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


CHECKS = (
    truncation_is_not_termination,
    a_point_finds_its_target,
)
