"""Distances between laws, whether chains are stationary, and when an error crosses a threshold."""

import numpy as np
import pytest
import torch

from analysis.probes import distances
from analysis.probes.crossing import evaluations_to

# Distances --------------------------------------------------------------------------------------


def test_total_variation_counts_what_lies_outside_of_the_box():
    cells = np.full(40, 1 / 40)
    inside = (np.arange(40) + 0.5) / 20 - 1
    assert distances.total_variation(inside[:, None], cells) == pytest.approx(0)
    assert distances.total_variation(inside[:, None] + 1.0, cells) == pytest.approx(0.5)
    assert distances.total_variation(inside[:, None] + 9.0, cells) == pytest.approx(1)


def test_energy_and_sliced_distances_of_a_shift():
    """In one dimension both are known: of two points a apart, 2 a and a."""
    x, y = torch.zeros(5, 1), torch.full((5, 1), 0.7)
    assert distances.energy_distance(x, y) == pytest.approx(1.4)
    assert distances.energy_distance(x, x) == 0
    torch_generator = torch.Generator().manual_seed(0)
    assert distances.sliced_wasserstein(x, y, torch_generator) == pytest.approx(0.7)
    # In d dimensions a direction sees 1 / sqrt(d) of a shift, on average of squares.
    far = torch.zeros(5, 400)
    far[:, 0] = 20
    found = distances.sliced_wasserstein(torch.zeros(5, 400), far, torch_generator)
    assert found == pytest.approx(1, rel=0.4)


def test_split_r_hat_sees_chains_apart_in_place_in_width_and_in_time():
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((16, 200))
    assert distances.split_r_hat(mixed) < 1.01
    apart, wide, drifting = mixed.copy(), mixed.copy(), mixed + np.linspace(0, 2, 200)
    apart[::2] += 1
    wide[::2] *= 3
    for wrong in (apart, wide, drifting):
        assert distances.split_r_hat(wrong) > 1.05
    assert distances.split_r_hat(np.repeat([[0.0], [1.0]], 50, axis=1)) > 10


# Crossing ---------------------------------------------------------------------------------------

BUDGETS = [10, 20, 40, 80, 160]


def test_crossing_is_interpolated_in_the_logarithm_of_evaluations():
    # Means of three neighbours: 0.35, 0.3, 0.2, 0.1, 0.05.
    errors = [0.4, 0.3, 0.2, 0.1, 0.0]
    assert evaluations_to(errors, BUDGETS, 0.15) == pytest.approx(40 * 2**0.5)
    assert evaluations_to([-e for e in errors], BUDGETS, 0.15) == pytest.approx(40 * 2**0.5)
    assert evaluations_to([0.0] * 5, BUDGETS, 0.15) == 10
    assert evaluations_to([0.4] * 5, BUDGETS, 0.15) is None


def test_passing_through_is_not_getting_there():
    """A sampler on its way from one wrong law to another has the right weight once."""
    assert evaluations_to([-0.4, -0.2, 0.0, 0.2, 0.4], BUDGETS, 0.15) is None
