"""Agreement beside published values, and beside scikit-learn for pairs of workers."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest

from pipeline.aggregate import agreement
from pipeline.aggregate.agreement import (
    MEASURES,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
    mean_cohen_kappa,
    with_intervals,
)
from pipeline.aggregate.agreement_table import agreement_table, cohen_by_class, vote_patterns
from pipeline.aggregate.methods.vote_matrix import VoteMatrix
from tests.pipeline.aggregate.agreement_simulation import asked, patterns, population
from tests.pipeline.aggregate.conftest import coded
from tests.pipeline.aggregate.crowd import random_votes

# Krippendorff (2011), section C: four observers, twelve units, missing answers; nominal alpha is 0.743.
OBSERVERS = [
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
]
# Fleiss (1971), table 1: 30 patients, six psychiatrists each, five diagnoses; kappa is 0.430.
PSYCHIATRISTS = """00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031 00501 30012
51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006"""


def one_sample(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return counts, np.ones((1, len(counts)))


def krippendorff() -> np.ndarray:
    units = zip(*(line.split() for line in OBSERVERS), strict=True)
    return np.array([[unit.count(str(answer)) for answer in range(1, 6)] for unit in units])


def fleiss() -> np.ndarray:
    return np.array([[int(digit) for digit in patient] for patient in PSYCHIATRISTS.split()])


def test_krippendorffs_example_with_missing_answers():
    assert krippendorff_alpha(*one_sample(krippendorff()))[0] == pytest.approx(0.743, abs=5e-4)


def test_fleiss_psychiatrists():
    assert fleiss().sum(axis=0).tolist() == [26, 26, 30, 55, 43]
    assert fleiss_kappa(*one_sample(fleiss()))[0] == pytest.approx(0.430, abs=5e-4)


def test_gwets_values_on_the_same_twelve_units():
    """Gwet's own package irrCAC, on `cac.raw4raters`: AC1 0.77544, Fleiss 0.76117, alpha 0.74342."""
    assert gwet_ac1(*one_sample(krippendorff()))[0] == pytest.approx(0.77544, abs=1e-5)
    assert fleiss_kappa(*one_sample(krippendorff()))[0] == pytest.approx(0.76117, abs=1e-5)
    assert krippendorff_alpha(*one_sample(krippendorff()))[0] == pytest.approx(0.74342, abs=1e-5)


def test_kappa_falls_where_all_answers_are_the_same_and_ac1_does_not():
    counts, questions = np.array([[0, 3], [1, 2], [3, 0]]), np.array([[970.0, 28, 2]])
    assert fleiss_kappa(counts, questions)[0] < 0.2
    assert gwet_ac1(counts, questions)[0] > 0.95


