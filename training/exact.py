"""Exact arithmetic on configured numbers, so that float rounding does not change a count by one."""

from fractions import Fraction


def exact_fraction(setting: float) -> Fraction:
    """Return a configured number as an exact fraction: 0.8 gives 4/5, so (1 − 0.8)·100 is 20 and not 19.99…"""
    return Fraction(str(setting))
