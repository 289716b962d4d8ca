"""The error model: likelihoods against scipy, estimates against the measured errors of real votes, gold, determinism."""

from dataclasses import replace
from itertools import combinations_with_replacement, product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from benchmarks.true_noise import CLASSES, WORLDS, World, choose, run, vote
from pipeline.aggregate.error_estimates import (
    fit_error_model,
    p_wrong_of_votes,
    sample_images,
    tabulate_draws,
)
from pipeline.aggregate.error_model import ErrorModel, fit
from pipeline.aggregate.methods.posterior import UNKNOWN
from pipeline.aggregate.vote_columns import VoteColumns
from pipeline.aggregate.vote_likelihood import (
    SHARED_IMAGES,
    ImageVotes,
    VoteKind,
    _beta_binomial,
    priors,
    shown_probabilities,
)


@given(st.integers(0, 9), st.integers(0, 9), st.floats(0.02, 0.98), st.floats(0.01, 0.9))
def test_the_beta_binomial_is_that_of_scipy(k, more, mean, correlation):
    total = 1 / correlation - 1
    expected = betabinom.logpmf(k, k + more, mean * total, (1 - mean) * total)
    result = _beta_binomial(np.array([k]), np.array([k + more]), mean, correlation)
    assert result[0] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def images(patterns: list[list[tuple[int, int, int]]], classes: int, is_choice: bool) -> ImageVotes:
    counts = np.array([row for pattern in patterns for row in pattern])
    codes = np.repeat(np.arange(len(patterns)), [len(pattern) for pattern in patterns])
    return ImageVotes.of(counts, codes, classes, VoteKind(is_choice, unlisted=False))


def test_the_probabilities_of_all_binary_votes_sum_to_one():
    answers = [(y, n, 3 - y - n) for y in range(4) for n in range(4 - y)]
    patterns = [list(pair) for pair in product(answers, answers)]
    votes = images(patterns, 5, is_choice=False)
    log_likelihood, _, _ = shown_probabilities(priors(votes)[0] + 0.3, votes)
    assert np.exp(log_likelihood).sum() == pytest.approx(1, abs=1e-6)


def test_the_probabilities_of_all_choices_sum_to_one():
    classes, votes_each = 4, 3
    patterns, ways = [], []
    for chosen in combinations_with_replacement(range(classes), votes_each):
        counts = np.bincount(chosen, minlength=classes)
        patterns.append([(int(k), votes_each - int(k), 0) for k in counts if k])
        ways.append(1)
    votes = images(patterns, classes, is_choice=True)
    log_likelihood, _, _ = shown_probabilities(priors(votes)[0], votes)
    assert np.exp(log_likelihood) @ np.array(ways) == pytest.approx(
        1, abs=2e-3
    )  # unasked classes get 0.001 more


def cifar_10n() -> tuple[ImageVotes, np.ndarray]:
    """The votes on 40,000 images of CIFAR-10N, by pattern: three workers chose one of ten classes for each."""
    patterns = [[(3, 0, 0)], [(2, 1, 0), (1, 2, 0)], [(1, 2, 0)] * 3]
    numbers = (2423, 1340, 237)
    votes = images([p for p, n in zip(patterns, numbers, strict=True) for _ in range(n)], 10, is_choice=True)
    return votes, np.arange(len(votes.counts)) % 10


def test_it_finds_the_measured_errors_of_cifar_10n():
    """Share of pairs whose image shows the class by CIFAR-10's labels: 3 of 3 votes .990, 2 .879, 1 .092 or .300."""
    votes, labels = cifar_10n()
    assert votes.with_kind(class_answers=False).kind == VoteKind(choices=True, unsure=False, unlisted=False)
    shown = 1 - fit(votes, labels, np.full(len(labels), UNKNOWN)).p_wrong(
        votes, labels, np.full(len(labels), UNKNOWN)
    )
    sizes, yes = votes.sizes[votes.image], votes.counts[:, 0]
    for size, number, measured in ((1, 3, 0.990), (2, 2, 0.879), (2, 1, 0.092), (3, 1, 0.300)):
        assert shown[(sizes == size) & (yes == number)].mean() == pytest.approx(measured, abs=0.02)


