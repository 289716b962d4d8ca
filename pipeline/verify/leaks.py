"""Search a dataset for leaks again, with fingerprints computed from the images in its shards.

The search has three steps, so that nobody holds the fingerprints of all images: each group of training images is compared
with the 64-bit hashes of all test images; of images that are near, the fingerprints are computed again; these decide.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from common.errors import DataError
from pipeline import files
from pipeline.config import DedupeConfig
from pipeline.dedupe.leaks import find_leaks
from pipeline.dedupe.neighbors import distinct_hashes, near_pairs
from pipeline.dedupe.orientations import oriented_hashes
from pipeline.ingest.fingerprint import COLUMNS, Fingerprints, fingerprint
from pipeline.ingest.normalize import decode_stored
from pipeline.keyed_hash import bucket, shard_key
from pipeline.shards.packing import pack, unpack
from pipeline.verify.batches import batches
from pipeline.verify.plan import Bucket, VerificationPlan
from schemas.duplicate import SEARCHED_ORIENTATIONS
from schemas.example import SHARED_IMAGES, TEST_SET
from schemas.image import IMAGES
from schemas.table import UNREADABLE

SHOWN_LEAKS = 10
NEAR_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string()),
        pa.field("is_test", pa.bool_()),
        pa.field("is_promised", pa.bool_()),  # in a set that is not fixed
        pa.field("is_clean", pa.bool_()),  # from the clean lists
        *(IMAGES.schema.field(name) for name in COLUMNS),
    ]
)


@dataclass
class Leaks:
    """counts: number of leaks by kind. examples: the first leaks that are not allowed, in words."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)


def pack_hashes(
    ids: Sequence[str], short: np.ndarray, oriented: np.ndarray, rules: DedupeConfig
) -> bytes | None:
    """Pack the shard keys and the 64-bit hashes of images, in the orientations that the rules name; None for none."""
    if not ids:
        return None
    hashes = oriented_hashes(short, oriented, SEARCHED_ORIENTATIONS[rules.orientations])
    column = pa.FixedSizeListArray.from_arrays(pa.array(hashes.reshape(-1)), hashes.shape[1])
    return pack(pa.table({"key": pa.array(shard_key(ids)), "hashes": column}))


def join_hashes(parts: Iterable[bytes]) -> pa.Table | None:
    """Return the packed hashes of several buckets as one table, in the order of shard keys; None without any."""
    tables = [unpack(part) for part in parts]
    return pa.concat_tables(tables).sort_by("key").combine_chunks() if tables else None


def near_keys(
    test: pa.Table | None, training: Iterable[bytes], rules: DedupeConfig, threads: int | None = None
) -> np.ndarray:
    """Return the shard keys of the test images and the training images of a group whose hashes are near, uint64 (n,)."""
    group = join_hashes(training)
    if test is None or group is None:
        return np.empty(0, np.uint64)
    tests, trainings = _values(test), _values(group)
    hashes, repeats = distinct_hashes(np.concatenate([np.unique(tests), np.unique(trainings)]))
    near = near_pairs(hashes, rules.radius, threads)
    u, v = np.concatenate([near.u, repeats.u]), np.concatenate([near.v, repeats.v])
    keys = []
    for own, other, table in ((tests, trainings, test), (trainings, tests, group)):
        hits = np.concatenate([u[np.isin(v, other)], v[np.isin(u, other)]])
        keys.append(table["key"].to_numpy()[np.isin(own, hits).any(axis=1)])
    return np.unique(np.concatenate(keys))


def _values(table: pa.Table) -> np.ndarray:
    values: np.ndarray = table["hashes"].combine_chunks().flatten().to_numpy()
    return values.reshape(table.num_rows, -1)


def read_near(part: Bucket, plan: VerificationPlan, keys: np.ndarray) -> bytes | None:
    """Return packed rows of NEAR_SCHEMA for the images of a bucket with these shard keys; None without any."""
    own = keys[bucket(keys, plan.buckets) == part.index]
    if not len(own):
        return None
    members: dict[str, set[str]] = {}  # set → its ids
    clean: set[str] = set()
    for name in part.shards:
        if name == SHARED_IMAGES:
            continue
        for table in _read(part, plan, name, ["image_id", "source"], own):
            members.setdefault(name, set()).update(table["image_id"].to_pylist())
            clean.update(table.filter(pc.field("source") == "clean")["image_id"].to_pylist())
    test = members.get(TEST_SET, set())
    promised = set[str]().union(*(ids for name, ids in members.items() if not plan.sets[name].is_fixed))
    rows: dict[str, dict[str, object]] = {}
    for name in [SHARED_IMAGES] if plan.is_shared else sorted(part.shards):
        for table in _read(part, plan, name, ["image_id", "image"], own):
            for image_id, image in zip(
                table["image_id"].to_pylist(), table["image"].to_pylist(), strict=True
            ):
                # A set may lack an image that another one has.
                if image_id not in rows and image and (prints := _fingerprint(image["bytes"])):
                    rows[image_id] = {
                        "image_id": image_id,
                        "is_test": image_id in test,
                        "is_promised": image_id in promised,
                        "is_clean": image_id in clean,
                        **prints.columns(0),
                    }
    return pack(pa.Table.from_pylist(list(rows.values()), NEAR_SCHEMA)) if rows else None


def _read(
    part: Bucket, plan: VerificationPlan, name: str, columns: list[str], keys: np.ndarray
) -> Iterable[pa.Table]:
    """Yield those rows of a set in a bucket that have one of the shard keys, but none of shards that check_bucket reports."""
    for shard in part.shards.get(name, []):
        try:
            with files.open_read(files.join(plan.dataset, name, shard.file)) as file:
                reader = parquet.ParquetFile(file)
                if not reader.schema_arrow.equals(plan.schema_of(name), check_metadata=True):
                    return
                for table in batches(file, columns):
                    if table["image_id"].null_count:
                        return
                    wanted = np.isin(shard_key(table["image_id"].to_pylist()), keys)
                    yield table.filter(pa.array(wanted))
        except (DataError, *UNREADABLE):
            return


def _fingerprint(data: bytes | None) -> Fingerprints | None:
    try:
        return fingerprint([decode_stored(data or b"")])
    except Exception:  # reported by check_bucket
        return None


def find_near_leaks(parts: Iterable[bytes], plan: VerificationPlan) -> Leaks:
    """Compare the fingerprints of all near images, and return the leaks among them."""
    found = Leaks()
    tables = [unpack(part) for part in parts]
    if plan.rules is None or not tables:
        return found
    rows = pa.concat_tables(tables).sort_by("image_id").combine_chunks()
    ids, is_test = rows["image_id"].to_pylist(), rows["is_test"].to_numpy()
    promised, clean = rows["is_promised"].to_numpy(), rows["is_clean"].to_numpy()
    pairs = find_leaks(Fingerprints.from_table(rows), is_test, plan.rules)
    for test, training, bits in zip(pairs.a, pairs.b, pairs.distance_256, strict=True):
        if not promised[training]:
            kind = "leaks_only_in_fixed_sets"
        elif plan.rules.clean_leaks == "keep" and clean[training]:
            kind = "clean_leaks_kept"
        else:
            kind = "leaks"
            if len(found.examples) < SHOWN_LEAKS:
                found.examples.append(
                    f"training image {ids[training]} looks like test image {ids[test]} ({bits} of 256 bits differ)"
                )
        found.counts[kind] = found.counts.get(kind, 0) + 1
    return found
