"""Wrong labels of all clean images by one kind of instance-dependent noise, from features that are read part by part."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from pipeline.keyed_hash import Ids, keyed_hash
from pipeline.noise.instance.clusters import Clusters
from pipeline.noise.instance.exact import ROWS_TOGETHER, Standardizer
from pipeline.noise.instance.margin import Margin
from pipeline.noise.instance.part_dependent import PartDependent
from pipeline.noise.instance.vote_confusions import VoteConfusions
from pipeline.noise.pools import Pools

SAMPLE = 8192  # clean images from which a method is fitted, about; at least SAMPLE_EACH of each class
SAMPLE_EACH = 16
CONFUSED = 32_768  # web images with confusions that are compared with clean images, at most
CONFUSED_EACH = 256  # of each class, at most
GATHERED_BYTES = 1 << 30  # features that are sorted by class at once


class FeatureParts(Protocol):
    """Features of images in the parts in which the tables are read."""

    def read(self, index: int) -> Iterator[tuple[pa.Array, np.ndarray]]:
        """Yield the ids of some images of a part, and their features, float16 (n, d)."""


class Method(Protocol):
    """A kind of instance-dependent noise."""

    def flip(self, rows: np.ndarray, labels: np.ndarray, hashes: np.ndarray, /) -> np.ndarray:
        """Return wrong labels, int64 (n,), of up to ROWS_TOGETHER images with standardized features, int16 (n, d)."""


def instance_flips(
    kind: str, pools: Pools, class_names: Sequence[str], seed: int, features: FeatureParts
) -> np.ndarray:
    """Return the wrong label of every clean image, int32 (n,), by `noise.instance`.

    The methods are fitted to a sample of at most some ten thousand clean images, which a keyed hash chooses. Memory holds up
    to GATHERED_BYTES of features. Raises DataError for a clean image without features, and, for the kind votes, if workers
    took no image of some class for another one.
    """
    clean = pools.clean
    each = max(SAMPLE // len(class_names), SAMPLE_EACH)
    chosen = _first_of_each(clean.ids, clean.labels, each, seed, "instance-sample")
    sample = _gather(features, clean.ids, pools.clean_starts, chosen)
    standardize = Standardizer(sample)
    method = _method(kind, pools, class_names, seed, features, standardize, sample, chosen)
    flipped = np.full(len(clean), -1, np.int32)
    for rows, values in _by_class(_matched(features, clean.ids, pools.clean_starts), clean.labels):
        labels = clean.labels[rows].astype(np.int64)
        hashes = keyed_hash(clean.ids.take(pa.array(rows)), seed, "instance-flip")
        flipped[rows] = method.flip(standardize(values), labels, hashes)
    _check_complete(clean.ids, flipped >= 0)
    return flipped


def _method(
    kind: str,
    pools: Pools,
    class_names: Sequence[str],
    seed: int,
    features: FeatureParts,
    standardize: Standardizer,
    sample: np.ndarray,
    chosen: np.ndarray,
) -> Method:
    """Fit a method; sample: features of the clean images `chosen`."""
    classes, labels = len(class_names), pools.clean.labels[chosen].astype(np.int64)
    if kind == "part-dependent":
        return PartDependent(classes, seed)
    if kind == "margin":
        return Margin(standardize(sample), labels, classes)
    if kind == "cluster":
        return Clusters(standardize(sample), labels, classes)
    wrong = pools.wrong
    usable = np.flatnonzero(wrong.confused & (wrong.true_labels >= 0))
    each = max(min(CONFUSED_EACH, CONFUSED // classes), 1)
    ids, shown = wrong.ids.take(pa.array(usable)), wrong.true_labels[usable]
    rows = usable[_first_of_each(ids, shown, each, seed, "instance-confused")]
    missing = sorted(set(range(classes)) - set(shown.tolist()))
    if missing:
        raise DataError(
            "noise.instance: votes needs, for every class, web images that show it and that a worker took for another class; "
            f"there is none of {', '.join(class_names[i] for i in missing)}; choose another noise.instance, or collect votes on "
            "more classes of the images"
        )
    confused = standardize(_gather(features, wrong.ids, pools.wrong_starts, rows))
    return VoteConfusions(confused, wrong.true_labels[rows], wrong.labels[rows])


def _first_of_each(ids: Ids, labels: np.ndarray, count: int, seed: int, purpose: str) -> np.ndarray:
    """Return indices of up to `count` images of each label, in the order of labels and a keyed hash."""
    order = np.lexsort((keyed_hash(ids, seed, purpose), labels))
    sizes = np.bincount(labels)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[rank < count]


def _matched(
    features: FeatureParts, ids: pa.Array, starts: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield indices into `ids` and the features of these images, some thousand at a time; `starts`: see `Pools`."""
    for index in range(len(starts) - 1):
        low, high = starts[index : index + 2].tolist()
        wanted = ids.slice(low, high - low)
        for found, values in features.read(index):
            # An id can stand in `wanted` several times, as a web image that is wrong for several classes.
            position = (
                pc.index_in(wanted, found.cast(wanted.type)).fill_null(-1).to_numpy(zero_copy_only=False)
            )
            rows = np.flatnonzero(position >= 0)
            for start in range(0, len(rows), ROWS_TOGETHER):
                some = rows[start : start + ROWS_TOGETHER]
                yield low + some, values[position[some]]


def _by_class(
    matched: Iterator[tuple[np.ndarray, np.ndarray]], labels: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the same images, sorted by class as far as GATHERED_BYTES of features allow.

    A method has something to compute for each class of a piece, which costs more than the images if these are few. labels:
    int (n,), of the images that the indices name; each image comes once.
    """
    held, indices, count = np.empty((0, 0), np.float16), np.empty(0, np.int64), 0

    def pieces() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = np.argsort(labels[indices[:count]], kind="stable")
        for start in range(0, count, ROWS_TOGETHER):
            some = order[start : start + ROWS_TOGETHER]
            yield indices[some], held[some]

    for rows, values in matched:
        if not len(held):
            size = GATHERED_BYTES // (values.itemsize * values.shape[1])
            size = max(min(size, len(labels)), ROWS_TOGETHER)
            held, indices = np.empty((size, values.shape[1]), np.float16), np.empty(size, np.int64)
        if count + len(rows) > len(held):
            yield from pieces()
            count = 0
        held[count : count + len(rows)], indices[count : count + len(rows)] = values, rows
        count += len(rows)
    yield from pieces()


def _gather(features: FeatureParts, ids: pa.Array, starts: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the features of the images at the indices `chosen`, float16 (len(chosen), d)."""
    target = np.full(len(ids), -1, np.int64)
    target[chosen] = np.arange(len(chosen))
    gathered = np.empty((0, 0), np.float16)
    is_found = np.zeros(len(chosen), bool)
    for rows, values in _matched(features, ids, starts):
        own = target[rows]
        if not len(gathered):
            gathered = np.zeros((len(chosen), values.shape[1]), np.float16)
        gathered[own[own >= 0]] = values[own >= 0]
        is_found[own[own >= 0]] = True
    _check_complete(ids.take(pa.array(chosen)), is_found)
    return gathered


def _check_complete(ids: pa.Array, is_found: np.ndarray) -> None:
    if not is_found.all():
        missing = ids.filter(pa.array(~is_found))
        raise DataError(
            f"blue-instance: {len(missing):,} images have no features, for example {missing[0].as_py()!r}; run "
            "`python -m pipeline embed` again"
        )
