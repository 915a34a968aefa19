"""Regions, tests at a bound and Holm's correction, beside what each would be without."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from analysis import statistics
from analysis.statistics import Interval
from analysis.verdicts import Cell, Region, decide

ABOVE_0 = Region(0.0)
DEGREES = 8


def cell(value: float, p_value: float, name: str = "", support: Region = ABOVE_0) -> Cell:
    """Of a t interval whose test of 0 has this two-sided p-value."""
    error = abs(value) / stats.t.isf(p_value / 2, DEGREES)
    half = stats.t.ppf(0.975, DEGREES) * error
    return Cell(name, Interval(value, value - half, value + half), support, None, DEGREES)


def bare(value: float) -> Cell:
    return Cell("", Interval(value, math.nan, math.nan), ABOVE_0, replicates=3)


@pytest.mark.parametrize(
    ("cells", "verdict"),
    [
        ([cell(1, 0.04)], "supported"),
        ([cell(1, 0.06)], "inconclusive"),
        ([cell(-1, 0.04)], "not supported"),
        ([cell(-1, 0.06)], "inconclusive"),
        ([bare(100)], "inconclusive"),
        ([bare(math.nan)], "not tested"),
        # All of them have to hold: no correction is needed to support.
        ([cell(1, 0.04, n) for n in "abcd"], "supported"),
        ([cell(1, 0.001, "a"), cell(1, 0.06, "b")], "inconclusive"),
        # Any one refutes: 0.02 is 0.04 of two and 0.08 of four.
        ([cell(-1, 0.02, "a"), cell(1, 0.01, "b")], "not supported"),
        ([cell(-1, 0.02, "a"), *(cell(1, 0.01, n) for n in "bcd")], "inconclusive"),
        ([cell(-1, 0.02, "a"), cell(1, 0.01, "b"), bare(math.nan)], "not supported"),
        ([cell(1, 0.02, "a"), cell(1, 0.01, "b"), bare(math.nan)], "inconclusive"),
    ],
)
def test_verdicts(cells, verdict):
    assert decide(cells).verdict == verdict


def test_the_weakest_cell_is_told():
    weak, strong = cell(1, 0.03, "weak"), cell(1, 0.0001, "strong")
    assert decide([strong, weak]).weakest is weak
    assert decide([strong, cell(-1, 0.5, "against"), weak]).weakest.name == "against"
    refuting = [cell(-1, 0.001, "less"), cell(-1, 0.0001, "more")]
    assert decide(refuting).weakest.name == "more"


def test_without_intervals_the_weakest_is_the_furthest_from_the_bound():
    """Relative to its own value, every estimate below 0 would be as far from 0 as any other."""
    near, far = (dataclasses.replace(bare(value), name=str(value)) for value in (-75, -2286))
    for cells in ([near, far], [far, near]):
        assert decide(cells).weakest is far


def test_a_cell_that_means_nothing_is_not_told_as_the_weakest():
    void = dataclasses.replace(bare(-100), name="void", untested="the chain did not mix")
    short = dataclasses.replace(bare(-5), name="short")
    weak = cell(1, 0.03, "weak")
    assert decide([void, weak]).weakest is weak
    assert decide([void, short]).weakest is short
    assert decide([void, short, weak]).weakest is weak, "it alone has a width to be measured by"


def test_a_false_claim_about_four_cells_is_refuted_wrongly_one_time_in_twenty():
    """Every cell lies on its bound; without the correction four tests err four times as often."""
    generator = np.random.default_rng(0)
    wrong = uncorrected = 0
    trials = 1000
    for sample in generator.normal(size=(trials, 4, 5)):
        means = [statistics.mean_against(seeds) for seeds in sample]
        cells = [
            Cell(str(k), Interval(*mean[:3]), ABOVE_0, None, mean.degrees_of_freedom)
            for k, mean in enumerate(means)
        ]
        wrong += decide(cells).verdict == "not supported"
        uncorrected += any(one.excludes_support() for one in cells)
    # One-sided each, so half of the level.
    assert wrong / trials == pytest.approx(0.025, abs=0.015)
    assert uncorrected / trials > 0.06


def test_a_region_of_its_own_for_refutation():
    """At most 0.7 and surely below 1; refuted only above 0.7."""
    support, refutation = Region(high=1, value_at_most=0.7), Region(low=0.7)

    def verdict(value: float, low: float, high: float) -> str:
        return decide([Cell("", Interval(value, low, high), support, refutation, 8)]).verdict

    assert verdict(0.6, 0.4, 0.9) == "supported"
    assert verdict(0.8, 0.75, 0.9) == "not supported"
    assert verdict(0.75, 0.6, 0.9) == "inconclusive"  # Fewer, but not by three in ten.
    assert verdict(0.65, 0.4, 1.1) == "inconclusive"


def test_within_bounds_of_a_unit():
    support = Region(0.9, 1.1).scaled(1000)

    def verdict(low: float, high: float) -> str:
        return decide([Cell("", Interval((low + high) / 2, low, high), support)]).verdict

    assert verdict(920, 1080) == "supported"
    assert verdict(700, 890) == verdict(1110, 1200) == "not supported"
    assert verdict(880, 920) == verdict(500, 1500) == "inconclusive"


def test_ratios_are_tested_on_the_log_scale():
    """A factor of two either way is equally certain; on the ratio itself it would not be."""
    half = Cell("a", Interval(0.5, 0.2, 1.25), Region(1.0), None, 8, is_ratio=True)
    double = Cell("b", Interval(2, 0.8, 5), Region(high=1.0), None, 8, is_ratio=True)
    assert half.refutation_p_value() == pytest.approx(double.refutation_p_value())
    plain = statistics.p_value_at(1, half.interval, 8)
    assert plain != pytest.approx(statistics.p_value_at(1, double.interval, 8), rel=0.1)


def test_counts_need_no_interval_and_no_correction():
    def exact(value: float, name: str = "") -> Cell:
        return Cell(name, Interval(value, value, value), Region(high=1), is_exact=True)

    assert decide([exact(0.9)]).verdict == "supported"
    assert decide([exact(1.0)]).verdict == "not supported"  # Equal is not fewer.
    assert decide([exact(0.9, "a"), exact(1.2, "b")]).verdict == "not supported"


def test_too_many_censored_is_not_tested():
    nothing = Interval(0.8, math.nan, math.nan)
    censored = Cell("a", nothing, Region(high=1), untested="too many never got there")
    assert decide([censored]).verdict == "not tested"
    told = decide([censored, cell(1, 0.01, "b")])
    assert told.verdict == "inconclusive" and "too many never got there on a" in told.reason


def test_what_leaves_a_claim_open_is_said_once_a_reason():
    never = "too many never got there (8 of 8)"
    nothing = Interval(1.0, math.nan, math.nan)
    held = Cell("a", Interval(0.5, 0.4, 0.6), Region(high=1))
    censored = [Cell(name, nothing, Region(high=1), untested=never) for name in "bc"]
    bare = Cell("d", nothing, Region(high=1), replicates=8)
    reason = decide([held, *censored, bare]).reason
    assert reason == "1 of 4 hold; too many never got there on b, c; no interval on d"
    assert f"{never} on b" in decide([held, censored[0], bare]).reason
    few = dataclasses.replace(bare, replicates=3)
    assert decide([held, few]).reason.endswith("on d (3 at the fewest)")
    many = [dataclasses.replace(bare, name=str(k)) for k in range(9)]
    assert decide([held, *many]).reason.endswith("no interval on 0, 1, 2, 3, 4, 4 more")


def test_a_mean_against_a_level_is_students_test():
    scores = [1.0, 2.0, 4.0, 3.0, 2.5]
    found = statistics.mean_against(scores, 1.0)
    expected = stats.ttest_1samp(scores, 1.0)
    interval = expected.confidence_interval()
    assert found[:4] == pytest.approx((1.5, interval.low - 1, interval.high - 1, expected.pvalue))
    assert statistics.p_value_at(1.0, statistics.t_interval(scores), 4) == pytest.approx(
        expected.pvalue
    )
    few = statistics.mean_against(scores[:4], 1.0)
    assert math.isnan(few.low) and few.detectable > 0
    assert math.isnan(statistics.mean_against([2.0] * 5).low)
    assert math.isnan(statistics.mean_against([]).difference)
