"""How many images of a batch Co-teaching learns from: exact, whatever the rounding of floats."""

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.method_config import CoTeachingConfig
from training.methods.co_teaching import CoTeaching


@pytest.mark.parametrize(
    ("forget_rate", "size", "remembered"),
    [(0.8, 100, 20), (0.9, 10, 1), (0.9, 100, 10), (0.8, 5, 1), (0.5, 7, 3)],
)
def test_round_batches_keep_the_whole_share(forget_rate: float, size: int, remembered: int) -> None:
    method = CoTeaching(CoTeachingConfig(forget_rate=forget_rate, gradual=1))
    assert method.remembered(5, size) == remembered


@given(
    hundredths=st.integers(0, 99),
    size=st.integers(1, 4096),
    epoch=st.integers(0, 50),
    gradual=st.integers(1, 400),
)
def test_the_count_is_the_whole_part_of_the_exact_share(
    hundredths: int, size: int, epoch: int, gradual: int
) -> None:
    config = CoTeachingConfig(forget_rate=hundredths / 100, gradual=gradual / 10)
    share = 1 - Fraction(hundredths, 100) * min(Fraction(10 * epoch, gradual), 1)
    assert CoTeaching(config).remembered(epoch, size) == max(1, floor(share * size))
