"""Counts that come from settings do not depend on how floats are rounded."""

from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.exact import exact_fraction
from training.methods.mentornet import percentile


@given(st.integers(0, 10**6), st.integers(0, 9))
def test_a_setting_is_the_decimal_that_it_is_written_as(digits: int, places: int) -> None:
    assert exact_fraction(digits / 10**places) == Fraction(digits, 10**places)


def test_floats_would_lose_one() -> None:
    assert (int((1 - 0.8) * 100), int((1 - exact_fraction(0.8)) * 100)) == (19, 20)
    assert (round(0.575 * 100), round(exact_fraction(0.575) * 100)) == (
        57,
        58,
    )  # images held out of a hundred


@given(size=st.integers(1, 300), hundredths=st.integers(0, 100))
def test_the_percentile_has_the_exact_nearest_rank(size: int, hundredths: int) -> None:
    losses = torch.arange(float(size))[torch.randperm(size, generator=torch.Generator().manual_seed(size))]
    rank = round((size - 1) * (1 - Fraction(hundredths, 100)))  # from the largest; halves to the even rank
    assert percentile(losses, hundredths / 100).item() == size - 1 - rank
