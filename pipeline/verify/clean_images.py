"""Compare the clean images behind the training sets: which each set keeps, and which it replaces or relabels.

A red example stands in the bucket of its web image, the clean image that it replaced may belong to any other. So buckets
send, for every clean image, one bit for each set that keeps it and one for each that replaces or relabels it, to the group of
the clean image.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.keyed_hash import bucket, by_key, shard_key
from pipeline.shards.packing import pack, unpack
from pipeline.verify.plan import PlannedSet, VerificationPlan
from pipeline.verify.tally import Tally


@dataclass(frozen=True)
class CleanImages:
    """Ids of the clean images that a set keeps with their right label, and of those that it replaces or relabels."""

    kept: pa.Array
    changed: pa.Array


def group_clean_images(sets: Sequence[CleanImages], plan: VerificationPlan, tally: Tally) -> dict[int, bytes]:
    """Return packed rows (image_id, bits) by group, from the clean images of all drawn sets in one bucket."""
    columns = [ids for each in sets for ids in (each.kept, each.changed)]
    coded = pa.concat_arrays([pa.array([], pa.string()), *columns]).dictionary_encode()
    ids, width = coded.dictionary, len(columns)
    if not len(ids):
        return {}
    column = np.repeat(np.arange(width), [len(each) for each in columns])
    uses = np.bincount(coded.indices.to_numpy() * width + column, minlength=len(ids) * width)
    uses = uses.reshape(len(ids), width)
    _count_repeated(uses, plan, tally)
    bits = np.packbits(uses > 0, axis=1)
    rows = pa.table({"image_id": ids, "bits": _binary(bits)})
    groups = bucket(shard_key(ids.to_pylist()), plan.clean_groups)
    return {group: pack(part) for group, part in by_key(rows, groups)}


def check_clean_images(parts: Iterable[bytes], plan: VerificationPlan) -> Tally:
    """Check the clean images of one group, from the packed rows of all buckets."""
    tally = Tally()
    rows = pa.concat_tables([unpack(part) for part in parts])
    coded = rows["image_id"].combine_chunks().dictionary_encode()
    drawn = plan.drawn()
    width = 2 * len(drawn)
    data = np.frombuffer(b"".join(rows["bits"].to_pylist()), np.uint8).reshape(rows.num_rows, -1)
    uses = np.zeros((len(coded.dictionary), width), np.uint16)
    np.add.at(uses, coded.indices.to_numpy(), np.unpackbits(data, axis=1, count=width))
    _count_repeated(uses, plan, tally)
    changed = uses[:, 1::2] > 0
    present = changed | (uses[:, 0::2] > 0)
    index = {each.name: i for i, each in enumerate(drawn)}
    for rule, pairs, flags in (
        ("clean_images", same_clean_images(drawn), present),
        ("changed", same_noisy_images(drawn), changed),
    ):
        for first, other in pairs:
            differing = flags[:, index[first.name]] != flags[:, index[other.name]]
            examples = coded.dictionary.filter(pa.array(differing)).to_pylist()
            tally.add_finding((rule, first.name, other.name), examples)
    return tally


def same_clean_images(drawn: Sequence[PlannedSet]) -> Iterator[tuple[PlannedSet, PlannedSet]]:
    """Yield pairs of sets that are made of the same clean images: all of one size.

    With on_shortage: shrink, sets leave clean images out.
    """
    first: dict[str, PlannedSet] = {}
    for each in drawn:
        if each.about["on_shortage"] == "shrink":
            continue
        other = first.setdefault("blue" if _is_larger_blue(each) else "red", each)
        if other is not each:
            yield other, each


def same_noisy_images(drawn: Sequence[PlannedSet]) -> Iterator[tuple[PlannedSet, PlannedSet]]:
    """Yield pairs of sets in which the same clean images are replaced or relabeled: those of one trial and level, whatever the color.

    Colors that a shortage limits by different supplies are not compared.
    """
    first: dict[tuple[object, ...], PlannedSet] = {}
    for each in drawn:
        about = each.about
        group = "blue" if _is_larger_blue(each) else "all"
        if about["on_shortage"] != "error" and about["color"].startswith("red-"):
            group = about["color"]  # limited by a supply of its own
        other = first.setdefault((group, about["trial"], about["noise_level"]), each)
        if other is not each:
            yield other, each


def _is_larger_blue(planned: PlannedSet) -> bool:
    """Whether the set is made of all clean images although red sets are not (blue_size: all)."""
    return planned.about["blue_size"] == "all" and bool(planned.about["color"].startswith("blue"))


def _count_repeated(uses: np.ndarray, plan: VerificationPlan, tally: Tally) -> None:
    """Count clean images that stand behind more than one row of a set; uses: (images, 2 × sets), kept and changed."""
    rows = uses[:, 0::2].astype(np.int64) + uses[:, 1::2]
    for each, extra in zip(plan.drawn(), np.maximum(rows - 1, 0).sum(axis=0).tolist(), strict=True):
        tally.add_finding(("clean_repeated", each.name), [""] * extra)


def _binary(rows: np.ndarray) -> pa.Array:
    """Return the rows of a uint8 array (n, width) as binary values."""
    kind = pa.binary(rows.shape[1])
    return pa.Array.from_buffers(kind, len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows))])
