"""Parts of the command line: types of arguments, texts parsed to numbers in a range, and the flags of several verbs."""

import argparse
import math
from pathlib import Path

MAX_NUMBER = 10**12
"""Upper limit of numbers of images, seeds, votes and gigabytes: the formulas of `power` overflow far beyond it."""
MIN_SHARE = 1e-9


def positive(text: str) -> int:
    """Parse an integer from 1 to MAX_NUMBER."""
    number = int(text)
    if not 1 <= number <= MAX_NUMBER:
        raise argparse.ArgumentTypeError(
            f"must be {'at least 1' if number < 1 else 'at most 1e12'}, got {text}"
        )
    return number


def finite(text: str) -> float:
    """Parse a finite number."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {text}")
    return number


def gigabytes(text: str) -> float:
    """Parse a number from 0 to MAX_NUMBER."""
    number = finite(text)
    if not 0 <= number <= MAX_NUMBER:
        raise argparse.ArgumentTypeError(f"must be 0 to 1e12, got {text}")
    return number


def inner_share(text: str) -> float:
    """Parse a share from MIN_SHARE to less than 1."""
    number = finite(text)
    if not 0 < number < 1:
        hint = f"; for {text} % give {number / 100:g}" if 1 <= number < 100 else ""
        raise argparse.ArgumentTypeError(f"must be above 0 and below 1, got {text}{hint}")
    if number < MIN_SHARE:
        raise argparse.ArgumentTypeError(f"must be at least {MIN_SHARE:g}, got {text}")
    return number


def positive_seconds(text: str) -> float:
    """Parse a positive number of seconds."""
    seconds = finite(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return seconds


def add_resident(sub: argparse.ArgumentParser) -> None:
    """Add the flag `--resident-gb`; see `bytes_of`."""
    sub.add_argument(
        "--resident-gb",
        type=gigabytes,
        default=8.0,
        metavar="GB",
        help="keep decoded images of at most this size in device memory, and stream larger sets; 0: always stream "
        "(default: %(default)s)",
    )


def bytes_of(gigabytes: float) -> int:
    """Return the bytes of a number of GiB."""
    return int(gigabytes * 2**30)


def add_data(sub: argparse.ArgumentParser) -> None:
    """Add the flags that say where the dataset is."""
    sub.add_argument(
        "--data", required=True, metavar="DIR", help="folder or URL (s3://, gs://, …) of the dataset"
    )
    sub.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="local folder for copies of the sets; required if --data is a URL",
    )
