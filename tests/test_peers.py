"""PPO and SAC against one `train()` call each of Stable-Baselines3 (extra `peers`)."""

import copy
from typing import NamedTuple

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from learners import make_agent

from algorithms.agent import Spaces, Transition
from algorithms.ppo import PPO, Samples
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


class PeerRun(NamedTuple):
    """One rollout and one `train()` of Stable-Baselines3's PPO."""

    before: dict[str, torch.Tensor]
    rollout: Transition
    advantage: torch.Tensor
    value_target: torch.Tensor
    log_probability: torch.Tensor
    minibatches: list[torch.Tensor]
    after: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def peer_run() -> PeerRun:
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
    _, callback = peer._setup_learn(10**6, recorder)
    before = copy.deepcopy(peer.policy.state_dict())
    peer.collect_rollouts(peer.env, callback, peer.rollout_buffer, STEPS)
    buffer = peer.rollout_buffer
    samples = [
        torch.tensor(column).flatten()
        for column in (buffer.advantages, buffer.returns, buffer.log_probs)
    ]
    rows = STEPS * ENVIRONMENTS
    orders = [np.random.default_rng(epoch).permutation(rows) for epoch in range(EPOCHS)]
    with pytest.MonkeyPatch.context() as patched:
        handed = iter(orders)
        patched.setattr(np.random, "permutation", lambda count: next(handed))
        peer.set_logger(configure(None, []))
        peer.train()
    # The peer's rows go environment by environment, ours step by step.
    minibatches = [
        torch.from_numpy(index % STEPS * ENVIRONMENTS + index // STEPS)
        for order in orders
        for index in np.split(order, range(64, rows, 64))
    ]
    rollout = Transition(*map(torch.stack, zip(*recorder.steps, strict=True)))
    return PeerRun(before, rollout, *samples, minibatches, peer.policy.state_dict())


def ppo_with(parameters: dict[str, torch.Tensor], **configuration) -> PPO:
    """Our agent with the peer's parameters and nothing normalised."""
    agent = make_agent(
        PPO,
        SPACES,
        environments=ENVIRONMENTS,
        transitions=10**6,
        is_normalised=False,
        **configuration,
    )
    names = {
        "policy.mean.0": "mlp_extractor.policy_net.0",
        "policy.mean.2": "mlp_extractor.policy_net.2",
        "policy.mean.4": "action_net",
        "value.0": "mlp_extractor.value_net.0",
        "value.2": "mlp_extractor.value_net.2",
        "value.4": "value_net",
    }
    state = {
        f"{ours}.{part}": parameters[f"{theirs}.{part}"]
        for ours, theirs in names.items()
        for part in ("weight", "bias")
    }
    agent.network.load_state_dict(
        state | {"policy.log_deviation": parameters["log_std"]}, strict=True
    )
    agent.transitions = STEPS * ENVIRONMENTS
    return agent


def distance_after(agent: PPO, samples: Samples, peer_run: PeerRun) -> float:
    """Largest difference between parameters after the peer's minibatches."""
    agent.fit(samples, peer_run.minibatches)
    theirs = ppo_with(peer_run.after).parameters.vector
    return (agent.parameters.vector - theirs).abs().max().item()


def test_ppo_equals_stable_baselines3(peer_run):
    agent = ppo_with(peer_run.before)
    samples = agent.samples(peer_run.rollout)
    for name in ("advantage", "value_target", "log_probability"):
        expected = getattr(peer_run, name)
        torch.testing.assert_close(getattr(samples, name), expected, rtol=1e-5, atol=1e-5)
    assert distance_after(agent, samples, peer_run) < 1e-5


def test_ppo_with_time_limits_as_ends_does_not(peer_run):
    rollout = peer_run.rollout
    agent = ppo_with(peer_run.before)
    mistaken = rollout._replace(terminated=rollout.terminated | rollout.truncated)
    assert distance_after(agent, agent.samples(mistaken), peer_run) > 1e-4


@pytest.mark.parametrize(
    "change",
    [
        {"clip_range": 0.19},
        {"adam_epsilon": 1e-6},
        {"max_gradient_norm": 0.6},
        {"trace_decay": 0.94},
        {"value_coefficient": 0.25},
        {"entropy_coefficient": 1e-3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_ppo_with_another_constant_does_not(peer_run, change):
    agent = ppo_with(peer_run.before, **change)
    assert distance_after(agent, agent.samples(peer_run.rollout), peer_run) > 1e-4


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
        {"target_rate": 0.05},
        {"discount": 0.95},
        {"learning_rate": 2.9e-4},
        {"entropy_per_dimension": 1.0},
        {"is_entropy_coefficient_tuned": False},
    ]
    for change in changes:
        assert sac_trained_apart(monkeypatch, **change) > 3e-5, change
