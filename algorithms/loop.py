"""The one training loop: act, step, observe, learn; evaluate and save in between.

It knows nothing of how an algorithm learns, and an algorithm nothing of it. Everything happens
between vector steps, in this order: an evaluation that is due, a row of metrics, a checkpoint.
"""

import math
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from algorithms import algorithm
from algorithms.agent import Agent, Run, Spaces, Transition
from algorithms.device import to_device, to_host
from algorithms.evaluation import NotFinite, evaluate, evaluation_seeds
from algorithms.metrics import Gathered, Progress, rounded, steps_per_row
from algorithms.options import planned_evaluations
from algorithms.randomness import agent_generators, child, integer_seed
from algorithms.record import resident_bytes
from envs import VectorEnvironment, sizes

MEMORY_POINTS = 10
"""How often over a run its resident memory is noted."""


class Stopped(Exception):
    """The run was told to stop; its state is that between two vector steps."""


class Training:
    """One run of a configuration, from its first vector step to its last."""

    def __init__(
        self,
        configuration: dict[str, Any],
        device: torch.device,
        compile: bool,
        began: float | None = None,
    ):
        """Builds environments and agent; `began` is when the process did, by `perf_counter`.

        Raises ValueError for settings that an algorithm refuses (EnvironmentRefused for an
        environment).
        """
        c = self.configuration = configuration
        self.device = device
        self.vector_steps = -(-c["transitions"] // c["num_envs"])
        """Vector steps of the run; the last may go a little beyond the transitions asked for."""
        self.evaluation_steps = sorted(
            {-(-at // c["num_envs"]) for at in planned_evaluations(configuration)}
        )
        self.row_steps = steps_per_row(self.vector_steps)
        kind = algorithm(c["algorithm"])
        self.agent: Agent = kind(
            kind.Configuration(**c["settings"]),
            Spaces(*sizes(c["env"])),
            Run(c["num_envs"], c["transitions"], c["warm_up"], c["updates_per_step"], compile),
            device,
            agent_generators(device, c["seed"]),
        )
        seeds = [integer_seed(child(c["seed"], "environments", i)) for i in range(c["num_envs"])]
        self.environment = VectorEnvironment(c["env"], seeds)

        self.step = 0
        """Vector steps done."""
        self.evaluated = 0
        """Evaluations done."""
        self.evaluations: list[tuple[int, int, int, float, int]] = []
        """Rows of `evaluations.csv`."""
        self.metrics: list[dict[str, Any]] = []
        """Rows of `metrics.csv`."""
        self.memory: list[tuple[int, int]] = []
        """(transitions, resident bytes) at `MEMORY_POINTS` points of the run."""
        self.seconds = {"wall": 0.0, "cpu": 0.0, "learning": 0.0, "evaluating": 0.0, "saving": 0.0}
        """Spent so far, up to the last time that `tell_time` was called."""
        self.peak_memory_bytes = 0
        self.resumptions = 0
        self.gathered = Gathered()
        self.should_stop = False
        """Set from outside (by a signal) to stop before the next vector step."""
        self._clock = time.perf_counter() if began is None else began, 0.0
        self._row_began = 0, 0.0
        self._notes: dict[str, Any] = {}
        self._observation: torch.Tensor | None = None

    @property
    def transitions(self) -> int:
        """Environment transitions done."""
        return self.step * self.configuration["num_envs"]

    def run(
        self,
        save: Callable[[dict[str, Any]], None],
        checkpoint_seconds: float,
        progress: Progress,
        watch: Callable[[str, dict[str, Any], int], None] = lambda kind, values, at: None,
    ) -> None:
        """Go on to the end. `save` is handed the state every so many seconds; `watch` is shown each
        row ('metrics') and evaluation ('evaluation'), with the transitions.

        Raises NotFinite when something stopped being finite, Stopped (the state is saved) when
        `should_stop` was set, and what `save` raises.
        """
        saved_at = time.perf_counter()
        while True:
            is_at_end = self.step == self.vector_steps
            if self.step in self.evaluation_steps[self.evaluated :]:
                try:
                    self.evaluate(progress, watch)
                except Stopped:
                    is_at_end = False  # no trace of it is left; after a restart it is done again
            if self.step and (self.step % self.row_steps == 0 or is_at_end):
                self.add_metrics_row(watch)
            if is_at_end:
                return
            if self.should_stop or time.perf_counter() - saved_at >= checkpoint_seconds:
                self.save(save)
                saved_at = time.perf_counter()
                if self.should_stop:
                    raise Stopped
            self.advance()
            progress.update(self.transitions, self._notes)

    def advance(self) -> None:
        """One vector step: act, step, observe, learn. Raises NotFinite."""
        agent, environment = self.agent, self.environment
        if self._observation is None:
            self._observation = to_device(environment.observation, self.device)
        action = agent.act(self._observation, explore=True)
        host_action, flag = to_host(action, agent.finite.flag)
        self._check(flag, action=host_action)
        step = environment.step(host_action)
        self._check(flag, reward=step.reward, observation=step.next_observation)
        next_observation = to_device(step.next_observation, self.device)
        agent.observe(
            Transition(
                self._observation,
                action,
                to_device(step.reward, self.device),
                to_device(step.terminated, self.device),
                to_device(step.truncated, self.device),
                next_observation,
            )
        )
        began = time.perf_counter()
        metrics = agent.learn()
        self.seconds["learning"] += time.perf_counter() - began
        self.gathered.add(metrics)
        if environment.observation is step.next_observation:
            returns, self._observation = [], next_observation
        else:  # an episode ended, and what to act on now is the first observation of another
            returns, self._observation = step.episode_return[step.episode_length > 0].tolist(), None
        self.gathered.add_step(host_action, returns)
        self.step += 1
        if self.step * MEMORY_POINTS // self.vector_steps > len(self.memory):
            self.memory.append((self.transitions, resident_bytes()[0]))

    def evaluate(self, progress: Progress, watch: Callable) -> None:
        """The evaluation that is due; its episodes and draws depend on the run's seed and on which
        evaluation it is, and on nothing that came before. Raises NotFinite and Stopped."""
        c, began = self.configuration, time.perf_counter()
        draws = integer_seed(child(c["seed"], "evaluation", self.evaluated))
        self.agent.generators["evaluation"].manual_seed(draws)
        seeds = evaluation_seeds(c["seed"], self.evaluated, c["evaluation_episodes"])
        episodes = evaluate(_Stoppable(self), c["env"], seeds, self.device)
        self.evaluations += [
            (self.transitions, self.agent.updates, e.episode, e.return_, e.length) for e in episodes
        ]
        self.evaluated += 1
        self.seconds["evaluating"] += time.perf_counter() - began
        mean = float(np.mean([episode.return_ for episode in episodes]))
        self._notes = {"updates": self.agent.updates, "return": rounded(mean, 5)}
        progress.say(
            f"{self.transitions} transitions, {self.agent.updates} updates: "
            f"mean return {mean:.1f} of {len(episodes)} episodes"
        )
        watch("evaluation", {"return": mean}, self.transitions)

    def add_metrics_row(self, watch: Callable, should_check: bool = True) -> None:
        """Read the metrics since the last row. Raises NotFinite if `should_check`."""
        if self.metrics and self.metrics[-1]["transitions"] == self.transitions:
            return  # after a restart at this very step, or at the end
        self.tell_time()
        means = self.gathered.read()
        step_before, seconds_before = self._row_began
        seconds = self.seconds["wall"] - seconds_before
        row = {
            "transitions": self.transitions,
            "updates": self.agent.updates,
            "optimiser_steps": self.agent.optimiser_steps,
            "wall_seconds": round(self.seconds["wall"], 3),
            "transitions_per_second": rounded(
                (self.step - step_before) * self.configuration["num_envs"] / max(seconds, 1e-9), 5
            ),
        }
        row |= {name: rounded(value) for name, value in means.items()}
        self._row_began = self.step, self.seconds["wall"]
        self.metrics.append(row)
        if should_check:
            for name, value in means.items():
                if value is not None and not math.isfinite(value):
                    raise NotFinite(self.agent.updates, name)
        watch("metrics", row, self.transitions)

    def save(self, save: Callable[[dict[str, Any]], None]) -> None:
        """Hand the state to `save`. Raises what that raises, and NotFinite rather than save what is
        not finite: the latch, with what it has seen, is not part of the state."""
        began = time.perf_counter()
        self._check(self.agent.finite.flag.tolist())
        save(self.state_dict())
        self.seconds["saving"] += time.perf_counter() - began

    def tell_time(self) -> None:
        """Add to `seconds` what passed since the last time."""
        wall, cpu = self._clock
        self._clock = time.perf_counter(), _cpu_seconds()
        self.seconds["wall"] += self._clock[0] - wall
        self.seconds["cpu"] += self._clock[1] - cpu
        self.peak_memory_bytes = max(self.peak_memory_bytes, resident_bytes()[1])

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on, and its records so far."""
        self.tell_time()
        state = {name: getattr(self, name) for name in _PLAIN_STATE}
        parts = {name: getattr(self, name).state_dict() for name in _STATEFUL}
        return state | parts

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`. Raises RuntimeError if the environments cannot be restored."""
        for name in _PLAIN_STATE:
            setattr(self, name, state[name])
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self._observation = None

    def close(self) -> None:
        """Release the environments."""
        self.environment.close()

    def _check(self, flag: list[float], **arrays: np.ndarray) -> None:
        """Raises NotFinite for what the latch has seen, or for the first array that is not."""
        if flag[0] >= 0:
            raise NotFinite(*self.agent.finite.describe(flag))
        for name, array in arrays.items():
            if not math.isfinite(array.sum(dtype=np.float64)):
                raise NotFinite(self.agent.updates, name)


_PLAIN_STATE = (
    "step",
    "evaluated",
    "evaluations",
    "metrics",
    "memory",
    "seconds",
    "peak_memory_bytes",
    "resumptions",
    "_row_began",
    "_notes",
)
_STATEFUL = ("agent", "environment", "gathered")


class _Stoppable:
    """An agent whose evaluation ends at the next action when the run is to stop."""

    def __init__(self, training: Training):
        self._training = training

    def __getattr__(self, name: str) -> Any:
        return getattr(self._training.agent, name)

    def act(self, observation: torch.Tensor, explore: bool) -> torch.Tensor:
        if self._training.should_stop:
            raise Stopped
        return self._training.agent.act(observation, explore)


def _cpu_seconds() -> float:
    """Of this process, all its threads, and the compilers it has run."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
