"""Statistics against closed forms, hand computation and simulation."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from rliable import library, metrics
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis import statistics

GENERATOR_SEED = 20


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(GENERATOR_SEED)


# One run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("evaluations", "averaged"), [(1, 1), (10, 1), (11, 2), (30, 3), (41, 5)])
def test_final_score_is_the_mean_of_the_last_tenth(evaluations, averaged):
    returns = np.arange(evaluations, dtype=float) ** 2
    returns[: evaluations - averaged] = 1e9  # A best evaluation before is not mixed in.
    assert statistics.final_score(returns) == returns[-averaged:].mean()
    assert evaluations == averaged or returns.max() == 1e9


def test_final_score_of_no_evaluation_is_nan():
    assert math.isnan(statistics.final_score([]))


def test_crossing_of_a_straight_line_is_exact():
    transitions = np.arange(0, 11_000, 1000)
    returns = transitions / 10
    crossed = statistics.transitions_to_threshold(transitions, returns, 432.0)
    assert crossed == pytest.approx(4320)
    # A mean that stood at its last evaluation would be one interval late.
    trailing = np.convolve(returns, np.ones(3) / 3, "valid")
    assert np.interp(432.0, trailing, transitions[2:]) == pytest.approx(5320)


def test_crossing_ignores_a_single_lucky_evaluation():
    transitions = np.arange(0, 11_000, 1000)
    returns = np.zeros(11)
    returns[4] = 250.0
    assert statistics.transitions_to_threshold(transitions, returns, 100.0) == math.inf
    assert np.interp(100.0, returns[:5], transitions[:5]) < math.inf  # A raw crossing would count.


def test_crossing_of_uneven_evaluations_and_of_a_run_that_begins_above():
    transitions = np.array([0, 30, 155, 280])
    returns = transitions * 2.0
    # Smoothed: (185 / 3, 370 / 3) and (155, 310).
    crossed = statistics.transitions_to_threshold(transitions, returns, 200.0)
    assert crossed == pytest.approx(100.0)
    assert statistics.transitions_to_threshold(transitions, returns, 10.0) == pytest.approx(185 / 3)
    assert statistics.transitions_to_threshold([0, 1], [5, 5], 1.0) == math.inf


# One environment -------------------------------------------------------------------------------


def test_t_interval_by_hand():
    interval = statistics.t_interval([1, 2, 3, 4, 5])
    # Standard deviation sqrt(2.5), t quantile 2.776 at four degrees of freedom.
    half = 2.7764451 * math.sqrt(2.5 / 5)
    assert interval == pytest.approx((3, 3 - half, 3 + half))


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_fewer_than_five_seeds_give_no_interval(seeds, generator):
    scores = generator.normal(size=seeds)
    value, low, high = statistics.t_interval(scores)
    assert value == pytest.approx(scores.mean()) and math.isnan(low) and math.isnan(high)
    difference = statistics.welch(scores, generator.normal(size=10))
    assert math.isnan(difference.low) and math.isnan(difference.p_value)
    # What the seeds could have shown is known from two on.
    assert math.isnan(difference.detectable) == (seeds < 2)


@pytest.mark.parametrize(("seeds", "bootstrap_coverage"), [(5, 0.83), (10, 0.89)])
def test_t_interval_covers_where_the_percentile_bootstrap_does_not(
    seeds, bootstrap_coverage, generator
):
    samples = generator.normal(size=(4000, seeds))
    intervals = np.array([statistics.t_interval(sample)[1:] for sample in samples])
    covered = (intervals[:, 0] < 0) & (intervals[:, 1] > 0)
    assert covered.mean() == pytest.approx(0.95, abs=0.012)
    drawn = generator.integers(seeds, size=(2000, 500, seeds))
    means = np.take_along_axis(samples[:2000, None], drawn, axis=2).mean(2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert ((low < 0) & (high > 0)).mean() == pytest.approx(bootstrap_coverage, abs=0.03)


def test_welch_agrees_with_scipy_and_not_with_equal_variances(generator):
    x, y = generator.normal(3, 1, 5), generator.normal(0, 6, 12)
    found = statistics.welch(x, y)
    expected = stats.ttest_ind(x, y, equal_var=False)
    interval = expected.confidence_interval()
    assert found[:4] == pytest.approx(
        (x.mean() - y.mean(), interval.low, interval.high, expected.pvalue)
    )
    assert found.degrees_of_freedom == pytest.approx(expected.df)
    assert stats.ttest_ind(x, y).pvalue > 5 * found.p_value


def test_welch_by_hand():
    # Variances 2.5 and 10 over 5: standard error sqrt(2.5), degrees 2.5^2 / (0.5^2 + 2^2) 4.
    found = statistics.welch([1, 2, 3, 4, 5], [0, 2, 4, 6, 8])
    assert found.degrees_of_freedom == pytest.approx(6.25 / 4.25 * 4)
    half = stats.t.ppf(0.975, 6.25 / 4.25 * 4) * math.sqrt(2.5)
    assert (found.difference, found.high) == pytest.approx((-1, -1 + half))


def test_seeds_without_any_spread_decide_nothing():
    found = statistics.welch([1.0] * 5, [2.0] * 5)
    assert found.difference == -1 and all(map(math.isnan, found[1:]))


def test_smallest_detectable_difference_is_found_four_times_in_five(generator):
    seeds, trials = 5, 20_000
    error = math.sqrt(2 / seeds)
    detectable = statistics.smallest_detectable_difference(error, 2 * (seeds - 1))

    def power(difference: float) -> float:
        x = generator.normal(difference, 1, (seeds, trials))
        found = stats.ttest_ind(x, generator.normal(0, 1, (seeds, trials)))
        return np.mean((found.pvalue < 0.05) & (found.statistic > 0))

    assert power(detectable) == pytest.approx(0.8, abs=0.01)
    normal_approximation = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * error
    assert power(normal_approximation) < 0.75


def test_holm_by_hand():
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, then 1 x 0.04 raised to the one before.
    adjusted = statistics.holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert (np.array([0.01, 0.04, 0.03, 0.005]) < 0.05).all()  # Uncorrected, all four would count.
    p_values = np.random.default_rng(0).uniform(0, 0.2, 30)
    assert statistics.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_leaves_what_was_not_tested_out():
    adjusted = statistics.holm([0.02, math.nan, 0.9])
    assert adjusted[[0, 2]] == pytest.approx([0.04, 0.9]) and math.isnan(adjusted[1])
    assert len(statistics.holm([])) == 0


def test_non_inferiority_counts_the_spread_of_its_margin(generator):
    x, y = generator.normal(980, 10, 8), generator.normal(1000, 300, 8)
    margin, surplus = statistics.non_inferiority(x, y, floor=-100.0)
    assert margin == pytest.approx(0.05 * (y.mean() + 100))
    assert surplus.difference == pytest.approx(x.mean() - y.mean() + margin)
    expected = stats.ttest_ind(x, 0.95 * y - 5.0, equal_var=False).confidence_interval()
    assert (surplus.low, surplus.high) == pytest.approx((expected.low, expected.high))
    # With the margin taken as known, the interval is that of the plain difference.
    plain = statistics.welch(x, y)
    assert plain.high - plain.low == pytest.approx((surplus.high - surplus.low) / 0.95, rel=0.02)


def test_non_inferiority_at_equal_means_needs_the_margin(generator):
    y = generator.normal(1000, 20, 10)
    x = generator.permutation(y)
    _, surplus = statistics.non_inferiority(x, y, floor=0.0)
    assert surplus.low > 0
    assert statistics.welch(x, y).low < 0  # Superiority is another question.
    _, surplus = statistics.non_inferiority(x - 200, y, floor=0.0)
    assert surplus.high < 0


# Transitions to threshold ----------------------------------------------------------------------


def test_ratio_of_restricted_means_by_hand(generator):
    x, y = generator.uniform(50, 100, (6, 1)), generator.uniform(100, 300, (8, 1))
    found = statistics.restricted_mean_ratio([(x, y)])
    assert found.value == pytest.approx(x.mean() / y.mean())
    terms = [np.var(arm, ddof=1) / len(arm) / arm.mean() ** 2 for arm in (x, y)]
    degrees = sum(terms) ** 2 / (terms[0] ** 2 / 5 + terms[1] ** 2 / 7)
    half = stats.t.ppf(0.975, degrees) * math.sqrt(sum(terms))
    assert found.high == pytest.approx(found.value * math.exp(half))
    assert found.low == pytest.approx(found.value * math.exp(-half))


def test_thresholds_of_one_run_are_no_replication(generator):
    x, y = generator.uniform(50, 100, (5, 1)), generator.uniform(50, 100, (5, 1))
    once = statistics.restricted_mean_ratio([(x, y)])
    repeated = statistics.restricted_mean_ratio([(np.tile(x, 4), np.tile(y, 4))])
    assert repeated == pytest.approx(once)
    # Four environments are: their runs are independent.
    wrong = statistics.restricted_mean_ratio([(x, y)] * 4)
    assert math.log(wrong.high / wrong.low) < 0.5 * math.log(once.high / once.low)


def test_ratio_covers_what_it_promises(generator):
    covered = 0
    for _ in range(1000):
        cells = [
            (generator.gamma(9, 1, (5, 2)) + 5, generator.gamma(9, 2, (5, 2)) + 10)
            for _ in range(2)
        ]
        _, low, high, _ = statistics.restricted_mean_ratio(cells)
        covered += low < 0.5 < high
    assert covered / 1000 == pytest.approx(0.95, abs=0.02)


def test_ratio_without_enough_runs_or_spread_has_no_interval():
    four, five = np.arange(1.0, 5.0)[:, None], np.arange(1.0, 6.0)[:, None]
    value, low, high, _ = statistics.restricted_mean_ratio([(four, five)])
    assert value == pytest.approx(2.5 / 3) and math.isnan(low) and math.isnan(high)
    censored = np.full((5, 1), 100.0)
    value, low, high, _ = statistics.restricted_mean_ratio([(censored, censored)])
    assert value == 1 and math.isnan(low) and math.isnan(high)
    assert all(map(math.isnan, statistics.restricted_mean_ratio([])))
    assert all(map(math.isnan, statistics.restricted_mean_ratio([(five, np.empty((0, 1)))])))


# Over environments -----------------------------------------------------------------------------


def test_aggregates_on_tiny_matrices():
    # The middle half of 1 to 8 is 3 to 6; environments' means are 4 and 5.
    found = statistics.aggregates(np.arange(1.0, 9.0).reshape(4, 2))
    assert [found[name].value for name in ("iqm", "median", "mean")] == [4.5, 4.5, 4.5]
    outlier = np.array([[0.0, 0.2], [0.4, 0.6], [0.5, 0.5], [0.3, 900.0]])
    found = statistics.aggregates(outlier)
    assert found["iqm"].value == pytest.approx((0.3 + 0.4 + 0.5 + 0.5) / 4)
    assert found["mean"].value > 100  # One lucky run of eight.
    assert found["optimality_gap"].value == pytest.approx(1 - (0.2 + 0.4 + 0.6 + 1.0 + 0.3 + 1) / 8)
    assert all(math.isnan(interval.low) for interval in found.values())


def test_profile_on_a_tiny_matrix():
    matrix = np.array([[0.0, 0.5], [0.5, 1.0]])
    found = statistics.performance_profile(matrix, np.array([-0.1, 0.0, 0.4, 0.5, 1.0]))
    assert [point.value for point in found] == [1, 0.75, 0.75, 0.25, 0]


def test_probability_of_improvement_equals_rliables(generator):
    x, y = generator.integers(0, 4, (6, 3)).astype(float), generator.integers(0, 4, (5, 3))
    found = statistics.probability_of_improvement(x, y)
    assert found.value == pytest.approx(metrics.probability_of_improvement(x, y))
    assert found.low < found.value < found.high
    assert statistics.probability_of_improvement(x, x).value == 0.5
    by_hand = statistics.probability_of_improvement(np.array([[1.0], [3.0]]), np.array([[2.0]]))
    assert by_hand.value == 0.5


SCORES = np.random.default_rng(3).normal(0.5, 0.2, (10, 6))


@pytest.mark.filterwarnings("ignore:random_state is deprecated")
def test_two_calls_give_the_same_interval_which_bare_rliable_does_not():
    def bare(seed: int) -> np.ndarray:
        random_state = np.random.RandomState(seed)
        return library.get_interval_estimates(
            {"": SCORES},
            lambda matrix: np.array([metrics.aggregate_iqm(matrix)]),
            reps=200,
            random_state=random_state,
        )[1][""]

    first = statistics.aggregates(SCORES, 200)
    np.random.random()  # noqa: NPY002  Whatever state the global generator is in.
    assert statistics.aggregates(SCORES, 200) == first
    assert (bare(1) != bare(1)).any()


def test_the_global_generator_is_left_as_it_was():
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    statistics.probability_of_improvement(SCORES, SCORES + 0.1, 100)
    assert (np.random.random(3) == expected).all()  # noqa: NPY002


def vectorised_bootstrap(
    function: Callable[..., np.ndarray], *scores: np.ndarray, resamples: int = 20_000
) -> np.ndarray:
    """Percentile interval of `function` of (resamples, runs, environments), stratified."""
    generator = np.random.default_rng(0)
    drawn = []
    for matrix in scores:
        index = generator.integers(len(matrix), size=(resamples, *matrix.shape))
        drawn.append(np.take_along_axis(matrix[None], index, axis=1))
    return np.quantile(function(*drawn), [0.025, 0.975])


def test_intervals_agree_with_a_vectorised_bootstrap(generator):
    def interquartile_mean(drawn: np.ndarray) -> np.ndarray:
        ordered = np.sort(drawn.reshape(len(drawn), -1), axis=1)
        cut = ordered.shape[1] // 4
        return ordered[:, cut:-cut].mean(1)

    def improvement(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x[:, :, None] > y[:, None]).mean((1, 2, 3))

    found = statistics.aggregates(SCORES)["iqm"]
    assert found[1:] == pytest.approx(vectorised_bootstrap(interquartile_mean, SCORES), abs=0.006)
    other = generator.normal(0.4, 0.2, (7, 6))
    found = statistics.probability_of_improvement(SCORES, other)
    expected = vectorised_bootstrap(improvement, SCORES, other, resamples=5000)
    assert found[1:] == pytest.approx(expected, abs=0.015)


def test_scores_that_rliable_would_take_silently_are_refused():
    broken = SCORES.copy()
    broken[2, 4] = np.nan
    with pytest.raises(statistics.ScoreError, match="run 2 of environment 4"):
        statistics.aggregates(broken)
    with pytest.raises(statistics.ScoreError, match="shape"):
        statistics.performance_profile(SCORES[0], np.zeros(1))
    with pytest.raises(statistics.ScoreError, match="1 of at least 2 seeds"):
        statistics.bootstrap([SCORES[:1]], lambda matrix: matrix.mean(0))
    with pytest.raises(statistics.ScoreError, match="comparator's 5"):
        statistics.probability_of_improvement(SCORES, SCORES[:, :5])
    bare = library.get_interval_estimates({"": SCORES[:1]}, lambda m: m.mean(0), reps=50)[1][""]
    assert (bare[0] == bare[1]).all()  # An interval of no width, from a single seed.


def test_four_environments_and_five_seeds_enter_a_verdict():
    assert statistics.enters_verdict(5, 4)
    assert not statistics.enters_verdict(4, 4) and not statistics.enters_verdict(5, 3)


def test_replicates_that_agree_are_decided():
    """As where no seed finds a mode: an interval without a width holds one value, its own."""
    none_found = statistics.Interval(0.0, 0.0, 0.0)
    assert statistics.p_value_at(0.5, none_found, 4) == 0
    assert statistics.p_value_at(0.0, none_found, 4) == 1
    assert np.isnan(statistics.p_value_at(0.5, statistics.Interval(0.0, np.nan, np.nan), 4))


def test_where_no_run_got_there_the_ends_of_runs_make_no_interval():
    ends = [100.0] * 5
    assert statistics.t_interval(ends).low == 100, "as if they were five measurements"
    assert np.isnan(statistics.restricted_interval(ends, [False] * 5).low)
    some = statistics.restricted_interval([40.0, *ends[1:]], [True, *[False] * 4])
    assert some == statistics.t_interval([40.0, *ends[1:]]) and some.low < 88 < some.high


def test_a_ratio_is_of_the_degrees_of_its_interval():
    """Welch's: between those of the arm that varies and those of both, and not one arm's always."""
    even, odd = (
        np.array([[1.0], [2.0], [3.0], [4.0], [5.0]]),
        np.array([[2.0], [4.0], [6.0], [8.0], [9.0]]),
    )
    found = statistics.restricted_mean_ratio([(even, odd)])
    assert 4 < found.degrees_of_freedom < 8
    half = stats.t.ppf(0.975, found.degrees_of_freedom)
    error = np.sqrt(sum((t / t.mean()).var(ddof=1) / 5 for t in (even, odd)))
    assert np.log(found.high / found.value) == pytest.approx(half * error)
    alone = statistics.restricted_mean_ratio([(even, np.full((5, 1), 2.0))])
    assert alone.degrees_of_freedom == pytest.approx(4)
