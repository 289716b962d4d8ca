import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.aggregate.retrieval_precision import precision_counts, precision_table
from pipeline.aggregate.wilson import wilson_interval
from schemas.retrieval_precision import RETRIEVAL_PRECISION


def world() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Text search is right at ranks below 10 and wrong above; image search is never judged."""
    rows = [(f"i{k}", name, "text", k) for name in ("cat", "dog") for k in range(25)]
    rows += [("j", "cat", "image", 3), ("k", "cat", None, None)]
    questions = pd.DataFrame(rows, columns=["image_id", "class_name", "method", "rank"])
    verdicts = questions[questions["method"] == "text"].copy()
    verdicts["verdict"] = ["yes" if rank < 10 else "no" for rank in verdicts["rank"]]
    return questions, verdicts.iloc[1:]  # i0 of cat had no votes


def test_precision_by_class_method_and_rank():
    table = precision_table([precision_counts(*world())])
    assert table.schema == RETRIEVAL_PRECISION.schema
    result = {(r["class_name"], r["method"], r["rank_from"], r["rank_to"]): r for r in table.to_pylist()}
    counts = {key: (row["yes"], row["no"], row["undecided"]) for key, row in result.items()}
    assert counts == {
        (None, "text", 0, 9): (19, 0, 1),
        (None, "text", 10, 19): (0, 20, 0),
        (None, "text", 20, 49): (0, 10, 0),
        (None, "image", 0, 9): (0, 0, 1),
        (None, None, None, None): (0, 0, 1),
        ("cat", "text", 0, 9): (9, 0, 1),
        ("cat", "text", 10, 19): (0, 10, 0),
        ("cat", "text", 20, 49): (0, 5, 0),
        ("cat", "image", 0, 9): (0, 0, 1),
        ("cat", None, None, None): (0, 0, 1),
        ("dog", "text", 0, 9): (10, 0, 0),
        ("dog", "text", 10, 19): (0, 10, 0),
        ("dog", "text", 20, 49): (0, 5, 0),
    }
    assert result["dog", "text", 0, 9]["precision"] == 1
    assert result["cat", "image", 0, 9]["precision"] is None
    # Wilson's interval of 10 out of 10 begins at 1 / (1 + z² / 10).
    assert result["dog", "text", 0, 9]["low"] == pytest.approx(1 / (1 + 1.959964**2 / 10))
    assert result["dog", "text", 0, 9]["high"] == pytest.approx(1)


def test_buckets_add_up():
    questions, verdicts = world()
    first = questions["image_id"] < "i2"
    parts = [precision_counts(questions[chosen], verdicts) for chosen in (first, ~first)]
    assert precision_table(parts).equals(precision_table([precision_counts(questions, verdicts)]))
    assert precision_table([]).num_rows == 0


@pytest.mark.parametrize("n", [20, 100, 1000])
def test_the_interval_of_a_share_has_its_nominal_coverage(n):
    """Over all shares from 5 to 95 % the coverage is 95 % in the mean, and 91 % at the least (Brown, Cai, DasGupta 2001)."""
    counts = np.arange(n + 1)
    _, low, high = wilson_interval(counts, np.full(n + 1, n))
    shares = np.linspace(0.05, 0.95, 181)
    held = (low <= shares[:, None]) & (shares[:, None] <= high)
    coverage = (stats.binom.pmf(counts, n, shares[:, None]) * held).sum(axis=1)
    assert coverage.mean() == pytest.approx(0.95, abs=0.01)
    assert coverage.min() > 0.91


def test_intervals_hold_their_share_and_are_shares():
    whole = np.repeat(np.arange(1, 400), 2)
    part = np.where(np.arange(len(whole)) % 2, whole, 0)
    share, low, high = wilson_interval(part, whole)
    assert ((low >= 0) & (low <= share) & (share <= high) & (high <= 1)).all()
    assert (low < high).all()
    assert np.isnan(wilson_interval(np.array([0]), np.array([0]))).all()
