"""The number of images of a batch that Co-teaching is trained on, computed exactly."""

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.method_config import CoTeachingConfig
from training.methods.co_teaching import CoTeaching


@pytest.mark.parametrize(
    ("forget_rate", "size", "kept_count"),
    [(0.8, 100, 20), (0.9, 10, 1), (0.9, 100, 10), (0.8, 5, 1), (0.5, 7, 3)],
)
def test_round_batches_keep_the_whole_share(forget_rate: float, size: int, kept_count: int) -> None:
    method = CoTeaching(CoTeachingConfig(forget_rate=forget_rate, ramp_epochs=1))
    assert method.kept_count(5, size) == kept_count


@given(
    hundredths=st.integers(0, 99),
    size=st.integers(1, 4096),
    epoch=st.integers(0, 50),
    ramp_tenths=st.integers(1, 400),
)
def test_the_count_is_the_whole_part_of_the_exact_share(
    hundredths: int, size: int, epoch: int, ramp_tenths: int
) -> None:
    config = CoTeachingConfig(forget_rate=hundredths / 100, ramp_epochs=ramp_tenths / 10)
    share = 1 - Fraction(hundredths, 100) * min(Fraction(10 * epoch, ramp_tenths), 1)
    assert CoTeaching(config).kept_count(epoch, size) == max(1, floor(share * size))
