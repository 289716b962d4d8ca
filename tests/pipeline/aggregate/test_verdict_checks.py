"""Warnings about methods whose verdicts are suspicious."""

import numpy as np
import pytest

from pipeline.aggregate.verdict_checks import verdict_metrics, warnings
from schemas.verdict import VERDICT


def table(rows: list[tuple[str, int, int, float]]):
    names = ("verdict", "yes", "no", "p_wrong")
    return VERDICT.from_rows(
        dict(zip(names, row, strict=True)) | {"image_id": str(i), "class_name": "cat", "unsure": 0}
        for i, row in enumerate(rows)
    )


def found(rows: list[tuple[str, int, int, float]], model: float = 0.9) -> list[str]:
    counted = verdict_metrics(table(rows), np.full(len(rows), model))
    for verdict in ("yes", "no", "undecided"):
        counted[verdict] = sum(row[0] == verdict for row in rows)
    return list(warnings(counted, "dawid-skene"))


SOUND = [("no", 0, 3, 0.95)] * 60 + [("yes", 3, 0, 0.01)] * 60


def test_gold_questions_that_match_nothing_are_reported():
    assert list(warnings({"gold_questions": 1}, "majority")) == []
    (line,) = warnings({"gold_questions": 0}, "majority")
    assert line.startswith("no gold question matches a candidate or a clean image")


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        (SOUND, None),
        (SOUND + [("no", 2, 1, 0.95)] * 3, None),
        (SOUND + [("no", 2, 1, 0.95)] * 9, "overturns 9 of 129 strict majorities (7.0%; 9 from yes to no"),
        ([("yes", 3, 0, 0.01)] * 120, "all 120 verdicts of dawid-skene are yes"),
        ([("yes", 3, 0, 0.01)] * 50, None),  # too few to say
    ],
)
def test_a_method_that_overturns_majorities_or_has_one_verdict_is_reported(rows, part):
    lines = found(rows)
    assert len(lines) == (part is not None)
    assert part is None or part in lines[0]


def test_a_posterior_far_above_the_error_model_is_reported():
    (line,) = found([("no", 0, 3, 0.99)] * 110 + [("yes", 3, 0, 0.01)] * 9, model=0.6)
    assert "99.0%" in line
    assert "60.0%" in line


def test_sums_are_those_of_parts():
    rows = table([*SOUND, ("no", 2, 1, 0.4)])
    model = np.linspace(0, 1, rows.num_rows)
    whole = verdict_metrics(rows, model)
    parts = verdict_metrics(rows.slice(0, 50), model[:50]) + verdict_metrics(rows.slice(50), model[50:])
    assert {k: v for k, v in whole.items() if v} == {k: v for k, v in parts.items() if v}
