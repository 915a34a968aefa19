"""Denoising diffusion over a box of actions, as pure functions of a noise predictor.

Forward, an action a is corrupted to x_t = sqrt(abar_t) a + sqrt(1 - abar_t) z, t = 0 ... T - 1 (the
least noise first), abar_t = prod_{j <= t} (1 - beta_j). A chain walks back from normal noise: with
the predicted noise e(x_t, t),

    ahat  = clip((x_t - sqrt(1 - abar_t) e(x_t, t)) / sqrt(abar_t), -1, 1),                     (1)
    x_t-1 = c_t ahat + d_t x_t + s_t z,   z ~ N(0, I),                                          (2)

where c_t, d_t and s_t are those of the posterior q(x_t-1 | x_t, a = ahat). At t = 0 the left side
of (2) is the action itself, without noise. Ho et al. (2020), arXiv 2006.11239, equations 7 and 15,
where t counts from 1. Knows no reinforcement learning.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Coefficients(NamedTuple):
    """Those of one level t."""

    signal: float
    """sqrt(abar_t), the share of the clean action in x_t."""
    noise: float
    """sqrt(1 - abar_t), the share of the noise."""
    clean_weight: float
    """c_t of (2)."""
    noisy_weight: float
    """d_t of (2)."""
    deviation: float
    """s_t of (2); zero at t = 0."""


class Schedule(NamedTuple):
    """All levels, the least noise first."""

    steps: tuple[Coefficients, ...]
    signal: Tensor
    """(levels,), on the device: for rows of different levels."""
    noise: Tensor
    """(levels,), on the device."""


def variance_preserving_betas(levels: int, beta_min: float, beta_max: float) -> np.ndarray:
    """(levels,) beta_t = 1 - exp(-b_min / T - (b_max - b_min) (2 t + 1) / (2 T^2)), T = `levels`.

    Xiao et al. (2022), arXiv 2112.07804: a continuous noising whose rate grows from b_min to b_max,
    seen at T times.
    """
    t = np.arange(levels)
    return 1 - np.exp(-beta_min / levels - (beta_max - beta_min) * (2 * t + 1) / (2 * levels**2))


def denoising_scheduler(levels: int, beta_min: float, beta_max: float):
    """The schedule as a `diffusers.DDPMScheduler`, whose `step` is (1) and (2)."""
    from diffusers import DDPMScheduler  # here, because importing it takes seconds

    return DDPMScheduler(
        num_train_timesteps=levels,
        trained_betas=variance_preserving_betas(levels, beta_min, beta_max),
        variance_type="fixed_small",
        prediction_type="epsilon",
        clip_sample=True,
        clip_sample_range=1.0,
    )


def variance_preserving_schedule(
    levels: int, beta_min: float, beta_max: float, device: torch.device
) -> Schedule:
    """The coefficients of `denoising_scheduler`, whose own `step` costs several times the
    arithmetic."""
    scheduler = denoising_scheduler(levels, beta_min, beta_max)
    beta, cumulative = scheduler.betas, scheduler.alphas_cumprod
    previous = torch.cat([torch.ones(1), cumulative[:-1]])
    columns = Coefficients(
        signal=cumulative.sqrt(),
        noise=(1 - cumulative).sqrt(),
        clean_weight=beta * previous.sqrt() / (1 - cumulative),
        noisy_weight=(1 - previous) * (1 - beta).sqrt() / (1 - cumulative),
        deviation=(beta * (1 - previous) / (1 - cumulative)).sqrt(),
    )
    return Schedule(
        tuple(Coefficients(*row) for row in torch.stack(columns, dim=1).tolist()),
        columns.signal.to(device),
        columns.noise.to(device),
    )


def corrupt(action: Tensor, noise: Tensor, level: Tensor, schedule: Schedule) -> Tensor:
    """x_t (batch, action) for clean actions and noise of that shape, and levels t (batch,)."""
    return schedule.signal[level, None] * action + schedule.noise[level, None] * noise


def posterior_mean(x: Tensor, predicted: Tensor, coefficients: Coefficients) -> Tensor:
    """Mean of x_t-1 (batch, action) for x_t and the noise predicted in it, by (1) and (2)."""
    c = coefficients
    clean = torch.sub(x / c.signal, predicted, alpha=c.noise / c.signal).clamp(-1, 1)
    return torch.add(c.clean_weight * clean, x, alpha=c.noisy_weight)


def denoising_chain(
    predict: Callable[[Tensor, int], Tensor], initial: Tensor, noise: Tensor, schedule: Schedule
) -> Tensor:
    """Actions (batch, action) in [-1, 1] at the end of a chain; differentiable throughout.

    `predict(x, t)` is the noise in x (batch, action); `initial` (batch, action) and `noise`
    (levels - 1, batch, action), that of the noisiest level first, are standard normal.
    """
    x = initial
    for t in reversed(range(len(schedule.steps))):
        coefficients = schedule.steps[t]
        x = posterior_mean(x, predict(x, t), coefficients)
        if t > 0:
            x = torch.add(x, noise[-t], alpha=coefficients.deviation)
    return x.clamp(-1, 1)
