"""Numbers read well, and nothing finite or missing breaks them."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ferrosight.report import numbers


def plain(text: str) -> str:
    """The text with ordinary spaces."""
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("value", "err", "expected"),
    [
        (12.34, 0.84, "12.3 ± 0.8"),
        (12.34, 0.184, "12.34 ± 0.18"),
        (5012.0, 112.0, "5,010 ± 110"),
        (-3.21, 0.4, "−3.2 ± 0.4"),
        (0.012, 0.0009, "0.0120 ± 0.0009"),
        (7.0, math.nan, "7.00"),
        (math.nan, 1.0, "n/a"),
    ],
)
def test_an_error_decides_the_digits(value: float, err: float, expected: str) -> None:
    assert plain(numbers.format_pm(value, err)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (0.0123, "0.0123"), (119.4, "119"), (1.5e-7, "1.50 × 10⁻⁷"), (math.inf, "n/a"), (-2.5, "−2.50")],
)
def test_a_number_alone_has_three_digits(value: float, expected: str) -> None:
    assert plain(numbers.format_number(value)) == expected


def test_units_follow_the_size() -> None:
    assert plain(numbers.format_iron(1234.0, 56.0)) == "1.23 ± 0.06 ng"
    assert plain(numbers.format_iron(0.31, 0.02)) == "310 ± 20 fg"
    assert plain(numbers.format_moment(9.2e-14, 4e-15)) == "92 ± 4 fA m²"
    assert plain(numbers.format_moment(-3.2e-8)) == "−32.0 nA m²"
    assert plain(numbers.format_iron(math.nan, 1.0)) == "n/a"


def test_both_ends_of_an_interval_share_a_unit_and_digits() -> None:
    assert plain(numbers.format_iron_range(996.0, 1610.0)) == "1.00–1.61 ng"
    assert plain(numbers.format_range(0.0, 12.3)) == "0–12"
    assert plain(numbers.format_moment_range(-1e-14, 2e-14)) == "−10 to 20 fA m²"
    assert numbers.format_range(math.nan, 3.0) == "n/a"


def test_voxels_are_in_the_unit_that_reads_best() -> None:
    assert plain(numbers.format_voxel((0.0546875, 0.0363281, 0.0363281))) == "54.7 × 36.3 × 36.3 µm"
    assert plain(numbers.format_voxel((0.47, 0.47, 1.0))) == "0.47 × 0.47 × 1 mm"


def test_tiny_probabilities_are_bounds() -> None:
    assert plain(numbers.format_probability(1e-200)) == "< 10⁻¹²"
    assert plain(numbers.format_probability(0.0)) == "< 10⁻¹²"
    assert numbers.format_probability(0.0123) == "0.012"
    assert numbers.format_probability(math.nan) == "n/a"


ANY_FLOAT = st.floats(-1e300, 1e300) | st.sampled_from([math.nan, math.inf, -math.inf])


@given(ANY_FLOAT, ANY_FLOAT)
@example(5e-324, 0.0)
@example(0.0, 5e-324)
@example(1e-299, 2e-300)
def test_no_pair_of_floats_breaks_a_formatter(a: float, b: float) -> None:
    for text in (
        numbers.format_pm(a, b),
        numbers.format_number(a),
        numbers.format_range(a, b),
        numbers.format_moment(a, b),
        numbers.format_iron(a, b),
        numbers.format_probability(a),
    ):
        assert text
        assert "nan" not in text
        assert "inf" not in text


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e5))
def test_rounding_never_moves_a_value_by_more_than_its_error(value: float, err: float) -> None:
    shown, shown_err = plain(numbers.format_pm(value, err)).replace(",", "").replace("−", "-").split(" ± ")
    assert abs(float(shown) - value) <= 0.5 * err
    assert float(shown_err) == pytest.approx(err, rel=0.17)


def test_ends_that_are_far_apart_keep_two_digits_each() -> None:
    assert plain(numbers.format_range(118.0, 13700.0)) == "120–14,000"
    assert plain(numbers.format_range(0.031, 0.9)) == "0.031–0.90"
    assert plain(numbers.format_range(0.0, 14000.0)) == "0–14,000"
