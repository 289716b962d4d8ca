"""Plan the sets of a dataset: list their examples by bucket, and digest the content of each set.

The lists are made one part at a time, so that a plan of many millions of images needs little memory.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from pipeline import files
from pipeline.keyed_hash import bucket
from pipeline.noise.examples import LIST_SCHEMA, ExamplePool, whole_pool
from pipeline.shards import directory
from schemas.example import SHARED_IMAGES

_ROWS_TOGETHER = 1 << 16
PLANNED_SCHEMA = LIST_SCHEMA.append(
    pa.field("sets", pa.list_(pa.string()), metadata={"about": "the sets that have this example"})
)


@dataclass(frozen=True)
class SetPlan:
    """One set: how many examples it has, and what its manifest will say.

    `facts["content_sha256"]` is a digest of all that decides its bytes, so that a set that would come out the same
    is not written again.
    """

    name: str
    rows: int
    facts: Mapping[str, Any]

    def is_written(self, dataset: str) -> bool:
        """Return whether `dataset` has the set already, whole and with this content."""
        folder = files.join(dataset, self.name)
        found = directory.valid_manifest(folder)
        if found is None or found.about.get("content_sha256") != self.facts["content_sha256"]:
            return False
        return directory.size_problem(folder, found) is None


def below_level(sets: Sequence[SetPlan]) -> list[str]:
    """Return 'NAME 12.0 %' for each set with less noise than its level, which only `noise.on_shortage: cap` allows.

    Without a lack of images, the number of wrong labels in all classes is the rounded level.
    """
    found = []
    for each in sets:
        level, classes = each.facts.get("noise_level"), each.facts.get("classes", ())
        rows, noisy = (sum(one[key] for one in classes) for key in ("rows", "noisy"))
        if level and each.facts.get("on_shortage") == "cap" and noisy < round(level * rows):
            found.append(f"{each.name} {100 * noisy / rows:.1f} %")
    return found


class ContentDigests:
    """The content digest of each set, from its facts, the way its shards are written, and its examples in order."""

    def __init__(self, facts: Mapping[str, Mapping[str, Any]], written_as: Mapping[str, Any]) -> None:
        self.facts, self.written_as = facts, written_as
        self.rows = dict.fromkeys(facts, 0)
        self._digests = {
            name: hashlib.sha256(json.dumps([name, of_set, written_as], sort_keys=True).encode())
            for name, of_set in facts.items()
        }

    def add(self, pool: ExamplePool, originals: pa.Table) -> None:
        """Add the examples of the next part; originals: image_id and sha256 of its images."""
        texts = _texts(pool.table, originals)
        for name, rows in pool.sets.items():
            for start in range(0, len(rows), _ROWS_TOGETHER):
                of_set = texts.take(pa.array(rows[start : start + _ROWS_TOGETHER]))
                self._digests[name].update(_bytes(of_set))
            self.rows[name] += len(rows)

    def plans(self, measured: Mapping[str, Mapping[str, Any]]) -> list[SetPlan]:
        """Return the plan of each set, once all parts are added; `measured` has more facts of some sets."""
        plans = []
        for name, facts in self.facts.items():
            digest, more = self._digests[name], measured.get(name, {})
            digest.update(json.dumps(more, sort_keys=True).encode())
            values = {**facts, **more, **self.written_as, "content_sha256": digest.hexdigest()}
            plans.append(SetPlan(name, self.rows[name], values))
        return plans


def _bytes(texts: pa.LargeStringArray) -> memoryview:
    """Return the UTF-8 bytes of all texts. Arrow's buffer may be longer."""
    ends = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(texts.buffers()[2] or b"")[ends[0] : ends[-1]]


def _texts(table: pa.Table, originals: pa.Table) -> pa.Array:
    """Each example and the digest of its original as text, since equal Arrow arrays need not be equal bytes.

    Every value follows its length, so that no two examples have the same text.
    """
    original = originals["sha256"].take(pc.index_in(table["image_id"], originals["image_id"]))
    parts: list[pa.ChunkedArray] = []
    for column in (*table.columns, original):
        text = column.cast(pa.large_string())
        parts += [pc.binary_length(text).cast(pa.large_string()), text]
    joined = pc.binary_join_element_wise(
        *parts, pa.scalar(":", pa.large_string()), null_handling="replace", null_replacement=""
    )
    return joined.combine_chunks()


def used_images(pools: Sequence[ExamplePool]) -> ExamplePool:
    """Return the images of all pools, once each, as examples of which only the ids are known: the set SHARED_IMAGES."""
    parts = [pa.table({"image_id": pool.table["image_id"], "shard_key": pool.shard_keys}) for pool in pools]
    found = pa.concat_tables(parts).group_by("image_id", use_threads=False).aggregate([("shard_key", "min")])
    columns = [
        found["image_id"] if field.name == "image_id" else pa.nulls(found.num_rows, field.type)
        for field in LIST_SCHEMA
    ]
    return whole_pool(SHARED_IMAGES, pa.table(columns, schema=LIST_SCHEMA), found["shard_key_min"].to_numpy())


def planned_examples(
    pools: Sequence[ExamplePool], index: int, parts: int, buckets: int
) -> Iterator[tuple[int, pa.Table]]:
    """Yield (bucket, examples with the `sets` that have them) for part `index` of `parts`, buckets ascending.

    The tables of a bucket are those of one pool each, in the order of their shard keys.
    """
    tables = [(with_sets(pool), bucket(pool.shard_keys, buckets)) for pool in pools]
    first, end = index * buckets // parts, max((index + 1) * buckets // parts, index * buckets // parts + 1)
    for number in range(first, end):
        for table, numbers in tables:
            low, high = np.searchsorted(numbers, [number, number + 1]).tolist()
            if high > low:
                yield number, table.slice(low, high - low)


def with_sets(pool: ExamplePool) -> pa.Table:
    """Return the examples of a pool as a table of PLANNED_SCHEMA. Every example is in at least one set."""
    rows = np.concatenate([np.empty(0, np.int64), *pool.sets.values()])
    which = np.repeat(np.arange(len(pool.sets)), [len(found) for found in pool.sets.values()])
    names = pa.array(list(pool.sets), pa.string()).take(pa.array(which[np.argsort(rows, kind="stable")]))
    ends = np.append(0, np.cumsum(np.bincount(rows, minlength=pool.table.num_rows)))
    sets = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), names)
    return pool.table.append_column(PLANNED_SCHEMA.field("sets"), sets)


def rows_of_sets(planned: pa.Table) -> dict[str, pa.Array]:
    """The rows of `planned`, a table of PLANNED_SCHEMA, that are in each set."""
    sets = planned["sets"].combine_chunks()
    names, rows = sets.flatten().dictionary_encode(), pc.list_parent_indices(sets)
    codes = names.indices.to_numpy()
    return {
        name: rows.filter(pa.array(codes == code)) for code, name in enumerate(names.dictionary.to_pylist())
    }
