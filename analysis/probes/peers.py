"""Training end to end, environment included, beside Stable-Baselines3 (extra `peers`).

    OMP_NUM_THREADS=1 python -m analysis.probes.peers [--rounds 10] [--env HalfCheetah-v4]

prints the ratio of transitions a second; the record is `throughput`'s, which times these cases.
"""

import argparse
import importlib.util
import os
import statistics
import warnings
from collections.abc import Callable, Sequence
from typing import Any

ENVIRONMENT = "HalfCheetah-v4"
ENVIRONMENTS = 5
TRANSITIONS = 300_000
"""Of the run that is timed in part: what a learning rate is annealed over."""
SAC_VECTOR_STEPS = 100
"""Vector steps, each with one update, in a sample of SAC; PPO's is one rollout and its fit."""


def is_installed() -> bool:
    """Whether Stable-Baselines3 is here."""
    return importlib.util.find_spec("stable_baselines3") is not None


def cases(algorithms: Sequence[str] = ("ppo", "sac"), env: str = ENVIRONMENT) -> list:
    """`timing.Case`s of our training and, where it is installed, the peer's, on one CPU."""
    from analysis.probes.timing import Case

    found = []
    for name in algorithms:
        sides = [("ours", ours)] + ([("stable_baselines3", peer)] if is_installed() else [])
        for side, build in sides:
            run, transitions = build(name, env)
            about = {
                "algorithm": name,
                "quantity": "end_to_end",
                "precision": "float32",
                "compiled": side == "ours",
                "implementation": side,
                "env": env,
                "sizes": {"environments": ENVIRONMENTS},
                "units": transitions,
                "unit": "transition",
            }
            found.append(Case(f"end_to_end/{name}/{side}", about, run))
    return found


def ours(
    name: str,
    env: str,
    device: Any = None,
    environments: int = ENVIRONMENTS,
    vector_steps: int = SAC_VECTOR_STEPS,
    compile: bool = True,
) -> tuple[Callable[[], None], int]:
    """(a function that goes on training, transitions of one call). A method that learns from
    rollouts goes on for one of them, others for so many vector steps."""
    import torch

    from algorithms.loop import Training
    from algorithms.options import resolve_configuration

    configuration = resolve_configuration(
        name, env, seed=0, transitions=TRANSITIONS, num_envs=environments, warm_up=1_000
    )
    training = Training(configuration, device or torch.device("cpu"), compile)
    steps = getattr(training.agent, "rollout_steps", vector_steps)
    if training.agent.has_warm_up:
        while training.transitions <= configuration["warm_up"]:
            training.advance()

    def run() -> None:
        for _ in range(steps):
            training.advance()

    return run, steps * environments


def peer(name: str, env: str) -> tuple[Callable[[], None], int]:
    """The same of Stable-Baselines3, with our hyperparameters."""
    from stable_baselines3 import PPO, SAC
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    from algorithms import algorithm

    c = algorithm(name).Configuration()
    common: dict[str, Any] = {"gamma": c.discount, "seed": 0, "device": "cpu"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is out of date", DeprecationWarning)
        warnings.filterwarnings("ignore", ".*truncated mini-batch", UserWarning)
        environments = make_vec_env(env, n_envs=ENVIRONMENTS, seed=0)
        if name == "ppo":
            steps = c.rollout_transitions // ENVIRONMENTS
            model = PPO(
                "MlpPolicy",
                VecNormalize(environments, gamma=c.discount),
                learning_rate=lambda remaining: c.learning_rate * remaining,
                n_steps=steps,
                batch_size=c.rollout_transitions // c.minibatches,
                n_epochs=c.epochs,
                gae_lambda=c.trace_decay,
                clip_range=c.clip_range,
                ent_coef=c.entropy_coefficient,
                vf_coef=c.value_coefficient,
                max_grad_norm=c.max_gradient_norm,
                **common,
            )
        else:
            steps = SAC_VECTOR_STEPS
            model = SAC(
                "MlpPolicy",
                environments,
                learning_rate=c.learning_rate,
                buffer_size=TRANSITIONS,
                learning_starts=1_000,
                batch_size=c.batch_size,
                tau=c.target_rate,
                train_freq=1,
                gradient_steps=1,
                **common,
            )
            model.learn(1_000)

    def run() -> None:
        model.learn(steps * ENVIRONMENTS, reset_num_timesteps=False)

    return run, steps * ENVIRONMENTS


def main(arguments: Sequence[str] | None = None) -> None:
    """Alternate, and print transitions a second (median) and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--env", default=ENVIRONMENT)
    parser.add_argument("--algorithms", nargs="+", default=["ppo", "sac"])
    options = parser.parse_args(arguments)
    import torch

    from analysis.probes.timing import measure

    torch.set_num_threads(1)
    timed = cases(options.algorithms, options.env)
    samples = measure(timed, options.rounds, torch.device("cpu"), shortest=0)
    rates = {
        case.name: case.about["units"]
        / statistics.median(s.seconds / s.calls for s in samples if s.case == case.name)
        for case in timed
    }
    for name, rate in rates.items():
        print(f"{name}: {rate:.0f} transitions a second")
    for name in options.algorithms:
        if is_installed():
            ratio = rates[f"end_to_end/{name}/ours"] / rates[f"end_to_end/{name}/stable_baselines3"]
            print(f"{name}: {ratio:.2f} times Stable-Baselines3")


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
