"""Gold questions and example images: known answers from a file, and clean images asked about their own or another class."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipeline.keyed_hash import keyed_hash
from pipeline.vote.build_images import KeyIndex, ListedPairs
from pipeline.vote.questions import Questions, question_keys
from schemas.gold import GOLD
from schemas.vote import ANSWERS

EXAMPLES = 6  # clean images shown beside a question
CLEAN_GOLD = 20  # clean images of a class that are asked about it, and as many of other classes
_YES, _NO = ANSWERS.index("yes"), ANSWERS.index("no")


def by_class(listed: ListedPairs, gold: Collection[str] = ()) -> tuple[dict[str, list[str]], list[str]]:
    """Return example images by class, at most EXAMPLES each, and the other clean images, both in hashed order.

    gold: ids of images that are asked as gold questions; an example would give their answer away.
    """
    clean = listed.clean.take(pa.array(np.argsort(keyed_hash(listed.clean["image_id"], 0, "vote examples"))))
    examples: dict[str, list[str]] = {name: [] for name in listed.classes}
    others: dict[str, None] = {}
    for image_id, name in zip(*(column.to_pylist() for column in clean.columns), strict=True):
        if image_id not in gold and len(examples[name]) < EXAMPLES:
            examples[name].append(image_id)
        else:
            others[image_id] = None
    shown = {image_id for images in examples.values() for image_id in images}
    return examples, [image_id for image_id in others if image_id not in shown]


def clean_gold(listed: ListedPairs, images: Sequence[str]) -> pa.Table:
    """Return gold questions (GOLD) about clean `images`: up to CLEAN_GOLD known yes and as many known no per class."""
    pairs = set(zip(*(column.to_pylist() for column in listed.clean.columns), strict=True))
    of_class: dict[str, list[str]] = {name: [] for name in listed.classes}
    for image_id, name in zip(*(column.to_pylist() for column in listed.clean.columns), strict=True):
        of_class[name].append(image_id)
    order = {image_id: index for index, image_id in enumerate(images)}
    starts = keyed_hash(listed.classes, 0, "vote gold") % np.uint64(max(len(images), 1))
    rows = []
    for name, start in zip(listed.classes, starts.tolist(), strict=True):
        own = sorted((image for image in of_class[name] if image in order), key=order.__getitem__)
        rows += [(image, name, "yes") for image in own[:CLEAN_GOLD]]
        others = []
        for index in range(len(images)):
            image = images[(start + index) % len(images)]
            if (image, name) not in pairs:
                others.append(image)
            if len(others) == CLEAN_GOLD:
                break
        rows += [(image, name, "no") for image in others]
    return GOLD.from_rows(dict(zip(GOLD.schema.names, row, strict=True)) for row in rows)


def with_gold(questions: Questions, gold: pa.Table, classes: Sequence[str]) -> Questions:
    """Mark the candidates among `gold` (GOLD) as known, and append the other gold questions, once each."""
    keys, index = question_keys(gold), KeyIndex(questions.keys)
    answers = np.array([ANSWERS.index(answer) for answer in gold["answer"].to_pylist()], np.int8)
    rows = index.positions(keys)
    known = questions.known.copy()
    known[rows[rows >= 0]] = answers[rows >= 0]
    _, first = np.unique(keys, return_index=True)
    new = np.sort(first[rows[first] < 0])
    names = {name: code for code, name in enumerate(classes)}
    added = gold.take(pa.array(new)).select(["image_id", "class_name"])
    zeros = np.zeros((len(new), len(ANSWERS)), questions.counts.dtype)
    last_run = int(questions.runs.max(initial=-1)) + 1
    return replace(
        questions,
        pairs=pa.concat_tables([questions.pairs, added]).combine_chunks(),
        classes=np.concatenate(
            [questions.classes, np.array([names[name] for name in added["class_name"].to_pylist()], np.int64)]
        ),
        keys=np.concatenate([questions.keys, keys[new]]),
        runs=np.concatenate([questions.runs, np.full(len(new), last_run)]),
        counts=np.concatenate([questions.counts, zeros]),
        undecided=np.concatenate([questions.undecided, np.ones(len(new), bool)]),
        known=np.concatenate([known, answers[new]]),
        of_build=np.concatenate([questions.of_build, np.zeros(len(new), bool)]),
    )


class GoldChooser:
    """Chooses when a worker gets a gold question, and which: by a keyed hash, about the class that is asked anyway."""

    def __init__(self, questions: Questions, share: float) -> None:
        self._questions, self.share = questions, share
        rows = np.flatnonzero(questions.known >= 0)
        codes = questions.classes[rows]
        self._of_class = {int(code): rows[codes == code] for code in np.unique(codes)}

    @property
    def count(self) -> int:
        """Number of gold questions."""
        return sum(map(len, self._of_class.values()))

    def choose(self, worker: str, number: int, class_code: int, blocked: np.ndarray) -> int | None:
        """Return a gold question that is not `blocked`, or None: for a share of the numbers, and while there are any.

        number: how many questions the worker has been given.
        """
        draw = int(keyed_hash([f"{number}\n{worker}"], 0, "vote gold turn")[0]) / 2**64
        rows = self._of_class.get(class_code, np.empty(0, np.int64))
        if draw >= self.share or not len(rows):
            return None
        rows = rows[~blocked[rows]]
        if not len(rows):
            return None
        hashes = keyed_hash((f"{self._questions.keys[row]}\n{worker}" for row in rows), 0, "vote gold order")
        return int(rows[hashes.argmin()])
