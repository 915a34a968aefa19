"""Clips of policies: an episode as it was, in few bytes."""

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from algorithms.finite import FiniteLatch
from analysis.probes import rollouts


class Still:
    """An agent that does nothing, and counts how often it was asked."""

    def __init__(self):
        self.finite = FiniteLatch(torch.device("cpu"))
        self.asked = 0

    def act(self, observation: torch.Tensor, explore: bool) -> torch.Tensor:
        assert observation.shape == (1, 17) and not explore
        self.asked += 1
        return torch.zeros(1, 6)


def test_a_clip_is_the_beginning_of_the_episode(monkeypatch):
    monkeypatch.setitem(os.environ, "MUJOCO_GL", "egl")
    monkeypatch.setattr(rollouts, "SHOWN_SECONDS", 1.0)
    agent = Still()
    try:
        frames, told = rollouts.roll_out(agent, "HalfCheetah-v4", 0)
    except (ImportError, AttributeError, RuntimeError) as error:
        pytest.skip(f"nothing can be drawn here: {error}")
    # A step of HalfCheetah takes 0.05 s, and an episode 1,000 of them.
    assert agent.asked == told["length"] == 1000 and told["shown_seconds"] == 1.0
    assert len(frames) == 20 and frames[0].shape == (144, 192, 3)
    # Standing still is worth about nothing.
    assert abs(told["return"]) < 20
    assert np.ptp(frames[0]) > 100


@pytest.mark.parametrize(
    ("options", "is_seen"), [({"camera_name": rollouts.CAMERA}, True), ({}, False)]
)
def test_the_camera_follows_the_robot(monkeypatch, options, is_seen):
    """By its skin, the only thing in the picture that is more red than blue."""
    monkeypatch.setitem(os.environ, "MUJOCO_GL", "egl")
    environment = rollouts.drawn("HalfCheetah-v4", **options)
    environment.reset(seed=0)
    try:
        environment.render()
    except (ImportError, AttributeError, RuntimeError) as error:
        pytest.skip(f"nothing can be drawn here: {error}")
    simulation = environment.unwrapped
    simulation.set_state(20.0 * np.eye(9)[0], np.zeros(9))
    frame = environment.render().astype(int)
    environment.close()
    assert ((frame[..., 0] - frame[..., 2]) > 40).any() == is_seen


def test_a_clip_is_as_good_as_fits():
    generator = np.random.default_rng(0)
    noise = [generator.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(8)]
    free, tight = rollouts.animation(noise, 10**6), rollouts.animation(noise, 12_000)
    assert len(tight) <= 12_000 < len(free)
    assert rollouts.animation(noise, 10**6) == free
    image = Image.open(io.BytesIO(tight))
    assert (image.format, image.n_frames, image.size) == ("WEBP", 8, (64, 48))
    with pytest.raises(ValueError, match="8 frames do not fit into 100 bytes"):
        rollouts.animation(noise, 100)
