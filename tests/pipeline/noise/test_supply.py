"""The error about a shortage of wrong images gives the reasons."""

from collections.abc import Sequence

import pytest

from common.errors import DataError
from pipeline.noise_config import NoiseConfig
from tests.pipeline.noise.pool_tables import drawn_sets, part_of

NAMES = ["ant", "bee"]


def shortage(
    verdicts: dict[str, tuple[str, int]],
    colors: tuple[str, ...],
    method: str | None = None,
    removed: Sequence[str] = (),
    min_confidence: float = 0.0,
) -> str:
    """The error of a build with ten clean images of each class and these web images of the class ant."""
    rows = [{"image_id": f"c-{c}-{i}", "class_name": c, "source": "clean"} for c in NAMES for i in range(10)]
    rows += [
        {"image_id": i, "class_name": "ant", "source": "web", "method": method} for i in verdicts
    ]  # fmt: skip
    judged = [
        {
            "image_id": i,
            "class_name": "ant",
            "verdict": verdict,
            "yes": 0,
            "no": votes,
            "unsure": 0,
            "confidence": 0.6,
        }
        for i, (verdict, votes) in verdicts.items()
        if verdict
    ]
    part = part_of(rows, judged, NAMES, removed, min_confidence, 3)
    config = NoiseConfig(levels=(0.4,), colors=colors)  # type: ignore[arg-type]
    with pytest.raises(DataError) as caught:
        drawn_sets(part, NAMES, config, 0)
    return str(caught.value)


def test_questions_with_too_few_votes_are_counted_with_the_limit() -> None:
    message = shortage(
        {f"w{i}": ("undecided", 2) for i in range(4)} | {"n": ("no", 3), "y": ("yes", 3)}, ("red",)
    )
    assert "ant: has 1 wrong images, 4 are needed (6 questions: 1 yes, 1 no, " in message
    assert "4 undecided with 2 votes or fewer (aggregate.min_votes is 3))" in message
    assert (
        "4 of 6 questions are undecided because they have fewer votes than aggregate.min_votes = 3" in message
    )


@pytest.mark.parametrize(
    ("verdicts", "options", "reason"),
    [
        ({"a": ("undecided", 4)}, {}, "1 questions: 1 undecided with 3 votes or more"),
        ({"a": ("", 0)}, {}, "1 questions: 1 without votes"),
        ({"a": ("no", 3)}, {"removed": ["a"]}, "1 questions: 1 near-duplicates or leaks, which are removed"),
        ({"a": ("no", 3)}, {"min_confidence": 0.9}, "1 no, 1 no, but below noise.min_confidence 0.9"),
        ({}, {}, "bee: has 0 wrong images, 4 are needed (no web image with this class was ingested)"),
    ],
)
def test_other_reasons_are_counted(verdicts, options, reason) -> None:
    assert reason in shortage(verdicts, ("red",), **options)


def test_a_list_without_methods_has_no_red_text() -> None:
    message = shortage({f"w{i}": ("no", 3) for i in range(9)}, ("red-text",))
    assert "0 of the wrong images have the method text" in message
    assert (
        "No row of the web lists has the method text: fill the column method, or leave red-text out"
        in message
    )
    assert "No wrong image is known to show another class: ask about more classes" in shortage(
        {"a": ("no", 3)}, ("red-closed",)
    )
    assert "1 of the wrong images are not known to show another class" in shortage(
        {"a": ("no", 3)}, ("red-open",)
    )
    assert "No row" not in shortage({"a": ("no", 3)}, ("red-text",), "text")
