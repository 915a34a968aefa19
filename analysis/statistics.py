"""Statistics over seeds and environments: scipy and rliable, seeded, on plain arrays.

Seeds are the unit of replication; a run enters with one number. No interval is given for fewer
than `MINIMUM_SEEDS` seeds (NaN, an empty cell in the tables): a percentile bootstrap of the mean
covers 49, 75 and 83 % at 2, 3 and 5 seeds where it promises 95, and Student's t from two or three
is too wide to decide anything.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, special, stats

CONFIDENCE = 0.95
POWER = 0.8
"""At which the smallest detectable difference is found."""
MINIMUM_SEEDS = 5
"""Fewer give no interval, and their verdicts are inconclusive."""
MINIMUM_ENVIRONMENTS = 4
"""Fewer give aggregates over environments that enter no verdict."""
RESAMPLES = 2000
SMOOTHING_WINDOW = 3
"""Evaluations averaged before a threshold is looked for."""

NAN = math.nan


class ScoreError(ValueError):
    """Scores of which no statistic can be made; says which and why."""


class Interval(NamedTuple):
    """An estimate with its confidence interval; `low` and `high` are NaN where none is given."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """A contrast of two means; all but `difference` NaN where the seeds are too few for it."""

    difference: float
    low: float
    high: float
    p_value: float
    """Two-sided, of no difference."""
    degrees_of_freedom: float
    detectable: float
    """The smallest true difference found with probability `POWER`; needs two seeds an arm."""


class Ratio(NamedTuple):
    """A ratio of two means with an interval of its logarithm; NaN as in `Interval`."""

    value: float
    low: float
    high: float
    degrees_of_freedom: float


# One run ---------------------------------------------------------------------------------------


def final_score(returns: Sequence[float]) -> float:
    """Mean of the last tenth (rounded up) of a run's evaluations, in order; NaN without any."""
    values = np.asarray(returns, float)
    return float(values[-math.ceil(len(values) / 10) :].mean()) if len(values) else NAN


def smoothed(
    transitions: Sequence[float], returns: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Means of `SMOOTHING_WINDOW` successive evaluations, each standing at the mean of their
    transitions, which leaves a straight learning curve where it is. Two empty arrays if there are
    too few evaluations."""
    if len(returns) < SMOOTHING_WINDOW:
        return np.empty(0), np.empty(0)
    kernel = np.full(SMOOTHING_WINDOW, 1 / SMOOTHING_WINDOW)
    return np.convolve(transitions, kernel, "valid"), np.convolve(returns, kernel, "valid")


def transitions_to_threshold(
    transitions: Sequence[float], returns: Sequence[float], threshold: float
) -> float:
    """Where the smoothed evaluations of a run first reach a return, by linear interpolation;
    infinite if they never do (the run is censored).

    A run that begins above the threshold reached it by its first smoothed evaluation.
    """
    at, value = smoothed(transitions, returns)
    above = np.flatnonzero(value >= threshold)
    if not len(above):
        return math.inf
    k = above[0]
    if k == 0:
        return float(at[0])
    share = (threshold - value[k - 1]) / (value[k] - value[k - 1])
    return float(at[k - 1] + share * (at[k] - at[k - 1]))


# One environment -------------------------------------------------------------------------------


def t_interval(scores: Sequence[float]) -> Interval:
    """Mean over seeds (n,) with Student's t; no interval for fewer than `MINIMUM_SEEDS`."""
    values = np.asarray(scores, float)
    n = len(values)
    mean = float(values.mean()) if n else NAN
    if n < MINIMUM_SEEDS:
        return Interval(mean, NAN, NAN)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n)
    return Interval(mean, float(mean - half), float(mean + half))


def restricted_interval(values: Sequence[float], reached: Sequence[bool]) -> Interval:
    """`t_interval` of times that are cut where a run ended (n,); none where no run got there, since
    the spread would be that of where they ended, which tells nothing of when they would have."""
    found = t_interval(values)
    return found if np.any(reached) else Interval(found.value, NAN, NAN)


