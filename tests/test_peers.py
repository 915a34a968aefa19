"""PPO and SAC against one `train()` call each of Stable-Baselines3 (extra `peers`)."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from learners import make_agent

from algorithms.agent import Spaces, Transition
from algorithms.ppo import PPO
from algorithms.replay import Batch
from algorithms.sac import SAC, UpdateNoise

pytestmark = pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
stable_baselines3 = pytest.importorskip("stable_baselines3")
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.logger import configure  # noqa: E402
from stable_baselines3.common.type_aliases import ReplayBufferSamples  # noqa: E402

SPACES = Spaces(17, 6)
STEPS, ENVIRONMENTS, EPOCHS = 410, 5, 10


class RandomTask(gymnasium.Env):
    """Noise for observations and rewards, whatever is done; ends by both ways now and then."""

    observation_space = Box(-np.inf, np.inf, (SPACES.observation_size,), np.float32)
    action_space = Box(-1, 1, (SPACES.action_size,), np.float32)

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)

    def observation(self) -> np.ndarray:
        return self.random.normal(size=SPACES.observation_size).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        return self.observation(), {}

    def step(self, action):
        end = self.random.random()
        return self.observation(), self.random.normal(), end < 0.02, end > 0.98, {}


class Recorder(BaseCallback):
    """Transitions as the environments gave them, true final observations included."""

    def __init__(self):
        super().__init__()
        self.steps: list[Transition] = []

    def _on_step(self) -> bool:
        seen, infos = self.locals, self.locals["infos"]
        truncated = np.array([info["TimeLimit.truncated"] for info in infos])
        following = np.stack(
            [
                info.get("terminal_observation", observation)
                for info, observation in zip(infos, seen["new_obs"], strict=True)
            ]
        )
        self.steps.append(
            Transition(
                torch.tensor(self.model._last_obs),
                torch.tensor(seen["actions"]),
                torch.tensor(seen["rewards"], dtype=torch.float32).clone(),
                torch.tensor(seen["dones"] & ~truncated),
                torch.tensor(truncated),
                torch.tensor(following, dtype=torch.float32),
            )
        )
        return True


def collected_peer():
    """Stable-Baselines3's PPO with one rollout, and what it saw."""
    environments = stable_baselines3.common.vec_env.DummyVecEnv(
        [lambda seed=seed: RandomTask(seed) for seed in range(ENVIRONMENTS)]
    )
    peer = stable_baselines3.PPO(
        "MlpPolicy",
        environments,
        n_steps=STEPS,
        batch_size=64,
        n_epochs=EPOCHS,
        seed=0,
        device="cpu",
        policy_kwargs={"log_std_init": -0.3},
    )
    recorder = Recorder()
    _, recorder = peer._setup_learn(10**6, recorder)
    peer.collect_rollouts(peer.env, recorder, peer.rollout_buffer, STEPS)
    return peer, Transition(*map(torch.stack, zip(*recorder.steps, strict=True)))


def copied_from(peer, **configuration) -> PPO:
    """Our agent with the peer's parameters and nothing normalised."""
    agent = make_agent(
        PPO,
        SPACES,
        environments=ENVIRONMENTS,
        transitions=10**6,
        is_normalised=False,
        **configuration,
    )
    theirs, ours = peer.policy, agent.network
    pairs = {
        ours.policy.mean[0]: theirs.mlp_extractor.policy_net[0],
        ours.policy.mean[2]: theirs.mlp_extractor.policy_net[2],
        ours.policy.mean[4]: theirs.action_net,
        ours.value[0]: theirs.mlp_extractor.value_net[0],
        ours.value[2]: theirs.mlp_extractor.value_net[2],
        ours.value[4]: theirs.value_net,
    }
    with torch.no_grad():
        for mine, other in pairs.items():
            mine.weight.copy_(other.weight)
            mine.bias.copy_(other.bias)
        ours.policy.log_deviation.copy_(theirs.log_std)
    agent.transitions = STEPS * ENVIRONMENTS
    return agent


def step_major(peer_array: np.ndarray) -> torch.Tensor:
    """The peer's (steps, environments, ·) as rows in our order."""
    return torch.from_numpy(peer_array).flatten(0, 1)


