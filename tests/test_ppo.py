"""PPO: hand-computed advantages and losses, rollouts, time limits and small tasks."""

import copy
import math

import pytest
import torch
from learners import CPU, make_agent, random_transition, train, truncation_taken_for_an_end

from algorithms.agent import Spaces, Transition
from algorithms.evaluation import evaluate, evaluation_seeds
from algorithms.ppo import PPO, Samples, clipped_surrogate_loss, generalised_advantage, standardised
from envs.point import Point

SPACES = Spaces(3, 2)


def column(*values: float) -> torch.Tensor:
    """Steps of one environment, (steps, 1)."""
    return torch.tensor(values)[:, None]


def advantage(terminated, ended) -> list[float]:
    """Four steps by hand: discount 0.5, lambda 0.8, an end after the second step."""
    return (
        generalised_advantage(
            reward=column(1.0, 2.0, 3.0, 4.0),
            value=column(10.0, 20.0, 30.0, 40.0),
            next_value=column(20.0, 60.0, 40.0, 50.0),
            terminated=torch.tensor(terminated)[:, None],
            ended=torch.tensor(ended)[:, None],
            discount=0.5,
            trace_decay=0.8,
        )
        .flatten()
        .tolist()
    )


def test_generalised_advantage_by_hand():
    never, at_second = [False] * 4, [False, True, False, False]
    # Errors: 1 + 10 - 10 = 1, 2 + 30 - 20 = 12 (or -18 if terminated), 3 + 20 - 30 = -7,
    # 4 + 25 - 40 = -11. Each advantage is its error plus 0.4 of the next one's.
    truncated = [1 + 0.4 * 12, 12, -7 - 0.4 * 11, -11]
    terminated = [1 - 0.4 * 18, -18, -7 - 0.4 * 11, -11]
    continued = [1 + 0.4 * (12 - 0.4 * 11.4), 12 - 0.4 * 11.4, -11.4, -11]
    assert advantage(never, at_second) == pytest.approx(truncated)
    assert advantage(at_second, at_second) == pytest.approx(terminated)
    assert advantage(never, never) == pytest.approx(continued)


def test_clipped_surrogate_by_hand():
    # Ratios below, inside and above [0.8, 1.2], for gains and losses.
    ratio = torch.tensor([0.5, 1.1, 2.0, 0.5, 1.1, 2.0])
    gain = torch.tensor([3.0, 3.0, 3.0, -3.0, -3.0, -3.0])
    log_ratio = ratio.log().requires_grad_()
    loss = clipped_surrogate_loss(log_ratio, gain, 0.2)
    assert loss.item() == pytest.approx(-(1.5 + 3.3 + 3.6 - 2.4 - 3.3 - 6.0) / 6)
    loss.backward()
    expected = torch.tensor([-1.5, -3.3, 0.0, 0.0, 3.3, 6.0]) / 6
    torch.testing.assert_close(log_ratio.grad, expected)
    # Without the minimum a move that already went wrong is not taken back.
    clipped_only = -(ratio.clamp(0.8, 1.2) * gain).mean()
    assert clipped_only.item() != pytest.approx(loss.item(), rel=0.1)


def test_advantages_are_standardised_with_the_unbiased_deviation():
    torch.testing.assert_close(
        standardised(torch.tensor([1.0, 2.0, 3.0])), torch.tensor([-1.0, 0.0, 1.0])
    )


def test_losses_of_a_minibatch_by_hand():
    agent = make_agent(PPO, Spaces(1, 1), hidden_width=2, entropy_coefficient=0.1)
    with torch.no_grad():
        agent.parameters.vector.zero_()  # mean 0, deviation 1, value 0
    log_probability = torch.tensor([-0.5 * math.log(2 * math.pi)] * 2)
    minibatch = Samples(
        observation=torch.zeros(2, 1),
        action=torch.tensor([[0.0], [1.0]]),
        log_probability=log_probability,
        advantage=torch.tensor([2.0, 4.0]),
        value_target=torch.tensor([1.0, 3.0]),
    )
    loss, (policy_loss, value_loss, entropy, divergence) = agent.loss(
        agent.parameters.vector.detach(), minibatch
    )
    # The second action's log ratio is -1/2; standardised advantages are -1/sqrt(2) and 1/sqrt(2).
    ratio = math.exp(-0.5)
    assert policy_loss.item() == pytest.approx(-(-1 + ratio) / math.sqrt(2) / 2, rel=1e-5)
    assert value_loss.item() == pytest.approx((1 + 9) / 2)
    assert entropy.item() == pytest.approx(0.5 * math.log(2 * math.pi * math.e))
    assert divergence.item() == pytest.approx((ratio - 1 + 0.5) / 2)
    assert loss.item() == pytest.approx(
        policy_loss.item() + 0.5 * value_loss.item() - 0.1 * entropy.item()
    )
    gradient, diagnostics = agent.loss_gradient(*minibatch)
    assert diagnostics[-1] > 0.5
    assert gradient.norm().item() == pytest.approx(0.5, rel=1e-4)