def test_many_votes_on_a_question_are_compared_by_a_sample(monkeypatch):
    """600 votes on each of 30 questions are 5.4 million pairs."""
    items, workers = np.repeat(np.arange(30), 600), np.tile(np.arange(600), 30)
    rng = np.random.default_rng(0)
    answers = np.where(rng.random(len(items)) < 0.8, items % 2, 1 - items % 2)
    votes = VoteMatrix.of(items, workers, answers, 2)
    tracemalloc.start()
    sampled = mean_cohen_kappa(votes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20
    assert mean_cohen_kappa(votes) == sampled
    assert sampled.low < 0.6**2 < sampled.high  # P(agree) = 0.68, half of it by chance

    some = VoteMatrix.of(items[workers < 50], workers[workers < 50], answers[workers < 50], 2)
    complete = mean_cohen_kappa(some)
    monkeypatch.setattr(agreement, "MAX_PAIRED_VOTES", 1000)
    assert mean_cohen_kappa(some) == complete, "few votes are all compared"


def test_patterns_are_the_questions_they_stand_for():
    counts = np.array([[3, 0, 0], [2, 1, 0], [0, 3, 1], [1, 1, 1]])
    often = np.array([5, 3, 8, 2])
    for measure in (krippendorff_alpha, fleiss_kappa, gwet_ac1):
        apart = measure(*one_sample(np.repeat(counts, often, axis=0)))
        assert measure(counts, often[None].astype(float)) == pytest.approx(apart)


def test_the_interval_is_that_of_a_bootstrap_over_questions():
    counts, often = np.array([[3, 0], [2, 1], [1, 2], [0, 3]]), np.array([60, 20, 15, 55])
    result = with_intervals(counts, often)["fleiss_kappa"]
    rng = np.random.default_rng(1)
    rows = np.repeat(counts, often, axis=0)
    drawn = [fleiss_kappa(*one_sample(rows[rng.integers(0, 150, 150)]))[0] for _ in range(2000)]
    assert result.low == pytest.approx(np.quantile(drawn, 0.025), abs=0.02)
    assert result.high == pytest.approx(np.quantile(drawn, 0.975), abs=0.02)
    assert result.low < result.value < result.high
    assert with_intervals(counts, often) == with_intervals(counts, often)


def test_cohens_example():
    """Cohen (1960), table 1: 200 patients, two judges, three diagnoses; kappa is 0.492."""
    table = np.array([[88, 14, 18], [10, 40, 10], [2, 6, 12]])
    first, second = np.nonzero(table)
    first, second = np.repeat(first, table[first, second]), np.repeat(second, table[np.nonzero(table)])
    items = np.tile(np.arange(200), 2)
    workers = np.repeat([0, 1], 200)
    votes = VoteMatrix.of(items, workers, np.concatenate([first, second]), 3)
    assert mean_cohen_kappa(votes).value == pytest.approx(0.492, abs=5e-4)


def grid(votes: VoteMatrix) -> np.ndarray:
    """Answers by item and worker; -1 where a worker has not answered."""
    table = np.full((votes.n_items, votes.n_workers), -1)
    table[votes.items, votes.workers] = votes.answers
    return table


def both(table: np.ndarray) -> list[np.ndarray]:
    """Of each pair of workers their answers (n, 2) to common questions."""
    pairs = combinations(range(table.shape[1]), 2)
    return [table[(table[:, pair] >= 0).all(axis=1)][:, pair] for pair in map(list, pairs)]


def test_the_mean_over_pairs_is_that_of_scikit_learns_kappas():
    kappa = pytest.importorskip("sklearn.metrics").cohen_kappa_score
    votes = random_votes(4, items=60, workers=6, classes=3, unsure=True, share=1)
    pairs = both(grid(votes))
    expected = np.average([kappa(*pair.T) for pair in pairs], weights=[len(pair) for pair in pairs])
    assert mean_cohen_kappa(votes).value == pytest.approx(expected)


def test_the_table_has_all_classes_and_each():
    votes = [(f"i{k}", name, f"w{w}", answer, None) for name in ("cat", "dog") for k in range(9)
             for w, answer in enumerate(["yes", "yes", "no"] if k % 3 == 0 else [["yes", "no"][k % 2]] * 3)]  # fmt: skip
    rows = coded(votes)
    halves = [coded([vote for vote in votes if (vote[0] < "i4") == first]) for first in (True, False)]
    table = agreement_table([vote_patterns(half) for half in halves], cohen_by_class(rows))
    assert table.equals(agreement_table([vote_patterns(rows)], cohen_by_class(rows)))
    result = {(row["class_name"], row["measure"]): row for row in table.to_pylist()}
    assert {name for name, _ in result} == {None, "cat", "dog"}
    whole, cat = result[None, "krippendorff_alpha"], result["cat", "krippendorff_alpha"]
    assert (whole["questions"], whole["votes"]) == (18, 54)
    assert whole["low"] <= whole["value"] <= whole["high"]
    assert cat["low"] < whole["low"]
    assert result[None, "mean_cohen_kappa"]["value"] == pytest.approx(whole["value"], abs=0.2)
    assert agreement_table([]).num_rows == 0


def test_one_answer_throughout_is_not_defined():
    table = agreement_table([vote_patterns(coded([("a", "cat", f"w{k}", "no", None) for k in range(3)]))])
    values = {row["measure"]: row["value"] for row in table.to_pylist() if row["class_name"] is None}
    assert values == {"krippendorff_alpha": None, "fleiss_kappa": None, "gwet_ac1": 1.0}


def test_the_interval_of_cohens_mean_is_that_of_a_bootstrap_over_questions():
    def mean_kappa(table: np.ndarray) -> float:
        pairs = both(table)
        observed = np.array([(pair[:, 0] == pair[:, 1]).mean() for pair in pairs])
        chance = np.array(
            [sum((pair == answer).mean(axis=0).prod() for answer in range(2)) for pair in pairs]
        )
        return np.average((observed - chance) / (1 - chance), weights=[len(pair) for pair in pairs])

    votes = random_votes(4, items=150, workers=5, classes=2, share=1)
    result, table = mean_cohen_kappa(votes), grid(votes)
    assert result.value == pytest.approx(mean_kappa(table))
    rng = np.random.default_rng(1)
    drawn = [mean_kappa(table[rng.integers(0, 150, 150)]) for _ in range(200)]
    assert result.low == pytest.approx(np.quantile(drawn, 0.025), abs=0.03)
    assert result.high == pytest.approx(np.quantile(drawn, 0.975), abs=0.03)


@pytest.mark.parametrize(
    ("workers", "items", "prior", "skills"),
    [
        (40, 200, [0.5, 0.5], (0.6, 0.95)),
        (100, 400, [0.2, 0.3, 0.5], (0.6, 0.95)),
        (40, 400, [0.9, 0.1], (0.6, 0.95)),
        (10, 20, [0.5, 0.5], (0.95, 0.99)),
    ],
    ids=["pairs share a question", "pairs share less than one", "a rare answer", "few questions, agreed"],
)
def test_the_intervals_hold_the_value_of_the_population_as_often_as_they_say(workers, items, prior, skills):
    """The longer run with more designs is benchmarks/interval_coverage.py."""
    rng, prior = np.random.default_rng(0), np.array(prior)
    skill = rng.uniform(*skills, workers)
    large = patterns(asked(rng, skill, prior, 200_000))
    truths = {
        name: float(measure(large[0], large[1][None].astype(float))[0]) for name, measure in MEASURES.items()
    }
    truths["mean_cohen_kappa"] = population(skill, prior)
    held = dict.fromkeys(truths, 0)
    for _ in range(60):
        votes = asked(rng, skill, prior, items)
        result = with_intervals(*patterns(votes)) | {"mean_cohen_kappa": mean_cohen_kappa(votes)}
        for name, interval in result.items():
            held[name] += interval.low <= truths[name] <= interval.high
    # Of 60 intervals that hold it in 95 % of all cases, fewer than 51 do so once in two hundred runs.
    assert {name: count for name, count in held.items() if count < 51} == {}


@pytest.mark.parametrize("questions", [1, 2, 20, 500])
@pytest.mark.parametrize(("one", "other"), [((3, 0), (0, 3)), ((2, 1), (2, 1)), ((4, 0), (4, 0))])
def test_equal_questions_leave_an_interval(one, other, questions):
    """A sample without a disagreement says that disagreements are rare, not that there are none."""
    result = with_intervals(np.array([one, other]), np.array([questions - questions // 2, questions // 2]))
    defined = [each for each in result.values() if not np.isnan(each.value)]
    assert defined
    for each in defined:
        if questions > 1 or not np.isnan(each.low):  # alpha of a single question is 0 whatever the votes
            assert each.low <= each.value <= each.high
            assert each.low < each.high
            assert questions < 500 or each.high - each.low < 0.1


def test_workers_who_always_agree_have_an_interval_of_cohens_mean():
    def interval(questions: int) -> agreement.AgreementEstimate:
        items, workers = np.repeat(np.arange(questions), 2), np.tile(np.arange(2), questions)
        return mean_cohen_kappa(VoteMatrix.of(items, workers, items % 2, 2))

    few, many = interval(12), interval(400)
    assert few.value == few.high == many.value == many.high == 1
    assert few.low < 0.8 < 0.97 < many.low < 1


def test_ac1_counts_the_answers_that_were_offered():
    votes = [
        (f"i{k}", "cat", f"w{w}", "yes" if (k + w) % 3 else "no", None) for k in range(30) for w in range(3)
    ]

    def ac1(*more: tuple, offered: bool | None = None) -> tuple[float, str]:
        table = agreement_table([vote_patterns(coded([*votes, *more]))], unsure_offered=offered)
        (row,) = [r for r in table.to_pylist() if (r["class_name"], r["measure"]) == (None, "gwet_ac1")]
        return row["value"], row["answers"]

    counts = np.array([[2, 1]])
    two, three = (gwet_ac1(part, np.array([[30.0]]))[0] for part in (counts, np.array([[2, 1, 0]])))
    assert two < three
    assert ac1() == ac1(offered=False) == (pytest.approx(two), "yes, no")
    assert ac1(offered=True) == (pytest.approx(three), "yes, no, unsure")
    assert ac1(("x", "cat", "w1", "unsure", None))[1] == "yes, no, unsure"
    assert ac1(("x", "cat", "w1", "unsure", None), offered=False)[1] == "yes, no, unsure"


def test_cohen_of_a_class_is_that_of_its_questions_alone():
    votes = [(f"i{k}", name, f"w{w}", "yes" if (k + (w if name == "dog" else 0)) % 2 else "no", None)
             for name in ("cat", "dog") for k in range(9) for w in range(3)]  # fmt: skip
    result = cohen_by_class(coded(votes))
    assert result["cat"].value == 1
    assert result["dog"].value < 0
    assert result["dog"].value < result[None].value < 1
    assert np.isnan(cohen_by_class(coded([]))[None].value)