def welch(
    scores: Sequence[float], comparator: Sequence[float], weight: float = 1.0, offset: float = 0.0
) -> Difference:
    """mean(scores) - weight mean(comparator) - offset, with Welch's interval and test.

    Arms (n,) and (m,) are independent and may differ in size and variance.
    """
    x, y = np.asarray(scores, float), weight * np.asarray(comparator, float)
    if not len(x) or not len(y):
        return Difference(NAN, NAN, NAN, NAN, NAN, NAN)
    difference = float(x.mean() - y.mean() - offset)
    if min(len(x), len(y)) < 2:
        return Difference(difference, NAN, NAN, NAN, NAN, NAN)
    error, degrees = _satterthwaite(
        [(x.var(ddof=1) / len(x), len(x) - 1), (y.var(ddof=1) / len(y), len(y) - 1)]
    )
    detectable = smallest_detectable_difference(error, degrees)
    if min(len(x), len(y)) < MINIMUM_SEEDS:
        return Difference(difference, NAN, NAN, NAN, NAN, detectable)
    if error == 0:
        # Seeds without any spread leave nothing to test a difference against.
        return Difference(difference, NAN, NAN, NAN, NAN, NAN)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, degrees) * error
    p_value = 2 * stats.t.sf(abs(difference) / error, degrees)
    return Difference(
        difference,
        float(difference - half),
        float(difference + half),
        float(p_value),
        degrees,
        detectable,
    )


def mean_against(scores: Sequence[float], level: float = 0.0) -> Difference:
    """mean(scores) - level over seeds (n,), with Student's t; no interval for fewer than
    `MINIMUM_SEEDS` or without any spread."""
    values = np.asarray(scores, float)
    n = len(values)
    if not n:
        return Difference(NAN, NAN, NAN, NAN, NAN, NAN)
    difference = float(values.mean() - level)
    error = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else NAN
    detectable = smallest_detectable_difference(error, n - 1)
    if n < MINIMUM_SEEDS or not error > 0:
        return Difference(difference, NAN, NAN, NAN, NAN, detectable)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * error
    p_value = float(2 * stats.t.sf(abs(difference) / error, n - 1))
    return Difference(difference, difference - half, difference + half, p_value, n - 1, detectable)


def standard_error(interval: Interval, degrees_of_freedom: float) -> float:
    """Of an estimate with Student's interval at `CONFIDENCE`; NaN without an interval."""
    half = (interval.high - interval.low) / 2
    return float(half / stats.t.ppf((1 + CONFIDENCE) / 2, degrees_of_freedom))


def p_value_at(level: float, interval: Interval, degrees_of_freedom: float) -> float:
    """Two-sided, of the true value being `level`: the test of which Student's interval holds what
    it does not reject at 5 %. NaN without an interval; 0 or 1 for one without a width."""
    error = standard_error(interval, degrees_of_freedom)
    if error == 0:  # replicates that agree, as where none of them finds a mode
        return float(interval.value == level)
    if not error > 0:
        return NAN
    return float(2 * stats.t.sf(abs(interval.value - level) / error, degrees_of_freedom))