def test_each_epoch_visits_each_transition_once_in_nearly_equal_parts():
    agent = make_agent(PPO, SPACES, transitions=100_000)
    assert agent.rollout_steps == 410
    indices = agent.minibatch_indices(2050)
    assert len(indices) == 320
    assert {index.numel() for index in indices} == {64, 65}
    for epoch in range(10):
        visited = torch.cat(indices[32 * epoch : 32 * (epoch + 1)])
        assert visited.sort().values.equal(torch.arange(2050))


@pytest.mark.parametrize(
    ("environments", "transitions", "steps"),
    [
        (5, 300_000, 410),
        (1, 300_000, 2050),
        (64, 300_000, 33),
        (5, 12_000, 120),
        (7, 70, 1),
        (1, 10, 2),
    ],
)
def test_rollouts_fit_the_environments_and_the_run(environments, transitions, steps):
    agent = make_agent(PPO, SPACES, environments=environments, transitions=transitions)
    assert agent.rollout_steps == steps
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        agent.act(torch.zeros(environments, 3), explore=True)
        agent.observe(random_transition(agent, generator))
    metrics = agent.learn()
    assert agent.updates == agent.optimiser_steps > 0
    assert all(torch.isfinite(value) for value in metrics.values())


def test_learns_nothing_between_rollouts():
    agent = make_agent(PPO, SPACES, transitions=600)  # rollouts of 6 vector steps
    generator = torch.Generator().manual_seed(0)
    before = agent.parameters.vector.detach().clone()
    for _ in range(5):
        agent.observe(random_transition(agent, generator))
        assert agent.learn() == {}
    assert agent.parameters.vector.equal(before) and agent.updates == 0
    agent.observe(random_transition(agent, generator))
    assert agent.learn().keys() >= {"policy_loss", "value_loss", "gradient_norm"}
    assert not agent.parameters.vector.equal(before)
    assert len(agent.rollout) == 0


def test_likelihood_is_of_the_action_before_clipping():
    agent = make_agent(PPO, SPACES, transitions=200, is_normalised=False)
    observation = torch.zeros(5, 3)
    clipped = agent.act(observation, explore=True)
    drawn = agent.drawn
    assert (drawn.abs() > 1).any() and clipped.equal(drawn.clamp(-1, 1))
    none = torch.zeros(5, dtype=torch.bool)
    agent.observe(Transition(observation, clipped, torch.zeros(5), none, none, observation))
    assert agent.rollout.stacked().action[0].equal(drawn)


