"""What the plan of a dataset says about its sets."""

import pytest

from pipeline.shards.plan import SetPlan, below_level


def plan(level: float, counts: list[tuple[int, int]], on_shortage: str = "cap") -> SetPlan:
    classes = [{"rows": rows, "noisy": noisy} for rows, noisy in counts]
    facts = {"noise_level": level, "on_shortage": on_shortage, "classes": classes}
    return SetPlan("red", sum(rows for rows, _ in counts), facts)


@pytest.mark.parametrize("lacking", [1, 2, 5])
def test_a_set_in_which_one_of_many_classes_lacks_images_is_named(lacking: int) -> None:
    """The lack may be smaller than the number of classes."""
    capped = [(50, 5)] * 9 + [(50, 5 - lacking)]
    assert below_level([plan(0.1, capped)]) == [f"red {100 * (50 - lacking) / 500:.1f} %"]


@pytest.mark.parametrize(
    "each",
    [
        plan(0.1, [(50, 5)] * 10),
        plan(0.25, [(33, 8), (33, 8), (33, 9)]),  # rounded in each class and in all
        plan(0.0, [(50, 0)]),
        plan(0.1, [(40, 3), (50, 5)], "shrink"),
        SetPlan("test", 9, {}),
    ],
)
def test_a_set_with_the_noise_of_its_level_is_not_named(each: SetPlan) -> None:
    assert below_level([each]) == []