def test_a_few_images_of_two_classes_leave_the_estimates_of_the_others():
    """Their questions look like choices: all say yes to one class, and nobody to the other."""
    patterns = [[(3, 0, 0)]] * 300 + [[(2, 1, 0)]] * 60 + [[(0, 3, 0)]] * 140

    def p_wrong(*more: list[tuple[int, int, int]]) -> np.ndarray:
        votes = images([*patterns, *more], 6, is_choice=False).with_kind(class_answers=False)
        labels, gold = np.arange(len(votes.counts)) % 6, np.full(len(votes.counts), UNKNOWN)
        return fit(votes, labels, gold).p_wrong(votes, labels, gold)[:500]

    np.testing.assert_allclose(p_wrong(), p_wrong(*[[(3, 0, 0), (0, 3, 0)]] * 3), atol=0.02)


def test_answers_by_classes_are_choices_where_many_images_have_several_questions():
    patterns = [[(2, 1, 0)]] * 300 + [[(2, 1, 0), (0, 3, 0)]] * SHARED_IMAGES
    votes = images(patterns, 6, is_choice=False)
    assert votes.with_kind(class_answers=True).kind == VoteKind(choices=True, unsure=False, unlisted=True)
    assert not votes.with_kind(class_answers=False).kind.choices
    assert not images(patterns[:-1], 6, is_choice=False).with_kind(class_answers=True).kind.choices
    twice = images([*patterns, [(2, 1, 0), (2, 1, 0)]], 6, is_choice=False)
    assert not twice.with_kind(class_answers=True).kind.choices, "a worker has said yes to both"


@pytest.mark.parametrize(
    "world", [World(images=200, unsure=0.05), World(images=300, class_answers=True, listed_twice=0.5)]
)
def test_estimates_do_not_depend_on_the_other_votes_of_a_bucket(world):
    votes, _ = (choose if world.class_answers else vote)(world, 0)
    gold = np.full(votes.questions.num_rows, UNKNOWN)
    model = fit_error_model([sample_images(votes, gold, 10)], CLASSES, world.class_answers)
    assert model is not None
    assert model.kind.choices == world.class_answers
    whole = p_wrong_of_votes(model, votes, gold, CLASSES)
    images = votes.questions["image_id"].to_pylist()
    for name in sorted(set(images))[:40]:
        rows = [row for row, image in enumerate(images) if image == name]
        kept = np.isin(votes.items, rows)
        part = replace(
            votes,
            questions=votes.questions.take(pa.array(rows)),
            items=(votes.items[kept] - rows[0]).astype(np.int32),
            voters=votes.voters[kept],
            answers=votes.answers[kept],
        )
        np.testing.assert_array_equal(p_wrong_of_votes(model, part, gold[rows], CLASSES), whole[rows])


def test_classes_of_choices_exclude_each_other():
    votes, _ = cifar_10n()
    _, shown, _ = shown_probabilities(priors(votes)[0], votes)
    assert (np.add.reduceat(shown, votes.starts) <= 1 + 1e-9).all()


COUNTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=5)


@given(st.lists(COUNTS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_probabilities_do_not_depend_on_the_order_of_questions_and_images(patterns, dice):
    votes = images(patterns, 6, is_choice=False)
    _, shown, before = shown_probabilities(priors(votes)[0], votes)
    assert ((shown >= 0) & (shown <= 1) & (before > 0) & (before < 1)).all()
    shuffled = [dice.sample(pattern, len(pattern)) for pattern in dice.sample(patterns, len(patterns))]
    again = images(shuffled, 6, is_choice=False)
    _, other, _ = shown_probabilities(priors(again)[0], again)
    np.testing.assert_allclose(np.sort(shown), np.sort(other), atol=1e-12)
    assert votes.distinct().weights.sum() == len(patterns)


@given(st.integers(0, 4), st.integers(0, 4))
def test_another_vote_no_makes_it_more_probably_wrong(yes, no):
    votes = images([[(yes, no, 0)], [(yes, no + 1, 0)]], 6, is_choice=False)
    _, shown, _ = shown_probabilities(priors(votes)[0], votes)
    assert shown[1] < shown[0]


def p_wrong_column(model: ErrorModel | None, votes: VoteColumns, gold: np.ndarray) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(p_wrong_of_votes(model, votes, gold, CLASSES), pa.float32())])


