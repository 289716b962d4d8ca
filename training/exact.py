"""Exact arithmetic on settings: the rounding error of a float must not move a count by one."""

from fractions import Fraction


def exact_fraction(setting: float) -> Fraction:
    """Return the decimal number that a setting is written as: 0.8 is 4/5, and (1 − 0.8)·100 then is 20, not 19.99…"""
    return Fraction(str(setting))
