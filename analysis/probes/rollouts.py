"""Animates policies that runs left: a short clip for each environment and algorithm of a scale.

    python -m analysis.probes.rollouts [--scale NAME]

`policy.pt` is ignored by git, so that clips are made where the runs were. Of each environment and
algorithm the first seed with a policy is shown, from the start of its first evaluation's first
episode: chosen beforehand, not for its looks. Leaves results/probes/rollouts/SCALE/ENV/ALGORITHM/
seedN.webp and seedN.json; a clip of the same policy is not made again.
"""

import argparse
import hashlib
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from PIL import Image

from algorithms.agent import Agent
from algorithms.device import to_device, to_host
from algorithms.evaluation import evaluation_seeds
from algorithms.files import written_whole
from algorithms.record import POLICY, code_state, machine, read_policy, versions
from analysis.artefacts import CLIPS
from analysis.plan import Plan
from analysis.probes.command import exit_status
from analysis.resolution import PlannedRun, read_overrides

SIZE = {"width": 192, "height": 144}
"""Pixels."""
CAMERA = "track"
"""That of the MuJoCo tasks which follows the robot; Gymnasium 1.4 leaves its own where it is."""
SHOWN_SECONDS = 6.0
"""Of the simulation, at its own pace."""
FRAMES_PER_SECOND = 20
MOST_BYTES = 200_000
QUALITIES = (60, 40, 25, 10)


def drawn(env_id: str, **options: Any) -> gymnasium.Env:
    """An environment that renders frames (height, width, 3)."""
    return gymnasium.make(env_id, render_mode="rgb_array", **SIZE, **options)


def roll_out(agent: Agent, env_id: str, seed: int) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Frames (height, width, 3) of the beginning of an episode, and what became of it."""
    environment = drawn(env_id, camera_name=CAMERA)
    low, high = environment.action_space.low, environment.action_space.high
    step_seconds = environment.unwrapped.dt
    device = torch.device("cpu")
    observation, _ = environment.reset(seed=seed)
    frames, total, length, is_over = [], 0.0, 0, False
    while not is_over:
        at = length * step_seconds
        if len(frames) <= at * FRAMES_PER_SECOND and at < SHOWN_SECONDS:
            frames.append(environment.render())
        state = np.asarray(observation, np.float32).reshape(1, -1)
        action, _ = to_host(agent.act(to_device(state, device), explore=False), agent.finite.flag)
        scaled = low + (action[0] + 1) / 2 * (high - low)
        observation, reward, terminated, truncated, _ = environment.step(scaled)
        total, length, is_over = total + float(reward), length + 1, terminated or truncated
    environment.close()
    shown = min(length * step_seconds, SHOWN_SECONDS)
    return frames, {"return": total, "length": length, "shown_seconds": round(shown, 3)}


def animation(frames: Sequence[np.ndarray], most_bytes: int = MOST_BYTES) -> bytes:
    """WebP of the frames, as good as fits; the last frame stays for a second."""
    images = [Image.fromarray(frame) for frame in frames]
    durations = [1000 // FRAMES_PER_SECOND] * (len(images) - 1) + [1000]
    for quality in QUALITIES:
        content = io.BytesIO()
        images[0].save(
            content,
            format="WEBP",
            save_all=True,
            append_images=images[1:],
            duration=durations,
            loop=0,
            quality=quality,
            method=4,
        )
        if len(content.getvalue()) <= most_bytes:
            return content.getvalue()
    raise ValueError(f"{len(images)} frames do not fit into {most_bytes} bytes")


def record(run: PlannedRun, scale: str, output: Path) -> str:
    """Write the clip of a run's policy; returns what was done, in a line."""
    policy = Path(run.path) / POLICY
    digest = hashlib.sha256(policy.read_bytes()).hexdigest()
    file = output / scale / run.env / run.label / f"seed{run.seed}.json"
    if file.exists() and json.loads(file.read_text())["policy_sha256"] == digest:
        return f"{file}: of this policy already"
    agent = read_policy(policy.parent, torch.device("cpu"))
    (episode_seed,) = evaluation_seeds(run.seed, 0, 1)
    frames, told = roll_out(agent, run.env, episode_seed)
    content = animation(frames)
    document = {
        "env": run.env,
        "algorithm": run.label,
        "seed": run.seed,
        "run": run.path,
        "policy_sha256": digest,
        "episode_seed": episode_seed,
        **told,
        "frames": len(frames),
        "frames_per_second": FRAMES_PER_SECOND,
        "command": f"python -m analysis.probes.rollouts --scale {scale}",
        **code_state(),
        "versions": versions(),
        "machine": machine(),
        "device": "cpu",
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(file.with_suffix(".webp")) as part:
        part.write_bytes(content)
    with written_whole(file) as part:
        part.write_text(json.dumps(document, indent=1) + "\n")
    return f"{file.with_suffix('.webp')}: {len(content):,} bytes, return {told['return']:.1f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status, as of `exit_status`."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.probes.rollouts", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--scale", help="scale or study (default: the protocol's default)")
    parser.add_argument("--overrides", default="{}", help="JSON, merged into the protocol")
    parser.add_argument("--output", type=Path, default=CLIPS, help="folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    os.environ.setdefault("MUJOCO_GL", "egl")  # draws without a screen
    torch.set_num_threads(1)

    def animate() -> None:
        plan = Plan(read_overrides(options.overrides))
        scale = options.scale or plan.default
        shown = set()
        for run in plan.runs(scale):
            if (run.env, run.label) not in shown and (Path(run.path) / POLICY).exists():
                shown.add((run.env, run.label))
                print(record(run, scale, options.output), flush=True)
        if not shown:
            print(f"no run of {scale} left a {POLICY} here", file=sys.stderr)

    return exit_status(animate)


if __name__ == "__main__":
    sys.exit(main())