def halves(rows: pa.Table) -> list[pa.Table]:
    return [rows.slice(rows.num_rows // 3), rows.slice(0, rows.num_rows // 3)]


def test_the_fit_does_not_depend_on_how_votes_are_divided_into_buckets():
    votes, _ = vote(World(images=200, asked=2), 0)
    gold = np.full(votes.questions.num_rows, UNKNOWN)
    sample = sample_images(votes, gold, 10)
    whole, parts = fit_error_model([sample], CLASSES), fit_error_model(halves(sample), CLASSES)
    rows = sample_images(votes, gold, 10, p_wrong_column(whole, votes, gold))
    assert tabulate_draws(whole, [rows], CLASSES).equals(tabulate_draws(parts, halves(rows), CLASSES))
    results = [p_wrong_of_votes(each, votes, gold, CLASSES) for each in (whole, parts)]
    np.testing.assert_array_equal(*results)


def test_a_large_build_is_sampled_by_image_and_gold_is_always_in_the_sample():
    votes, _ = vote(World(images=400, asked=2), 0)
    gold = np.full(votes.questions.num_rows, UNKNOWN)
    gold[:4] = 1
    rows = sample_images(votes, gold, 1 << 20)
    assert 0.05 * votes.questions.num_rows < rows.num_rows < 0.25 * votes.questions.num_rows
    assert (rows["known"].to_numpy() >= 0).sum() == 4
    chosen = set(rows["image_id"].to_pylist())
    assert rows.num_rows == sum(name in chosen for name in votes.questions["image_id"].to_pylist())


def test_gold_questions_keep_their_answer_and_correct_the_others():
    world = World(images=800, shared=0.25)
    votes, shows = vote(world, 1)
    unknown = np.full(len(shows), UNKNOWN)
    gold = unknown.copy()
    gold[::2] = np.where(shows[::2], 0, 1)
    truth = ~shows[1::2]
    blind, informed = (
        p_wrong_of_votes(fit_error_model([sample_images(votes, each, 1)], CLASSES), votes, each, CLASSES)
        for each in (unknown, gold)
    )
    np.testing.assert_array_equal(informed[::2], ~shows[::2])
    assert abs(informed[1::2].mean() - truth.mean()) < abs(blind[1::2].mean() - truth.mean())


def test_without_votes_nothing_is_estimated():
    votes, _ = vote(World(images=5), 0)
    model = fit_error_model([], CLASSES)
    assert tabulate_draws(model, [], CLASSES).num_rows == 0
    gold = np.full(votes.questions.num_rows, UNKNOWN)
    assert np.isnan(p_wrong_of_votes(model, votes, gold, CLASSES)).all()


@pytest.mark.parametrize("name", ["average", "several classes"])
def test_the_interval_of_the_true_noise_covers_the_truth_of_simulated_worlds(name):
    outcomes = [run(replace(WORLDS[name], images=1000), seed) for seed in range(4)]
    assert sum(outcome.is_covered for outcome in outcomes) >= 3
    assert all(outcome.high - outcome.low < 0.15 for outcome in outcomes)


def test_draws_are_those_of_the_questions_to_which_the_method_gives_a_p_wrong():
    """The method calls all images with 0 of 3 votes yes 97 % wrong; the model draws something else, and that is the row."""
    votes, _ = vote(World(images=300), 0)
    gold = np.full(votes.questions.num_rows, UNKNOWN)
    model = fit_error_model([sample_images(votes, gold, 10)], CLASSES)
    yes = votes.counts()[:, 0]
    by_method = pa.chunked_array([pa.array(np.where(yes == 0, 0.97, 0.04), pa.float32())])
    own = p_wrong_column(model, votes, gold)
    table = tabulate_draws(model, [sample_images(votes, gold, 10, by_method)], CLASSES).to_pylist()
    drawn = {row["p_wrong_percent"]: row for row in table if row["class_name"] is None}
    assert {percent: row["questions"] for percent, row in drawn.items()} == {
        97: (yes == 0).sum(),
        4: (yes > 0).sum(),
    }
    assert np.mean(drawn[97]["draws"]) == pytest.approx(own.to_numpy()[yes == 0].mean(), abs=0.05)
    assert np.mean(drawn[4]["draws"]) == pytest.approx(own.to_numpy()[yes > 0].mean(), abs=0.05)


@pytest.mark.parametrize(("name", "gold"), [("hard questions", 0), ("spammers", 200)])
def test_the_interval_covers_the_truth_where_a_method_is_too_sure(name, gold):
    outcomes = [run(replace(WORLDS[name], images=1500), seed, gold, "dawid-skene") for seed in range(4)]
    assert all(outcome.value > outcome.true for outcome in outcomes)
    assert sum(outcome.is_covered for outcome in outcomes) >= 3
