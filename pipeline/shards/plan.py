"""What a dataset is to hold: every set with a digest of its content, and how that differs from what is there."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from pipeline import files
from pipeline.keyed_hash import bucket
from pipeline.noise.examples import LISTED_SCHEMA, Listed, Pool
from pipeline.shards import directory

_DIGEST_BYTES = 16
_ROWS_TOGETHER = 1 << 16
PLANNED_SCHEMA = LISTED_SCHEMA.append(
    pa.field("sets", pa.list_(pa.string()), metadata={"about": "the sets that have this example"})
)


@dataclass(frozen=True)
class SetPlan:
    """One set: its examples without pictures, and what its manifest will say.

    `facts["content_sha256"]` is a digest of all that decides its bytes, so that a set that would come out the same
    is not written again.
    """

    name: str
    listed: Listed
    facts: Mapping[str, Any]

    def is_written(self, dataset: str) -> bool:
        """Return whether `dataset` has the set already, whole and with this content."""
        folder = files.join(dataset, self.name)
        found = directory.valid_manifest(folder)
        if found is None or found.about.get("content_sha256") != self.facts["content_sha256"]:
            return False
        return directory.size_problem(folder, found) is None


class Planner:
    """Plans sets. `images` has image_id and sha256 (of the original), `layout` says how shards are written."""

    def __init__(self, images: pa.Table, layout: Mapping[str, Any]) -> None:
        self.images, self.layout = images.combine_chunks(), layout
        self._digests: tuple[Pool | None, np.ndarray] = (None, np.empty((0, _DIGEST_BYTES), np.uint8))

    def plan(self, name: str, listed: Listed, facts: Mapping[str, Any]) -> SetPlan:
        """Plan a set; sets of one pool are planned one after the other, for they share the digests of its rows."""
        if self._digests[0] is not listed.pool:
            self._digests = listed.pool, _row_digests(listed.pool.table, self.images)
        digest = hashlib.sha256(json.dumps([name, facts, self.layout], sort_keys=True).encode())
        digest.update(self._digests[1][listed.rows].tobytes())
        return SetPlan(name, listed, {**facts, **self.layout, "content_sha256": digest.hexdigest()})


def _row_digests(table: pa.Table, images: pa.Table) -> np.ndarray:
    """Digest each example and that of its original, uint8 (n, 16), some thousand rows at a time."""
    parts = [np.empty((0, _DIGEST_BYTES), np.uint8)]
    for start in range(0, table.num_rows, _ROWS_TOGETHER):
        texts = _texts(table.slice(start, _ROWS_TOGETHER), images)
        digests = b"".join(
            hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest() for text in _pieces(texts)
        )
        parts.append(np.frombuffer(digests, np.uint8).reshape(-1, _DIGEST_BYTES))
    return np.concatenate(parts)


def _pieces(texts: pa.Array) -> Iterator[memoryview]:
    """Yield the UTF-8 bytes of each text."""
    data = memoryview(texts.buffers()[2] or b"")
    ends = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1].tolist()
    for start, end in pairwise(ends):
        yield data[start:end]


def _texts(table: pa.Table, images: pa.Table) -> pa.Array:
    """Each example and the digest of its original as text, since equal Arrow arrays need not be equal bytes.

    Every value stands behind its length, so that no two examples have the same text.
    """
    original = images["sha256"].take(pc.index_in(table["image_id"], images["image_id"]))
    parts: list[pa.ChunkedArray] = []
    for column in (*table.columns, original):
        text = column.cast(pa.large_string())
        parts += [pc.binary_length(text).cast(pa.large_string()), text]
    joined = pc.binary_join_element_wise(
        *parts, pa.scalar(":", pa.large_string()), null_handling="replace", null_replacement=""
    )
    return joined.combine_chunks()


def all_pictures(plans: Sequence[SetPlan]) -> Listed:
    """The images that the sets use, once each, as examples of which only the ids are known."""
    parts = [
        pa.table({"image_id": pool.table["image_id"].take(pa.array(rows)), "place": pool.places[rows]})
        for pool, of in _by_pool(plans)
        for rows in [np.flatnonzero(_uses(pool, of))]
    ]
    found = pa.concat_tables(parts).group_by("image_id", use_threads=False).aggregate([("place", "min")])
    found = found.sort_by("place_min")
    columns = [
        found["image_id"] if field.name == "image_id" else pa.nulls(found.num_rows, field.type)
        for field in LISTED_SCHEMA
    ]
    pool = Pool(pa.table(columns, schema=LISTED_SCHEMA), found["place_min"].to_numpy())
    return Listed(pool, np.arange(found.num_rows))


def planned_examples(plans: Sequence[SetPlan], buckets: int) -> Iterator[tuple[int, list[pa.Table]]]:
    """For each bucket the different examples of all sets, with the names of the `sets` that have them.

    The tables of a bucket are those of one pool each, in the order of place.
    """
    parts = []
    for pool, of in _by_pool(plans):
        uses = _uses(pool, of)
        used = np.flatnonzero(uses)
        rows = np.concatenate([plan.listed.rows for plan in of])
        which = np.repeat(np.arange(len(of)), [len(plan.listed) for plan in of])
        names = pa.array([plan.name for plan in of]).take(pa.array(which[np.argsort(rows, kind="stable")]))
        ends = pa.array(np.append(0, np.cumsum(uses[used])), pa.int32())
        sets = pa.ListArray.from_arrays(ends, names)
        table = pool.table.take(pa.array(used)).append_column(PLANNED_SCHEMA.field("sets"), sets)
        edges = np.searchsorted(bucket(pool.places[used], buckets), np.arange(buckets + 1))
        parts.append((table, edges))
    for index in range(buckets):
        yield index, [table.slice(at[index], at[index + 1] - at[index]) for table, at in parts]


def rows_of_sets(planned: pa.Table) -> dict[str, pa.Array]:
    """The rows of `planned`, a table of PLANNED_SCHEMA, that are in each set."""
    sets = planned["sets"].combine_chunks()
    names, rows = sets.flatten().dictionary_encode(), pc.list_parent_indices(sets)
    codes = names.indices.to_numpy()
    return {
        name: rows.filter(pa.array(codes == code)) for code, name in enumerate(names.dictionary.to_pylist())
    }


def changes(before: pa.Table, plans: Sequence[SetPlan]) -> dict[str, dict[str, int]]:
    """How the sets differ from those of an earlier build, for sets that differ.

    `before` is the earlier table of PLANNED_SCHEMA. Counted are examples added, removed, and relabeled.
    """
    columns, rows = ["image_id", "label"], rows_of_sets(before)
    result = {name: {"added": 0, "removed": len(found), "relabeled": 0} for name, found in rows.items()}
    nothing = pa.array([], pa.int32())
    for plan in plans:
        old = before.select(columns).take(rows.get(plan.name, nothing))
        new = plan.listed.columns(columns)
        at = pc.index_in(new["image_id"], old["image_id"])
        stayed = len(at) - at.null_count
        other = pc.not_equal(new["label"], old["label"].take(at))
        result[plan.name] = {
            "added": new.num_rows - stayed,
            "removed": old.num_rows - stayed,
            "relabeled": pc.sum(other).as_py() or 0,
        }
    return {name: counts for name, counts in sorted(result.items()) if any(counts.values())}


def _uses(pool: Pool, plans: Sequence[SetPlan]) -> np.ndarray:
    """In how many of the sets each row of their pool is."""
    uses = np.zeros(len(pool.places), np.int64)
    for plan in plans:
        uses[plan.listed.rows] += 1
    return uses


def _by_pool(plans: Sequence[SetPlan]) -> list[tuple[Pool, list[SetPlan]]]:
    of: dict[int, list[SetPlan]] = {}
    for plan in plans:
        of.setdefault(id(plan.listed.pool), []).append(plan)
    return [(found[0].listed.pool, found) for found in of.values()]
