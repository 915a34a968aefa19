"""The checks of `conformance_*.py` themselves: what they let pass, and what they tell of it."""

import copy
from dataclasses import dataclass

import conformance_contract
import conformance_latch
import conformance_state
import pytest
import torch
from conformance import NotConforming, Subject, noise
from test_conformance import CONTRACT

from algorithms.finite import FiniteLatch
from algorithms.sac import SAC


class Delayed(SAC):
    """Moves its targets, and tells of its policy, at every second update, as TD3 does."""

    def update(self, batch):
        before = copy.deepcopy(self.target_critics.state_dict())
        metrics = super().update(batch)
        if self.updates % 2:
            return metrics
        self.target_critics.load_state_dict(before)
        return {name: value for name, value in metrics.items() if not name.startswith("actor")}


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_a_delayed_policy_conforms(check):
    check(Subject("delayed", "delayed.py", Delayed))


def test_a_metric_is_the_mean_over_the_updates_that_have_it():
    agent = Subject("delayed", "delayed.py", Delayed).make()
    agent.run = agent.run._replace(updates_per_step=3)
    source, found = noise(), {}
    agent.update = lambda batch: (
        {"q": torch.tensor(agent.updates * 1.0)}
        | ({"actor_loss": torch.tensor(agent.updates * 10.0)} if agent.updates % 2 else {})
    )
    while not found:
        found = Subject("delayed", "delayed.py", Delayed).step(agent, source)
    assert found == {"q": 1, "actor_loss": 10}, "of the updates 0, 1 and 2"


class Counting(SAC):
    """Counts for itself, and counts from nothing once it was restored."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.seen = 0

    def update(self, batch):
        self.seen += 1
        return super().update(batch)


class Straying(SAC):
    """Noise that goes on from step to step, for as many observations as there are environments."""

    def policy(self, observation, explore):
        action = super().policy(observation, explore)
        return action + torch.zeros(self.run.environments, 1) if explore else action


class Irregular(SAC):
    """Leaves its targets where they are at its third update."""

    def update(self, batch):
        before = copy.deepcopy(self.target_critics.state_dict())
        metrics = super().update(batch)
        if self.updates == 2:
            self.target_critics.load_state_dict(before)
        return metrics


@dataclass(frozen=True)
class Chosen(SAC.Configuration):
    is_clipped: bool = True


class Leaving(SAC):
    """Stays in the box by default, and not as it may be set."""

    Configuration = Chosen

    def policy(self, observation, explore):
        action = super().policy(observation, explore)
        return action if self.configuration.is_clipped else action + 1


@pytest.mark.parametrize(
    ("wrong", "check", "told"),
    [
        (Leaving, conformance_latch.every_choice_runs, r"'is_clipped': False}, an action outside"),
        (Counting, conformance_state.restored_it_goes_on_to_the_bit, "it has another seen than"),
        (Irregular, conformance_state.targets_move_at_their_rate, r"moved at \[0, 2, 3, 4"),
    ],
)
def test_what_is_wrong_is_told(wrong, check, told):
    with pytest.raises(NotConforming, match=told):
        check(Subject("wrong", "wrong.py", wrong))


def test_noise_of_the_runs_own_environments_alone_is_told():
    with pytest.raises((NotConforming, RuntimeError)):
        conformance_contract.proposals_are_of_any_number(Subject("wrong", "wrong.py", Straying))


def test_what_a_configuration_or_a_metric_lacks_is_named():
    with pytest.raises(TypeError, match="Bare learns from replay: .* needs replay_capacity"):
        type("Bare", (SAC,), {})(object(), *[None] * 4)
    with pytest.raises(TypeError, match="actor_loss is of <class 'float'>"):
        FiniteLatch(torch.device("cpu")).check(0, actor_loss=1.0)
