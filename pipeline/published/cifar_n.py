"""Conversion of the human labels of CIFAR-10N and CIFAR-100N (Wei et al., ICLR 2022) to votes.

Each worker chose one class per image; a vote answers "is this image a CLASS?". So for each class that at least one worker
of an image chose (or each pair of a given list), every worker of the image votes yes or no.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from common.errors import DataError, UsageError
from pipeline import files
from pipeline.published.cifar_n_files import read_choices, read_order, read_side_info
from pipeline.records import read_records
from schemas.table import Table, column
from schemas.vote import VOTE

CIFAR_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PAIRS = Table("pair", pa.schema([column(n, pa.string(), "") for n in ("image_id", "class_name")]), ())


def batch_excess(errors: np.ndarray, batch: np.ndarray) -> float:
    """Return the variance of errors per batch relative to independent errors.

    errors: bool (images, workers), batch: int (images,). Workers err on whole batches, so the ratio is above 1; a ratio
    near 1 indicates that batches and labels do not belong together.
    """
    _, position, sizes = np.unique(batch, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(position, column) for column in errors.T.astype(float)], axis=1)
    share = float(errors.mean())
    expected = sizes[:, None] * share * (1 - share)
    return float(
        ((sums - sizes[:, None] * share) ** 2).sum() / max(1e-12, np.broadcast_to(expected, sums.shape).sum())
    )


def import_cifar_n(
    labels: str,
    output: str,
    class_names: Sequence[str] | None = None,
    side_info: str | None = None,
    order: str | None = None,
    tfds_order: bool = False,
    image_id: str = "{index}",
    pairs: str | None = None,
) -> dict[str, Any]:
    """Write `votes.parquet` and `pairs.parquet` to the folder `output`, and return counts.

    image_id: template of image ids, where {index} is the five-digit index in torchvision's training set.
    pairs: list with the columns image_id and class_name to vote on instead of all chosen classes; pairs of other images are
    counted. order: file that maps the order of TFDS to that of torchvision; needed for `side_info` and `tfds_order`.
    Without `side_info`, workers are named by their column. Raises UsageError and DataError.
    """
    choices, truth, classes = read_choices(labels)
    images, workers = choices.shape
    names = _checked_names(class_names, classes)
    if "{index}" not in image_id:
        raise UsageError(
            f"--image-id {image_id!r}: no {{index}} in it; add {{index}} for the number of the image"
        )
    if (side_info or tfds_order) and not order:
        raise UsageError(
            "--side-info and --tfds-order need --image-order, because TFDS and torchvision order the images differently; "
            "give image_order_c10.npy (or c100) of the release"
        )
    torchvision = read_order(order, images) if order else np.arange(images)
    if tfds_order:
        choices, truth = (
            _reordered(choices, torchvision),
            None if truth is None else _reordered(truth, torchvision),
        )
    counts: dict[str, Any] = {"images": images, "workers": workers, "classes": classes}
    who: np.ndarray = np.broadcast_to(np.arange(workers), choices.shape)
    seconds = np.full(choices.shape, np.nan)
    if side_info:
        answered = read_side_info(side_info, images, workers)
        who, seconds, batch = (_reordered(values, torchvision) for values in answered)
        counts["workers"] = len(np.unique(who))
        if truth is not None:
            counts["batch_excess"] = round(batch_excess(choices != truth[:, None], batch), 3)
    ids = [image_id.replace("{index}", f"{index:05d}") for index in range(images)]
    if pairs:
        asked, counts["pairs_of_other_images"] = _listed_pairs(pairs, ids, names)
    else:
        asked = np.unique(np.stack([np.repeat(np.arange(images), workers), choices.ravel()], axis=1), axis=0)
    votes = _votes(asked, choices, who, seconds, ids, names, "worker-" if side_info else "annotator-")
    questions = votes.select(["image_id", "class_name"]).take(pa.array(np.arange(0, len(votes), workers)))
    for name, table in (("votes", votes), ("pairs", questions)):
        with files.replace(files.join(output, f"{name}.parquet")) as file:
            parquet.write_table(table, file, compression="zstd")
    yes = pc.sum(pc.equal(votes["answer"], "yes")).as_py()
    counts |= {"pairs": len(asked), "votes": votes.num_rows, "votes_yes": yes}
    return counts


def _checked_names(class_names: Sequence[str] | None, classes: int) -> list[str]:
    """Return the names of the classes, by default those of CIFAR-10. Raises UsageError if they do not fit the labels."""
    names = list(class_names or (CIFAR_10 if classes == 10 else []))
    if len(names) != classes:
        raise UsageError(
            f"--classes: {len(names)} names, but the labels have {classes} classes; give one name per line"
        )
    if len(set(names)) < len(names):
        raise UsageError("--classes: two classes have the same name; rename one of them")
    return names


def _votes(
    asked: np.ndarray,
    choices: np.ndarray,
    who: np.ndarray,
    seconds: np.ndarray,
    ids: Sequence[str],
    names: Sequence[str],
    prefix: str,
) -> pa.Table:
    """Return the votes of each image's workers on the questions `asked`, int64 (questions, 2) of image and class."""
    workers = choices.shape[1]
    image, label = np.repeat(asked, workers, axis=0).T
    worker = np.tile(np.arange(workers), len(asked))
    chosen = choices[image, worker]
    columns = {
        "image_id": np.array(ids, object)[image],
        "class_name": np.array(names, object)[label],
        "worker_id": [f"{prefix}{number}" for number in who[image, worker]],
        "answer": np.where(chosen == label, "yes", "no"),
        "seconds": seconds[image, worker],
        "time": [None] * len(image),  # not in the release
        "seen_class": np.where(chosen == label, None, np.array(names, object)[chosen]),
    }
    arrays = [pa.array(columns[f.name], f.type, from_pandas=True) for f in VOTE.schema]
    return pa.table(arrays, schema=VOTE.schema)


def _reordered(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the rows in another order: row i moves to index order[i]."""
    result = np.empty_like(values)
    result[order] = values
    return result


def _listed_pairs(path: str, ids: Sequence[str], names: Sequence[str]) -> tuple[np.ndarray, int]:
    """Return the distinct pairs of a list as sorted (image, class) indices, and the number of pairs of other images."""
    image, label = ({name: i for i, name in enumerate(known)} for known in (ids, names))
    found, others = set(), 0
    for records in read_records(path, _PAIRS, path):
        if records.malformed:
            raise DataError(f"{': '.join(records.malformed[0])}; correct the line")
        for one, name, row in zip(
            *(records.rows[c].to_pylist() for c in ("image_id", "class_name", "location")), strict=True
        ):
            if name not in label:
                raise DataError(
                    f"{row}: class {name!r} is not one of the {len(names)} classes; correct the line"
                )
            if one in image:
                found.add((image[one], label[name]))
            else:
                others += 1
    if not found:
        raise DataError(f"{path}: no image of the list has a label; check the ids of the list and --image-id")
    return np.array(sorted(found), np.int64), others