def test_advantages_as_published_are_of_standardised_values_and_rewards():
    """Two environments, two steps; the first's episode is cut after the first step."""
    agent = make_agent(
        PPO, Spaces(1, 1), environments=2, transitions=400, reward_limit=1.5, discount=0.5
    )
    cut = torch.tensor([[True, False], [False, False]])
    none = torch.zeros(2, dtype=torch.bool)
    observation = torch.tensor([[3.0, -5.0], [8.0, 1.0]])
    following = torch.tensor([[-7.0, 1.0], [2.0, 4.0]])  # of the one that was cut: the true last
    reward = torch.tensor([[10.0, 0.5], [-1.0, 2.0]])
    for k in range(2):
        agent.observe(
            Transition(
                observation[k, :, None], none[:, None] * 1.0, reward[k], none, cut[k],
                following[k, :, None],
            )
        )  # fmt: skip
    got = agent.samples(agent.rollout.stacked()).advantage.view(2, 2)

    # Returns so far run over the steps of an episode: the first's begins again.
    returns = torch.tensor([10.0, 0.5, -1.0, 2.0 + 0.5 * 0.5])
    scaled = (reward / returns.std(correction=0)).clamp(-1.5, 1.5)
    assert scaled[0, 0] == 1.5 and scaled[1, 0] > -1
    # What is acted upon first is as it comes; what follows is standardised by all that was seen.
    first, seen = observation[0], observation.flatten()
    second = (observation[1] - first.mean()) / first.std(correction=0)
    final = (following - seen.mean()) / seen.std(correction=0)

    def expected(reward: torch.Tensor, final: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            value, last, met = (
                agent.network.value(x[..., None]).squeeze(-1)
                for x in (torch.stack([first, second]), final, second)
            )
        next_value = torch.stack([torch.stack([last[0, 0], met[1]]), last[1]])
        ends = torch.zeros_like(cut)
        return generalised_advantage(
            reward, value, next_value, ends, cut, 0.5, agent.configuration.trace_decay
        )

    torch.testing.assert_close(got, expected(scaled, final), atol=1e-5, rtol=1e-5)
    through = torch.tensor([10.0, 0.5, -1.0 + 0.5 * 10.0, 2.25])  # as if nothing had been cut
    wrong = {
        "rewards as they come": expected(reward, final),
        "rewards without a limit": expected(reward / returns.std(correction=0), final),
        "returns through a time limit": expected(
            (reward / through.std(correction=0)).clamp(-1.5, 1.5), final
        ),
        "final observations as they come": expected(scaled, following),
    }
    for name, advantage_then in wrong.items():
        assert (got - advantage_then).abs().max() > 1e-2, name


def test_a_half_filled_rollout_is_part_of_the_state():
    agents = [make_agent(PPO, SPACES, transitions=600, seed=seed) for seed in (0, 1)]
    generator = torch.Generator().manual_seed(0)
    for _ in range(9):  # once around and a half
        agents[0].act(torch.zeros(5, 3), explore=True)
        agents[0].observe(random_transition(agents[0], generator))
        agents[0].learn()
    agents[1].load_state_dict(copy.deepcopy(agents[0].state_dict()))
    for agent in agents:
        generator.manual_seed(1)
        for _ in range(9):
            agent.act(torch.zeros(5, 3), explore=True)
            agent.observe(random_transition(agent, generator))
            agent.learn()
    assert agents[0].updates == agents[1].updates > 0
    assert agents[0].parameters.vector.equal(agents[1].parameters.vector)
    # The vector that is optimised is the storage of the network that acts.
    weights = torch.cat([p.flatten() for p in agents[1].network.parameters()])
    assert weights.equal(agents[1].parameters.vector)


def test_learning_rate_falls_linearly_to_the_end_of_the_run():
    agent = make_agent(PPO, SPACES, transitions=1000)
    rates = []
    for transitions in (50, 550, 1000):
        agent.transitions = transitions
        agent.anneal(rollout_transitions=50)
        rates.append(agent.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([3e-4, 1.5e-4, 0.15e-4])


def test_a_run_may_stand_for_the_beginning_of_a_longer_one():
    agent = make_agent(PPO, SPACES, transitions=1000, annealing_transitions=4000)
    agent.transitions = 1000
    agent.anneal(rollout_transitions=0)
    assert agent.optimiser.param_groups[0]["lr"] == pytest.approx(0.75 * 3e-4)
    with pytest.raises(ValueError, match="fewer than the run's 1000"):
        make_agent(PPO, SPACES, transitions=1000, annealing_transitions=999)


def fill(agent: PPO, reward: float = 0.0) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(agent.rollout_steps):
        transition = random_transition(agent, generator)
        agent.observe(transition._replace(reward=transition.reward + reward))


def test_a_reward_that_is_not_finite_is_named():
    agent = make_agent(PPO, SPACES, transitions=600)
    fill(agent)
    agent.learn()
    assert agent.finite.describe(agent.finite.flag.tolist()) is None
    fill(agent, math.nan)
    agent.learn()
    assert agent.finite.describe(agent.finite.flag.tolist()) == (agent.updates // 2, "reward")


def test_the_update_at_which_a_loss_stopped_being_finite_is_named():
    agent = make_agent(PPO, SPACES, transitions=600)
    fill(agent)
    samples = agent.samples(agent.rollout.stacked())
    minibatches = list(torch.arange(30).split(5))
    samples.value_target[17] = math.inf  # in the fourth minibatch
    agent.updates = 100
    agent.fit(samples, minibatches)
    assert agent.finite.describe(agent.finite.flag.tolist()) == (103, "value_loss")


def value_in_the_one_state(**settings) -> float:
    agent = train(
        PPO,
        "OneState-v0",
        transitions=5_000,
        discount=0.9,
        learning_rate=1e-2,
        is_normalised=False,
        hidden_width=8,
        fewest_rollouts=50,
        epochs=8,
        **settings,
    )
    return agent.network.value(torch.zeros(1, 1)).item()


def test_truncation_is_not_termination():
    endless = 1 / (1 - 0.9)
    assert value_in_the_one_state() == pytest.approx(endless, rel=0.02)
    mishandled = value_in_the_one_state(seen_as=truncation_taken_for_an_end)
    assert mishandled < 0.7 * endless


def test_point_is_solved():
    settings = {"transitions": 10_000, "learning_rate": 3e-3, "epochs": 4}
    agent = train(PPO, "Point-v0", **settings)
    episodes = evaluate(agent, "Point-v0", evaluation_seeds(0, 0, 20), CPU)
    assert sum(episode.return_ for episode in episodes) / 20 > Point.SOLVED_RETURN


def test_the_seed_decides():
    parameters = [
        train(PPO, "Point-v0", seed=seed, transitions=500).parameters.vector for seed in (0, 0, 1)
    ]
    assert parameters[0].equal(parameters[1])
    assert not parameters[0].equal(parameters[2])


@pytest.mark.long
def test_compiled_minibatches_equal_eager_ones():
    agents = [
        make_agent(PPO, SPACES, transitions=6_600, compile=c, smallest_minibatch=10)
        for c in (False, True)
    ]
    for agent in agents:
        fill(agent)  # 330 transitions: minibatches of 10 and of 11
        agent.learn()
    eager, compiled = (agent.parameters.vector for agent in agents)
    torch.testing.assert_close(compiled, eager, rtol=0, atol=1e-5)