def smallest_detectable_difference(standard_error: float, degrees_of_freedom: float) -> float:
    """The true difference that a two-sided t test finds with probability `POWER`.

    From the noncentral t distribution; NaN where there is no spread to judge by.
    """
    if not standard_error > 0:
        return NAN
    critical = stats.t.ppf((1 + CONFIDENCE) / 2, degrees_of_freedom)

    def missing_power(noncentrality: float) -> float:
        # The other tail, a significant difference of the wrong sign, is no finding.
        return 1 - special.nctdtr(degrees_of_freedom, noncentrality, critical) - POWER

    # 1.3 times the critical value is enough at one degree of freedom, and + 1 at many; far beyond,
    # the distribution function is NaN.
    return float(standard_error * optimize.brentq(missing_power, 0, 1.5 * critical + 5))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p-values (n,), in the order given: refuting "all of them" by any one of them
    keeps its error rate. NaN (no test) stays NaN and does not count as one."""
    p = np.asarray(p_values, float)
    adjusted = np.full(p.shape, NAN)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last.
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * factors))
    return adjusted


class NonInferiority(NamedTuple):
    """Whether a mean is less than a comparator's by no more than a margin."""

    margin: float
    """share (mean(comparator) - floor)"""
    surplus: Difference
    """mean(scores) - mean(comparator) + margin: non-inferior iff its `low` is above 0, inferior iff
    its `high` is below. The margin is estimated too, and its spread is counted."""


def non_inferiority(
    scores: Sequence[float], comparator: Sequence[float], floor: float, share: float = 0.05
) -> NonInferiority:
    """With a margin of `share` of the comparator's own mean above `floor`."""
    y = np.asarray(comparator, float)
    margin = share * (float(y.mean()) - floor) if len(y) else NAN
    return NonInferiority(margin, welch(scores, y, weight=1 - share, offset=share * floor))


def restricted_mean_ratio(cells: Sequence[tuple[np.ndarray, np.ndarray]]) -> Ratio:
    """Geometric mean over environments and thresholds of ratios of restricted mean transitions.

    `cells` has for each environment two arrays (runs, thresholds) of transitions to threshold, cut
    at the run's length: the algorithm's and the comparator's. The interval is Welch's, on the log
    scale by linearisation; runs are its units, so that the thresholds of a run, which go together,
    count once. No interval where an arm has fewer than `MINIMUM_SEEDS` runs or nothing varies.
    """
    cells = [(np.asarray(x, float), np.asarray(y, float)) for x, y in cells]
    if not cells or any(not len(x) or not len(y) for x, y in cells):
        return Ratio(NAN, NAN, NAN, NAN)
    total = sum(x.shape[1] for x, _ in cells)
    log_ratio, terms = 0.0, []
    for x, y in cells:
        log_ratio += np.sum(np.log(x.mean(0)) - np.log(y.mean(0))) / total
        for arm in (x, y):
            # d log(mean) = (t - mean) / mean
            share = (arm / arm.mean(0)).sum(1) / total
            variance = share.var(ddof=1) / len(arm) if len(arm) > 1 else 0.0
            terms.append((variance, len(arm) - 1))
    ratio = float(np.exp(log_ratio))
    error, degrees = _satterthwaite(terms)
    if min(degrees_of_arm + 1 for _, degrees_of_arm in terms) < MINIMUM_SEEDS or error == 0:
        return Ratio(ratio, NAN, NAN, NAN)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, degrees) * error
    low, high = np.exp([log_ratio - half, log_ratio + half])
    return Ratio(ratio, float(low), float(high), degrees)