def trained_apart(monkeypatch, seen_as=lambda rollout: rollout, **configuration) -> float:
    """Largest difference between parameters after `train()`, from the same rollout and order."""
    peer, rollout = collected_peer()
    agent = copied_from(peer, **configuration)
    samples = agent.samples(seen_as(rollout))
    if not configuration and seen_as(rollout) is rollout:
        buffer = peer.rollout_buffer
        for mine, theirs in (
            (samples.advantage, buffer.advantages),
            (samples.value_target, buffer.returns),
            (samples.log_probability, buffer.log_probs),
        ):
            torch.testing.assert_close(mine, step_major(theirs), rtol=1e-5, atol=1e-5)
    # The peer keeps its buffer environment by environment.
    rows = STEPS * ENVIRONMENTS
    orders = [np.random.default_rng(epoch).permutation(rows) for epoch in range(EPOCHS)]
    handed = iter(orders)
    monkeypatch.setattr(np.random, "permutation", lambda count: next(handed))
    peer.set_logger(configure(None, []))
    peer.train()
    minibatches = [
        torch.from_numpy(index % STEPS * ENVIRONMENTS + index // STEPS)
        for order in orders
        for index in np.split(order, range(64, rows, 64))
    ]
    agent.fit(samples, minibatches)
    theirs = copied_from(peer).parameters.vector
    return (agent.parameters.vector - theirs).abs().max().item()


def test_ppo_equals_stable_baselines3(monkeypatch):
    assert trained_apart(monkeypatch) < 1e-5


def end_at_time_limits(rollout: Transition) -> Transition:
    return rollout._replace(terminated=rollout.terminated | rollout.truncated)


@pytest.mark.parametrize(
    "variant",
    [
        {"seen_as": end_at_time_limits},
        {"clip_range": 0.19},
        {"adam_epsilon": 1e-6},
        {"max_gradient_norm": 0.6},
        {"trace_decay": 0.94},
        {"value_coefficient": 0.25},
        {"entropy_coefficient": 1e-3},
    ],
    ids=lambda variant: next(iter(variant)),
)
def test_ppo_variants_do_not(monkeypatch, variant):
    assert trained_apart(monkeypatch, **variant) > 1e-4


def sac_pair(**configuration):
    """The peer's SAC and ours with its parameters."""
    peer = stable_baselines3.SAC("MlpPolicy", RandomTask(0), seed=0, device="cpu", buffer_size=10)
    peer.set_logger(configure(None, []))
    # Theirs guards the logarithm of the change of variables; ours needs no guard.
    assert peer.actor.action_dist.epsilon == 1e-6
    peer.actor.action_dist.epsilon = 0.0
    agent = make_agent(SAC, SPACES, **configuration)
    copy_sac(peer, agent)
    return peer, agent


@torch.no_grad()
def copy_sac(peer, agent: SAC) -> None:
    for mine, theirs in zip(agent.actor.network[:-1:2], peer.actor.latent_pi[::2], strict=True):
        mine.load_state_dict(theirs.state_dict())
    for name in ("weight", "bias"):
        heads = [getattr(head, name) for head in (peer.actor.mu, peer.actor.log_std)]
        getattr(agent.actor.network[-1], name).copy_(torch.cat(heads))
    for twins, theirs in (
        (agent.critics, peer.critic),
        (agent.target_critics, peer.critic_target),
    ):
        for mine, *both in zip(
            twins.layers, *(network[::2] for network in theirs.q_networks), strict=True
        ):
            mine.weight.copy_(torch.stack([layer.weight.T for layer in both]))
            mine.bias.copy_(torch.stack([layer.bias[None] for layer in both]))
    agent.temperature.log_alpha.copy_(peer.log_ent_coef[0])


def sac_trained_apart(monkeypatch, updates: int = 5, noise_of=lambda n: n, **configuration):
    """Largest difference between parameters after `train()`, from the same batches and noise."""
    peer, agent = sac_pair(**configuration)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    batches, noises = [], []
    for _ in range(updates):
        ends = torch.rand(256, generator=generator) < 0.1
        batches.append(
            Batch(normal(256, 17), normal(256, 6).tanh(), normal(256), ends, normal(256, 17))
        )
        noises.append(UpdateNoise(normal(256, 6), normal(256, 6)))
    handed = iter(
        ReplayBufferSamples(
            batch.observation,
            batch.action,
            batch.next_observation,
            batch.terminated.float()[:, None],
            batch.reward[:, None],
        )
        for batch in batches
    )
    monkeypatch.setattr(peer.replay_buffer, "sample", lambda *_, **__: next(handed))
    drawn = iter([tensor for noise in noises for tensor in noise])
    monkeypatch.setattr(
        torch.distributions.normal, "_standard_normal", lambda *_, **__: next(drawn)
    )
    peer.train(gradient_steps=updates, batch_size=256)
    monkeypatch.undo()
    for batch, noise in zip(batches, noises, strict=True):
        agent.update(batch, noise_of(noise))
    theirs = make_agent(SAC, SPACES)
    copy_sac(peer, theirs)
    parts = ("actor", "critics", "target_critics", "temperature")
    return max(
        (mine - other).abs().max().item()
        for part in parts
        for mine, other in zip(
            getattr(agent, part).parameters(), getattr(theirs, part).parameters(), strict=True
        )
    )


def test_sac_equals_stable_baselines3(monkeypatch):
    assert sac_trained_apart(monkeypatch) < 1e-5


def test_sac_variants_do_not(monkeypatch):
    changes = [
        {"noise_of": lambda noise: UpdateNoise(*reversed(noise))},
        {"target_rate": 0.01},
        {"discount": 0.95},
        {"learning_rate": 2.9e-4},
        {"entropy_per_dimension": 1.0},
        {"is_entropy_coefficient_tuned": False},
    ]
    for change in changes:
        assert sac_trained_apart(monkeypatch, **change) > 3e-5, change
