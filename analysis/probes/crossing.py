"""When an error that is known at a few budgets comes below a threshold. Imports no torch."""

from collections.abc import Sequence

import numpy as np

WINDOW = 3
"""Budgets whose errors are averaged: a repeat of few chains crosses by chance otherwise."""


def evaluations_to(
    errors: Sequence[float], budgets: Sequence[int], threshold: float
) -> float | None:
    """Gradient evaluations until the absolute error is at most the threshold and stays there to the
    last budget; None if it is above at the last budget.

    Signed errors are averaged over neighbouring budgets, and the crossing is found between two
    budgets by interpolation in their logarithm. One that is there from the first budget counts as
    that budget.
    """
    signed = np.asarray(errors, float)
    half = WINDOW // 2
    mean = [signed[max(k - half, 0) : k + half + 1].mean() for k in range(len(signed))]
    size = np.abs(mean)
    above = np.flatnonzero(size > threshold)
    if not len(above):
        return float(budgets[0])
    k = int(above[-1]) + 1
    if k == len(size):
        return None
    share = (size[k - 1] - threshold) / (size[k - 1] - size[k])
    return float(budgets[k - 1] * (budgets[k] / budgets[k - 1]) ** share)
