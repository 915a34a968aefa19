"""How long the first calls of an agent take, in a fresh process: compiling, or finding it done.

    python -m analysis.probes.first_calls --algorithm NAME [--settings JSON] [--device NAME]

prints, as JSON, {call: [seconds of the first, seconds of the second]} for what a run calls: `act`
on 5 observations, `learn`, and `act` on the 10 episodes of an evaluation. Compiled code is kept in
TORCHINDUCTOR_CACHE_DIR; `compilation_samples` sets it to an empty folder, then comes back to it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from algorithms.train import prepare_process
from analysis.probes.samples import Sample

EVALUATION_EPISODES = 10


def first_and_second(run: Callable[[], Any], prepare: Callable | None, device: Any) -> list[float]:
    """Seconds of two calls."""
    from analysis.probes.timing import Case, sample_seconds

    case = Case("", {}, run, prepare)
    return [sample_seconds(case, device) for _ in range(2)]


def compilation_samples(
    prefix: str, name: str, settings: Mapping[str, Any], device: str, rounds: int
) -> tuple[list[Sample], dict[str, dict[str, Any]]]:
    """Samples of the time by which first calls exceed second ones, `cold` (an empty cache) and
    `warm` (the same cache again), and what each case is."""
    samples, cases = [], {}
    command = [sys.executable, "-m", "analysis.probes.first_calls", "--algorithm", name]
    command += ["--settings", json.dumps(dict(settings)), "--device", device]
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": folder}
            for order, cache in enumerate(("cold", "warm")):
                output = subprocess.run(
                    command, env=environment, stdout=subprocess.PIPE, text=True, check=True
                ).stdout
                for call, (first, second) in json.loads(output.splitlines()[-1]).items():
                    precision = settings.get("sampling_precision", "float32")
                    case = f"{prefix}/{name}/{precision}/{cache}/{call}"
                    samples.append(Sample(case, number, order, 1, max(first - second, 1e-9)))
                    cases[case] = {
                        "group": prefix,
                        "algorithm": name,
                        "quantity": "compilation",
                        "precision": precision,
                        "compiled": True,
                        "cache": cache,
                        "call": call,
                        "units": 1,
                        "unit": "process",
                    }
    return samples, cases


def main() -> None:
    """Command line of the process that is timed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algorithm", required=True)
    parser.add_argument("--settings", type=json.loads, default={})
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    prepare_process([])
    import torch

    from analysis.probes import subjects

    torch.set_num_threads(1)
    device = torch.device(options.device)
    agent = subjects.make(options.algorithm, device, **options.settings)
    observation = torch.zeros(EVALUATION_EPISODES, agent.spaces.observation_size, device=device)
    few = observation[: agent.run.environments]
    seconds = {
        "act": first_and_second(lambda: agent.act(few, explore=True), None, device),
        "learn": first_and_second(*subjects.learner(agent, options.algorithm), device),
        "evaluate": first_and_second(lambda: agent.act(observation, explore=False), None, device),
    }
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
