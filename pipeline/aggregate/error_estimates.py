"""Apply the error model to tables of votes: the sample that it is fitted to, `p_wrong` of verdicts, and their uncertainty."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from pipeline.aggregate.error_model import BINS, ErrorModel, fit
from pipeline.aggregate.methods.posterior import UNKNOWN
from pipeline.aggregate.vote_columns import QUESTION, VoteColumns, codes_of
from pipeline.aggregate.vote_likelihood import ImageVotes, VoteKind
from pipeline.keyed_hash import keyed_hash
from schemas.error_model import ERROR_MODEL
from schemas.vote import ANSWERS

SAMPLE_QUESTIONS = 1 << 17  # questions about the images that the model is fitted to, about at most
SAMPLE = pa.schema(
    [
        *((name, pa.string()) for name in QUESTION),
        *((name, pa.int32()) for name in ANSWERS),
        ("known", pa.int8()),
        ("p_wrong", pa.float32()),
    ]
)


def sample_images(
    votes: VoteColumns, gold: np.ndarray, questions: int, p_wrong: pa.ChunkedArray | None = None
) -> pa.Table:
    """Return the questions about a sample of images, a table of SAMPLE.

    gold: int (n,), `gold_codes` of the questions; images with gold questions are always in the sample. questions: number of
    all questions of the build. p_wrong: (n,), of the verdicts, which `tabulate_draws` needs. The sample depends on the image
    ids only.
    """
    share = min(1.0, SAMPLE_QUESTIONS / max(questions, 1))
    images, ids = codes_of(votes.questions["image_id"])
    chosen = keyed_hash(ids.to_pylist(), 0, "error-model") <= np.uint64(share * (2**64 - 2**11))
    chosen[images[gold != UNKNOWN]] = True
    counts = votes.counts()
    columns = [
        *(votes.questions[name].cast(pa.string()) for name in QUESTION),
        *(counts[:, code] for code in range(len(ANSWERS))),
        gold,
        pa.nulls(len(gold), pa.float32()) if p_wrong is None else p_wrong,
    ]
    rows = pa.table(
        [
            column.combine_chunks() if isinstance(column, pa.ChunkedArray) else pa.array(column)
            for column in columns
        ],
        names=SAMPLE.names,
    )
    return rows.cast(SAMPLE).filter(pa.array(chosen[images]))


def fit_error_model(
    parts: Sequence[pa.Table], classes: Sequence[str], class_answers: bool = False
) -> ErrorModel | None:
    """Fit the model to the samples of all buckets, in any order; None without votes.

    class_answers: whether the workers answered by names of classes.
    """
    sample = _joined(parts)
    if not sample.num_rows:
        return None
    votes, labels, gold = _decode(sample, classes)
    return fit(votes.with_kind(class_answers), labels, gold)


def tabulate_draws(model: ErrorModel | None, parts: Sequence[pa.Table], classes: Sequence[str]) -> pa.Table:
    """Return the mean draws of the model by class and `p_wrong` of the verdict, in percent: a table of ERROR_MODEL.

    parts: the samples of all buckets, in any order, with `p_wrong`. The method that gives the verdicts may have estimated it:
    a row then says what the votes support for the questions of which the method says so.
    """
    sample = _joined(parts)
    if model is None or not sample.num_rows:
        return ERROR_MODEL.schema.empty_table()
    votes, labels, gold = _decode(sample, classes)
    asked = gold == UNKNOWN
    percent = np.rint(sample["p_wrong"].to_numpy().astype(np.float64) * BINS).astype(np.int64)
    draws = model.draws(replace(votes, kind=model.kind), labels)
    whole = _mean_draws(np.zeros_like(labels), percent, draws, asked, [None])
    return pa.concat_tables([whole, _mean_draws(labels, percent, draws, asked, list(classes))])


def p_wrong_of_votes(
    model: ErrorModel | None, votes: VoteColumns, gold: np.ndarray, classes: Sequence[str]
) -> np.ndarray:
    """Return `p_wrong` of the questions of `votes`, float64 (n,); NaN without a model."""
    if model is None or not votes.questions.num_rows:
        return np.full(votes.questions.num_rows, np.nan)
    counts = votes.counts()
    images, _ = codes_of(votes.questions["image_id"])
    order = np.argsort(images, kind="stable")
    labels = _labels(votes.questions["class_name"], classes)[order]
    grouped = ImageVotes.of(counts[order], images[order], len(classes), model.kind)
    result = np.empty(len(order))
    result[order] = model.p_wrong(grouped, labels, gold[order])
    return result


def _joined(parts: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all samples, ordered by question."""
    sample = pa.concat_tables([SAMPLE.empty_table(), *parts])
    return sample.sort_by([(name, "ascending") for name in QUESTION]).combine_chunks()


def _decode(sample: pa.Table, classes: Sequence[str]) -> tuple[ImageVotes, np.ndarray, np.ndarray]:
    counts = np.stack([sample[name].to_numpy() for name in ANSWERS], axis=1)
    images, _ = codes_of(sample["image_id"])
    votes = ImageVotes.of(counts, images, len(classes), VoteKind(choices=False))
    return votes, _labels(sample["class_name"], classes), sample["known"].to_numpy().astype(np.int64)


def _labels(names: pa.ChunkedArray, classes: Sequence[str]) -> np.ndarray:
    return np.asarray(pc.index_in(names, pa.array(classes, pa.string())).to_numpy(), np.int64)


def _mean_draws(
    labels: np.ndarray,
    percent: np.ndarray,
    draws: np.ndarray,
    asked: np.ndarray,
    names: list[str] | list[None],
) -> pa.Table:
    """Return the mean of the draws for each (class, p_wrong in percent), a table of ERROR_MODEL."""
    keys = (labels * (BINS + 1) + percent)[asked]
    order = np.argsort(keys, kind="stable")
    distinct, starts, counts = np.unique(keys[order], return_index=True, return_counts=True)
    if not len(distinct):
        return ERROR_MODEL.schema.empty_table()
    means = np.add.reduceat(draws[asked][order], starts, axis=0) / counts[:, None]
    columns = [
        pa.array([names[key] for key in (distinct // (BINS + 1)).tolist()], pa.string()),
        distinct % (BINS + 1),
        counts,
        pa.array(list(np.round(means, 6).astype(np.float32)), pa.list_(pa.float32())),
    ]
    return pa.table(
        [pa.array(column) if isinstance(column, np.ndarray) else column for column in columns],
        names=ERROR_MODEL.schema.names,
    ).cast(ERROR_MODEL.schema)
