"""The images that training sets are made of: clean images, test images, and web images that are verified wrong.

The tables of the earlier stages are read in parts of neighboring buckets. `read_part` joins the rows of one part;
`collect_pools` keeps a few numbers of each image, from which all sets are drawn.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from pipeline.keyed_hash import shard_key
from pipeline.noise.candidates import evidence_tiers
from pipeline.noise.supply import Supply
from schemas.retrieval import ATTRIBUTION

_FROM_RETRIEVALS = ("url", *(field.name for field in ATTRIBUTION), "method", "rank")
DRAW_COLUMNS = ("image_id", "class_name", "source", "method")  # of retrievals, for `collect_pools`
EXAMPLE_COLUMNS = ("image_id", "class_name", "source", *_FROM_RETRIEVALS)  # of retrievals, for examples
VERDICT_COLUMNS = (
    "image_id",
    "class_name",
    "verdict",
    "yes",
    "no",
    "unsure",
    "confidence",
    "p_wrong",
    "seen_class",
)
NO_VOTES = "no votes"
# Names of the counts of kept candidates, and the verdict that each counts.
CANDIDATE_COUNTS = (
    ("right", "yes"),
    ("wrong", "no"),
    ("undecided", "undecided"),
    ("without_votes", NO_VOTES),
)
_VOTES = ("yes", "no", "unsure")
_FUNNEL = (
    "clean_images",
    "clean_images_kept",
    "test_images",
    "candidates",
    "candidates_kept",
    *(f"candidates_{name}" for name, _ in CANDIDATE_COUNTS),
    "wrong_images",
)


@dataclass(frozen=True)
class PoolPart:
    """The images of one part as tables of example columns, without the images themselves.

    clean and test have a row for each image, wrong for each (image, class) whose verdict is no. `counts` are the numbers
    of rows that each step has left. `supply` counts the questions behind the wrong images.
    """

    clean: pa.Table
    test: pa.Table
    wrong: pa.Table
    counts: Counter[str]
    supply: Supply


@dataclass(frozen=True)
class CleanImages:
    """Clean images, ordered by part: ids, shard keys, uint64 (n,), and labels, int32 (n,)."""

    ids: pa.LargeStringArray
    shard_keys: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class WrongImages:
    """Pairs of a web image and a class that it verifiably does not show, ordered by part.

    ids; images: int32 (n,), equal for equal ids; shard_keys: uint64 (n,); labels: int32 (n,), that class; true_labels:
    int32 (n,), the class that the image shows, or -1 where it is unknown; by_text: bool (n,), found by a text search;
    is_closed: bool (n,), known to show another class; evidence: uint8 (n,), see `evidence_tiers`; confused: bool (n,),
    whether a worker took the image for the class.
    """

    ids: pa.LargeStringArray
    images: np.ndarray
    shard_keys: np.ndarray
    labels: np.ndarray
    true_labels: np.ndarray
    by_text: np.ndarray
    is_closed: np.ndarray
    evidence: np.ndarray
    confused: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Pools:
    """What all sets are drawn from.

    test_sizes: int64 (classes,), test images of each class. clean_starts, wrong_starts: int64 (parts + 1,), the index of
    the first image of each part. funnel: the rows that each step has left, in order.
    """

    clean: CleanImages
    wrong: WrongImages
    test_sizes: np.ndarray
    clean_starts: np.ndarray
    wrong_starts: np.ndarray
    funnel: dict[str, int]
    supply: Supply


def read_part(
    retrievals: pa.Table,
    verdicts: pa.Table,
    removed: pa.Array,
    class_names: Sequence[str],
    min_confidence: float = 0.0,
    min_votes: int = 1,
) -> PoolPart:
    """Join the tables of one part.

    retrievals has at least DRAW_COLUMNS, verdicts VERDICT_COLUMNS; `removed` are the ids of images that dedupe has removed,
    which are in no pool. A web image is wrong for a class where the verdict is no with at least `min_confidence`.
    """
    rows = retrievals.combine_chunks()
    labels = class_ids(rows["class_name"], class_names)
    sources = {name: _mask(pc.equal(rows["source"], name)) for name in ("clean", "test", "web")}
    is_removed = _mask(pc.is_in(rows["image_id"], removed))
    clean, test = (
        _given(rows, labels, np.flatnonzero(sources[name] & ~is_removed)) for name in ("clean", "test")
    )
    web_rows = np.flatnonzero(sources["web"])
    web, web_labels, web_removed = rows.take(pa.array(web_rows)), labels[web_rows], is_removed[web_rows]
    judged = join_verdicts(web, web_labels, verdicts, class_names)
    confidence = judged["confidence"].fill_null(0).to_numpy()
    is_no = _mask(pc.equal(judged["verdict"], "no"))
    chosen = np.flatnonzero(is_no & ~web_removed & (confidence >= min_confidence))
    wrong = judged.take(pa.array(chosen))
    counts = Counter(
        clean_images=int(sources["clean"].sum()),
        clean_images_kept=clean.num_rows,
        test_images=test.num_rows,
        candidates=len(web_rows),
        candidates_kept=int((~web_removed).sum()),
        wrong_images=pc.count_distinct(wrong["image_id"]).as_py(),
    )
    for name, verdict in CANDIDATE_COUNTS:
        has_verdict = _mask(pc.equal(judged["verdict"], verdict))
        counts[f"candidates_{name}"] = int((has_verdict & ~web_removed).sum())
    votes = sum(judged[f"votes_{name}"].fill_null(0).to_numpy().astype(np.int64) for name in _VOTES)
    supply = Supply.count(
        web_labels,
        judged["verdict"],
        np.asarray(votes),
        confidence,
        _mask(pc.equal(judged["method"], "text")),
        _mask(pc.equal(judged["noise_type"], "closed")),
        web_removed,
        len(class_names),
        min_votes,
        min_confidence,
    )
    return PoolPart(clean, test, wrong, counts, supply)


def collect_pools(parts: Iterable[PoolPart]) -> Pools:
    """Keep what sets are drawn from of all parts (at least one), some forty bytes an image."""
    clean, wrong, clean_starts, wrong_starts = [], [], [0], [0]
    counts: Counter[str] = Counter()
    supplies, tests = [], []
    for part in parts:
        clean.append(_keys_and_labels(part.clean))
        ids, keys, labels = _keys_and_labels(part.wrong)
        images = counts["wrong_images"] + ids.dictionary_encode().indices.to_numpy()
        wrong.append((ids, images.astype(np.int32), keys, labels, *_facts_of_wrong(part.wrong)))
        clean_starts.append(clean_starts[-1] + part.clean.num_rows)
        wrong_starts.append(wrong_starts[-1] + part.wrong.num_rows)
        tests.append(np.bincount(part.test["label"].to_numpy(), minlength=part.supply.classes))
        counts.update(part.counts)
        supplies.append(part.supply)
    return Pools(
        CleanImages(*_joined(clean)),
        WrongImages(*_joined(wrong)),
        np.sum(tests, axis=0),
        np.array(clean_starts),
        np.array(wrong_starts),
        {name: counts[name] for name in _FUNNEL},
        Supply.sum(supplies),
    )


def _facts_of_wrong(wrong: pa.Table) -> tuple[np.ndarray, ...]:
    """Columns of WrongImages from true_labels on."""
    is_closed = _mask(pc.equal(wrong["noise_type"], "closed"))
    return (
        wrong["true_label"].fill_null(-1).to_numpy().astype(np.int32),
        _mask(pc.equal(wrong["method"], "text")),
        is_closed,
        evidence_tiers(wrong["p_wrong"].to_numpy()),
        wrong["votes_yes"].fill_null(0).to_numpy() > 0,
    )


def class_ids(names: pa.ChunkedArray, class_names: Sequence[str]) -> np.ndarray:
    """Class ids of names, int64 (n,). Raises DataError for a name that is not in `class_names`."""
    labels = pc.index_in(names, pa.array(class_names, pa.string()))
    if labels.null_count:
        unknown = pc.min(names.filter(pc.is_null(labels)))
        raise DataError(
            f"class {str(unknown)!r} of the ingested images is not in 'classes'; run `python -m pipeline build`, which "
            "runs ingest and aggregate again"
        )
    return np.asarray(labels.to_numpy(), np.int64)


def join_verdicts(
    web: pa.Table, labels: np.ndarray, verdicts: pa.Table, class_names: Sequence[str]
) -> pa.Table:
    """Add to web rows what is known of them.

    Appends label, verdict (NO_VOTES without one), votes_yes, votes_no, votes_unsure, confidence, p_wrong, and

    - true_label: the class that the image shows. It is the one for which it has the verdict yes, if there is exactly one;
      without any, the one that the voters saw instead (`seen_class`).
    - noise_type: null for the verdict yes; else closed if the image shows another listed class, or open.
    """
    ids = web["image_id"].combine_chunks().dictionary_encode()
    codes, classes = ids.indices.to_numpy().astype(np.int64), len(class_names)
    verdict_labels = pc.index_in(verdicts["class_name"], pa.array(class_names, pa.string()))
    verdict_codes = pc.index_in(verdicts["image_id"], ids.dictionary)
    usable = np.flatnonzero(_mask(pc.and_(pc.is_valid(verdict_labels), pc.is_valid(verdict_codes))))
    pair_codes, pair_labels = (
        np.asarray(column.take(pa.array(usable)).to_numpy(), np.int64)
        for column in (verdict_codes, verdict_labels)
    )
    pairs = pair_codes * classes + pair_labels
    order = np.argsort(pairs)
    wanted = codes * classes + labels
    position = np.searchsorted(pairs, wanted, sorter=order)
    found = np.zeros(len(wanted), bool)
    inside = position < len(pairs)
    found[inside] = pairs[order[position[inside]]] == wanted[inside]
    row = np.zeros(len(wanted), np.int64)
    row[found] = usable[order[position[found]]]
    known = verdicts.take(pa.array(row, mask=~found)).combine_chunks()

    is_right = found & _mask(pc.equal(known["verdict"], "yes"))
    right = np.bincount(codes[is_right], minlength=len(ids.dictionary))[codes]
    shown = np.zeros(len(ids.dictionary), np.int64)
    shown[codes[is_right]] = labels[is_right]
    listed = pa.array(class_names, pa.string())
    seen_ids = pc.index_in(known["seen_class"], listed).fill_null(-1).to_numpy().astype(np.int64)
    seen_ids[seen_ids == labels] = -1
    true = np.where(right == 0, seen_ids, np.where(right == 1, shown[codes], -1))
    is_closed = (right > 0) | (seen_ids >= 0)
    added = {
        "label": pa.array(labels),
        "true_label": pa.array(true, mask=true < 0),
        "noise_type": pa.array(np.where(is_closed, "closed", "open"), pa.string(), mask=is_right),
        "verdict": known["verdict"].fill_null(NO_VOTES),
        **{f"votes_{name}": known[name] for name in _VOTES},
        "confidence": known["confidence"],
        "p_wrong": known["p_wrong"],
    }
    for name, column in added.items():
        web = web.append_column(name, column)
    return web


def _given(rows: pa.Table, labels: np.ndarray, chosen: np.ndarray) -> pa.Table:
    """Clean or test images, whose label is given."""
    table = rows.take(pa.array(chosen))
    label = pa.array(labels[chosen])
    return table.append_column("label", label).append_column("true_label", label)


def _mask(column: pa.ChunkedArray) -> np.ndarray:
    """A column of booleans as bool (n,), null as False."""
    return np.asarray(column.fill_null(False).to_numpy(), bool)


def _keys_and_labels(table: pa.Table) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    ids = table["image_id"].cast(pa.large_string()).combine_chunks()
    return ids, shard_key(ids), table["label"].to_numpy().astype(np.int32)


def _joined(parts: list[tuple]) -> list:
    ids, *others = zip(*parts, strict=True)
    return [pa.concat_arrays(ids), *(np.concatenate(arrays) for arrays in others)]
