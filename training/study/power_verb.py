"""The verb power: how many test images, seeds and votes a question needs."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UsageError
from common.text_table import aligned
from training.study import power
from training.study.estimates import sizes
from training.study.results import read
from training.study.significance import MIN_SPREAD, compare
from training.study.summary_tables import finished, grouped

VOTES = (1, 3, 5, 7)


def verb(arguments: argparse.Namespace) -> int:
    """Print the numbers for the parts whose flags are given. Raises UsageError for values that are out of range."""
    if arguments.power <= power.LEVEL:
        raise UsageError(
            f"--power: must be above {power.LEVEL:g}, the level of the tests, got {arguments.power:g}; the usual power is "
            f"{power.POWER:g}"
        )
    try:
        if arguments.study:
            _fill_from_study(arguments)
        answers = {
            "test_images": _images(arguments),
            "seeds": _seeds(arguments),
            "votes": _votes(arguments),
        }
    except ValueError as error:
        raise UsageError(f"power: {error}") from error
    answers = {name: answer for name, answer in answers.items() if answer}
    if not answers:
        raise UsageError(
            "power: nothing to compute; give --accuracy with --test-images or --difference, --deviation with --seeds or "
            "--difference, or --agreement with --half-width"
        )
    if arguments.json:
        print(json.dumps(answers))
    else:
        print("\n\n".join(_TEXT[name](answer, arguments) for name, answer in answers.items()))
    return 0


def _fill_from_study(arguments: argparse.Namespace) -> None:
    """Set the flags that are not given from the finished runs of a study. Raises DataError without results."""
    rows = finished(read(Path(arguments.study)))
    noisy = [row for row in rows if row["noise_level"]] or rows
    if arguments.accuracy is None and noisy:
        arguments.accuracy = float(np.mean([row["final_accuracy"] for row in noisy]))
    if arguments.test_images is None and sizes(noisy):
        arguments.test_images = sizes(noisy)[0]
    if arguments.deviation is None:
        arguments.deviation = _paired_deviation(noisy)


def _paired_deviation(rows: list[dict[str, Any]]) -> float | None:
    """Return the standard deviation over seeds of the difference of two methods, pooled over pairs and levels.

    0 if the differences are equal but for rounding; None without a pair of methods that share two seeds.
    """
    variances: list[float] = []
    for _, part in grouped(rows, "setting", "network", "color", "noise_level"):
        values = {
            method: {row["seed"]: row["final_accuracy"] for row in runs}
            for method, runs in grouped(part, "method")
        }
        for comparison in compare(values):
            first, second = values[comparison.first], values[comparison.second]
            differences = [first[seed] - second[seed] for seed in first.keys() & second]
            if len(differences) > 1:
                variances.append(float(np.var(differences, ddof=1)))
    if not variances:
        return None
    deviation = float(np.sqrt(np.mean(variances)))
    return deviation if deviation > MIN_SPREAD else 0.0


def _images(arguments: argparse.Namespace) -> dict[str, Any] | None:
    accuracy, images, difference = arguments.accuracy, arguments.test_images, arguments.difference
    if accuracy is None or (images is None and difference is None):
        return None
    answer: dict[str, Any] = {"accuracy": accuracy}
    if images is not None:
        smallest = power.smallest_of_images(images, accuracy, arguments.disagreement, arguments.power)
        answer |= {
            "images": images, "interval": power.wilson(accuracy, images), "smallest_difference": smallest,
        }  # fmt: skip
    shown = difference if difference is not None else answer["smallest_difference"] or 0.0
    disagreement = arguments.disagreement
    if disagreement is None:
        disagreement = power.independent_disagreement(accuracy, shown)
    answer["disagreement"] = disagreement
    if difference is not None:
        answer["images_needed"] = power.images_needed(difference, disagreement, arguments.power)
        if images is not None:
            answer["power"] = power.power_of_images(images, difference, disagreement)
    return answer


def _seeds(arguments: argparse.Namespace) -> dict[str, Any] | None:
    deviation, seeds, difference = arguments.deviation, arguments.seeds, arguments.difference
    if deviation is None or (seeds is None and difference is None):
        return None
    if deviation == 0:  # of the study, since the flag must be above 0
        raise UsageError(
            f"{arguments.study}: the differences of methods do not vary over the seeds, so the paired t test does not apply "
            "to them; give --deviation"
        )
    answer: dict[str, Any] = {"deviation": deviation}
    if seeds is not None:
        smallest = power.smallest_of_seeds(seeds, deviation, arguments.power)
        answer |= {"seeds": seeds, "smallest_difference": smallest}
    if difference is not None:
        answer["seeds_needed"] = power.seeds_needed(difference, deviation, arguments.power)
        if seeds is not None:
            answer["power"] = power.power_of_seeds(seeds, difference, deviation)
    return answer


def _votes(arguments: argparse.Namespace) -> list[dict[str, Any]] | None:
    if arguments.agreement is None:
        return None
    accuracy = power.voter_accuracy(arguments.agreement)
    answer = []
    for votes in arguments.votes or VOTES:
        error = power.majority_error(votes, accuracy)
        images = power.images_for_noise(arguments.half_width, arguments.noise_level, error)
        answer.append(
            {"votes": votes, "voter_accuracy": accuracy, "error": error, "images": images, "total": images * votes}
        )  # fmt: skip
    return answer


def _points(difference: float | None, why_none: str) -> str:
    return f"none; {why_none}" if difference is None else f"{100 * difference:.2f} points"


def _images_text(answer: dict[str, Any], arguments: argparse.Namespace) -> str:
    lines = ["Test images, for two networks tested on the same images (McNemar's test):"]
    origin = "given" if arguments.disagreement is not None else "independent errors; real ones disagree less"
    lines.append(
        f"  assumed: exactly one is right on {100 * answer['disagreement']:.1f} % of them ({origin})"
    )
    if "images" in answer:
        low, high = answer["interval"]
        lines += [
            f"  an accuracy of {answer['accuracy']:.1%} on {answer['images']:,} images has the 95 % interval "
            f"[{low:.1%}, {high:.1%}]",
            f"  smallest difference found with a probability of {arguments.power:.0%}: "
            f"{_points(answer['smallest_difference'], 'these are too few images')}",
        ]
    if "power" in answer:
        difference = 100 * arguments.difference
        lines.append(
            f"  a difference of {difference:g} points is found with a probability of {answer['power']:.0%}"
        )
    if "images_needed" in answer:
        lines.append(
            f"  images needed for {100 * arguments.difference:g} points: {answer['images_needed']:,}"
        )
    return "\n".join(lines)


def _seeds_text(answer: dict[str, Any], arguments: argparse.Namespace) -> str:
    lines = ["Seeds, for two methods with a run per seed (paired t test):"]
    lines.append(
        f"  assumed: over seeds their difference has a standard deviation of {100 * answer['deviation']:.2f} points"
    )
    if "seeds" in answer:
        lines.append(
            f"  smallest difference found by {answer['seeds']} seeds with a probability of {arguments.power:.0%}: "
            f"{_points(answer['smallest_difference'], 'the test needs at least two seeds')}"
        )
    if "power" in answer:
        lines.append(
            f"  a difference of {100 * arguments.difference:g} points is found with a probability of {answer['power']:.0%}"
        )
    if "seeds_needed" in answer:
        lines.append(f"  seeds needed for {100 * arguments.difference:g} points: {answer['seeds_needed']:,}")
    return "\n".join(lines)


def _votes_text(answer: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    head = ["votes per image", "verdicts wrong, %", "images", "total votes"]
    rows = [
        [str(row["votes"]), f"{100 * row['error']:.1f}", f"{row['images']:,}", f"{row['total']:,}"]
        for row in answer
    ]
    first = (
        f"Votes, for a noise level near {100 * arguments.noise_level:g} % with an interval of "
        f"± {100 * arguments.half_width:g} points:"
    )
    agree = (
        f"  assumed: {arguments.agreement:.0%} of pairs of votes agree, so a voter is right in "
        f"{answer[0]['voter_accuracy']:.1%} of cases"
    )
    cheapest = min(answer, key=lambda row: row["total"])
    last = f"  fewest votes: {cheapest['images']:,} images with {cheapest['votes']} each"
    return "\n".join([first, agree, *(f"  {line}" for line in aligned([head, *rows])), last])


_TEXT: dict[str, Any] = {"test_images": _images_text, "seeds": _seeds_text, "votes": _votes_text}
