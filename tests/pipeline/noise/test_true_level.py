"""The expected true noise of sets: sums over parts, intervals, and labels without an estimate."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.noise.examples import ExamplePool, as_examples
from pipeline.noise.true_level import TrueLevels, describe, describe_sets, millionths_wrong
from schemas.error_model import ERROR_MODEL

CLASSES = ("cat", "dog")
NO_MODEL = ERROR_MODEL.schema.empty_table()
EXAMPLES = st.lists(
    st.tuples(st.integers(0, 1), st.booleans(), st.none() | st.integers(0, 100)), min_size=1, max_size=30
)


def pool(rows: list[tuple[int, bool, int | None]]) -> ExamplePool:
    """Rows are label, is_clean, p_wrong in percent."""
    labels, clean, percent = zip(*rows, strict=True)
    table = as_examples(
        pa.table({"label": pa.array(labels, pa.int64()), "is_clean": pa.array(clean, pa.bool_())}),
        source="web",
        p_wrong=pa.array([None if p is None else p / 100 for p in percent], pa.float32()),
    )
    index = np.arange(len(rows))
    return ExamplePool(table, index.astype(np.uint64), {"red": index})


def estimate(*parts, model: pa.Table = NO_MODEL):
    levels = TrueLevels(model, CLASSES)
    for part in parts:
        levels.add(pool(part))
    return levels.estimate("red")


@given(EXAMPLES, st.integers(0, 30))
def test_it_is_the_sum_of_p_wrong_and_parts_add_up(rows, cut):
    whole = estimate(rows)
    if all(p is None for _, _, p in rows):
        assert whole is None
        return
    expected = sum((not is_clean) if p is None else p / 100 for _, is_clean, p in rows) / len(rows)
    assert whole["value"] == pytest.approx(expected, abs=1e-4)
    assert millionths_wrong(pool(rows).table) / 1e6 / len(rows) == pytest.approx(expected, abs=1e-5)
    assert 0 <= whole["low"] <= whole["value"] <= whole["high"] <= 1
    parts = [part for part in (rows[:cut], rows[cut:]) if part]
    assert estimate(*parts) == whole
    assert set(whole["classes"]) == {CLASSES[label] for label, _, _ in rows}


def test_without_uncertainty_of_the_model_the_interval_is_the_binomial_one():
    found = estimate([(0, False, 80)] * 1000)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert found["value"] == 0.8
    assert found["low"] == pytest.approx(0.8 - half, abs=1e-3)
    assert found["high"] == pytest.approx(0.8 + half, abs=1e-3)


def model(**draws: list[float]) -> pa.Table:
    rows = [
        {
            "class_name": None if name == "all" else name,
            "p_wrong_percent": 80,
            "questions": 9,
            "draws": values,
        }
        for name, values in draws.items()
    ]
    return ERROR_MODEL.from_rows(rows)


def test_the_uncertainty_of_the_model_is_that_of_all_images_together_and_of_each_class():
    draws = model(all=[0.7, 0.9], dog=[0.5, 0.6])
    found = estimate([(0, False, 80)] * 100_000, model=draws)
    assert (found["low"], found["high"]) == pytest.approx((0.7, 0.9), abs=0.01)
    of_dog = estimate([(1, False, 80)] * 100_000, model=draws)["classes"]["dog"]
    assert of_dog["low"] == pytest.approx(0.5, abs=0.01)
    other = estimate(
        [(0, False, 60)] * 100_000, model=draws
    )  # a percent that the sample lacks: shifted likewise
    assert (other["low"], other["high"]) == pytest.approx((0.5, 0.7), abs=0.01)


def test_web_images_of_fixed_sets_with_the_verdict_yes_count_too():
    """Half of the set is clean images, half web images with the verdict yes, of which a tenth is wrong."""
    found = estimate([(0, True, None)] * 50 + [(0, True, 10)] * 50)
    assert found["value"] == 0.05
    assert found["low"] < 0.05 < found["high"]


@pytest.mark.parametrize(
    ("value", "millionths"),
    [(np.inf, 3_000_000), (-np.inf, 1_000_000), (1e30, 3_000_000), (np.nan, 2_000_000)],
)
def test_a_p_wrong_that_is_no_probability_gives_a_number(value, millionths):
    table = pool([(0, False, None), (0, False, 0), (1, True, 0)]).table
    column = pa.array([None, value, value], pa.float32())
    table = table.set_column(table.column_names.index("p_wrong"), "p_wrong", column)
    assert millionths_wrong(table) == millionths


def test_lines_for_people():
    entry = {"noise_level": 0.4, "estimated_noise": {"value": 0.3512, "low": 0.3391, "high": 0.364}}
    assert describe(0.4, entry["estimated_noise"]) == "nominal 40.0 %, estimated 35.1 % (33.9–36.4)"
    lines = describe_sets({"red-0.40": entry, "blue-0.40": {"noise_level": 0.4}})
    assert lines[0] == "red-0.40: nominal 40.0 %, estimated 35.1 % (33.9–36.4)"
    assert "taken as right" in lines[-1]
    assert describe_sets({"blue-0.40": {"noise_level": 0.4}}) == []