def _satterthwaite(terms: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of independent (variance, degrees)."""
    total = sum(variance for variance, _ in terms)
    if total == 0:
        return 0.0, NAN
    degrees = total**2 / sum(variance**2 / n for variance, n in terms if variance > 0)
    return math.sqrt(total), float(degrees)


# Over environments -----------------------------------------------------------------------------


def enters_verdict(seeds: int, environments: int) -> bool:
    """Whether a statistic over environments may decide anything."""
    return seeds >= MINIMUM_SEEDS and environments >= MINIMUM_ENVIRONMENTS


def check_scores(scores: np.ndarray, name: str = "scores", runs: int = 2) -> np.ndarray:
    """The matrix (runs, environments) as float64.

    ScoreError where rliable goes wrong silently: a NaN (all its intervals are NaN) or fewer than
    `runs` seeds (of one, the interval has no width).
    """
    matrix = np.asarray(scores, float)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ScoreError(f"{name}: shape {matrix.shape} is not (runs, environments)")
    if not np.isfinite(matrix).all():
        run, environment = np.argwhere(~np.isfinite(matrix))[0]
        raise ScoreError(f"{name}: not finite in run {run} of environment {environment}")
    if len(matrix) < runs:
        raise ScoreError(f"{name}: {len(matrix)} of at least {runs} seeds")
    return matrix


def bootstrap(
    scores: Sequence[np.ndarray],
    function: Callable[..., np.ndarray],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """rliable's stratified bootstrap intervals (2, k) of `function(*scores) -> (k,)`.

    `scores` are one or more matrices (runs, environments), resampled independently, each
    environment by itself. rliable draws from NumPy's global generator whatever `random_state` it is
    given, so that is seeded for the call and put back.
    """
    matrices = [check_scores(matrix, f"scores[{i}]") for i, matrix in enumerate(scores)]
    # A single matrix goes in by itself: a list of them is rliable's mark of independent arms.
    arms = matrices[0] if len(matrices) == 1 else matrices
    # Takes seconds to import, for which everything that draws no bootstrap would wait.
    from rliable import library

    with _global_generator(seed):
        _, intervals = library.get_interval_estimates(
            {"": arms}, function, reps=resamples, confidence_interval_size=CONFIDENCE
        )
    return intervals[""]


@contextlib.contextmanager
def _global_generator(seed: int) -> Iterator[None]:
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


AGGREGATES = ("iqm", "median", "mean", "optimality_gap")
"""Of a matrix (runs, environments) of normalised scores. The interquartile mean is over all runs,
the median over environments' means, the optimality gap to 1."""


def aggregates(scores: np.ndarray, resamples: int = RESAMPLES) -> dict[str, Interval]:
    """Each of `AGGREGATES` with its interval."""

    from rliable import metrics

    functions = [getattr(metrics, f"aggregate_{name}") for name in AGGREGATES]

    def all_of_them(matrix: np.ndarray) -> np.ndarray:
        return np.array([function(matrix) for function in functions])

    matrix = check_scores(scores, runs=1)
    return dict(zip(AGGREGATES, _with_intervals([matrix], all_of_them, resamples), strict=True))


def performance_profile(
    scores: np.ndarray, thresholds: np.ndarray, resamples: int = RESAMPLES
) -> list[Interval]:
    """Share of runs above each threshold (k,) of normalised score, over all environments."""
    matrix = check_scores(scores, runs=1)
    return _with_intervals([matrix], lambda m: (m.reshape(-1, 1) > thresholds).mean(0), resamples)


def probability_of_improvement(
    scores: np.ndarray, comparator: np.ndarray, resamples: int = RESAMPLES
) -> Interval:
    """P(a run of the one scores more than one of the other), averaged over environments; ties count
    half. Matrices (runs, environments) and (other runs, environments)."""
    x, y = check_scores(scores, runs=1), check_scores(comparator, "comparator", runs=1)
    if x.shape[1] != y.shape[1]:
        raise ScoreError(f"{x.shape[1]} environments against the comparator's {y.shape[1]}")

    def share(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        # rliable's own function gives the same number by a test a task, at 50 times the cost.
        sign = np.sign(x[:, None] - y[None])
        return np.array([(sign.mean() + 1) / 2])

    return _with_intervals([x, y], share, resamples)[0]


def _with_intervals(
    scores: Sequence[np.ndarray], function: Callable[..., np.ndarray], resamples: int
) -> list[Interval]:
    """`function(*scores)` entry by entry, with intervals where the seeds are enough for them."""
    values = function(*scores)
    if min(len(matrix) for matrix in scores) < MINIMUM_SEEDS:
        return [Interval(float(value), NAN, NAN) for value in values]
    low, high = bootstrap(scores, function, resamples)
    return [Interval(*map(float, row)) for row in zip(values, low, high, strict=True)]
