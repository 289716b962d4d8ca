"""Reads a set back as anybody can: what its manifest states, its rows, and its pictures, each looked at once."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
from pyarrow import parquet

from common.errors import DataError
from pipeline import files
from pipeline.ingest.fingerprint import Fingerprints, fingerprint
from pipeline.ingest.normalize import decode_stored
from schemas.example import EXAMPLE, SHARED_IMAGE_SCHEMA, SHARED_IMAGES, TEST_SET, example_schema
from schemas.manifest import MANIFEST, Manifest

HASH_BATCH = 512


@dataclass(frozen=True)
class ReadSet:
    """One set as read back."""

    name: str
    manifest: Manifest
    examples: pa.Table

    def ids(self) -> list[str]:
        """The images, in the order of the rows."""
        return self.examples["image_id"].to_pylist()

    @property
    def is_drawn(self) -> bool:
        """Whether it is a training set that was drawn, not one that a list gives."""
        return self.name != TEST_SET and not self.manifest.about.get("fixed_set")

    def kept(self) -> set[str]:
        """Clean images that are there with their right label."""
        return set(self.examples.filter(self.examples["is_clean"])["image_id"].to_pylist())

    def gave_way(self) -> set[str]:
        """Clean images that are not there with their right label: replaced (red) or flipped (blue)."""
        noisy = self.examples.filter(pa.compute.invert(self.examples["is_clean"]))
        replaced, own = noisy["replaced_image_id"].to_pylist(), noisy["image_id"].to_pylist()
        return {r or i for r, i in zip(replaced, own, strict=True)}


@dataclass
class Pictures:
    """The distinct pictures of all sets: the digest of each image's bytes, its size, and its fingerprints.

    sizes: width and height in pixels, with the ids of the images that have them.
    """

    digests: dict[str, bytes] = field(default_factory=dict)
    prints: list[Fingerprints] = field(default_factory=list)
    sizes: dict[tuple[int, int], list[str]] = field(default_factory=dict)

    def wrong_sizes(self, resize: str) -> Iterator[str]:
        """Yield a problem for each size that is not the most frequent one, if `resize` makes one size of all pictures.

        For `fit`, the longer sides are compared.
        """
        if resize == "none":
            return
        groups: dict[tuple[int, ...], list[str]] = {}
        for size, ids in self.sizes.items():
            groups.setdefault((max(size),) if resize == "fit" else size, []).extend(ids)
        most = max(groups, key=lambda each: len(groups[each]), default=())
        for group, ids in groups.items():
            if group != most:
                yield f"{len(ids)} pictures are {_text(group)}, {ids[0]} for one, the others {_text(most)}"


def _text(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size)) + (" at the longer side" if len(size) == 1 else "")


def read_set(
    folder: str, name: str, manifest: Manifest, pictures: Pictures, problems: list[str]
) -> ReadSet | None:
    """Read a set without its pictures, which go to `pictures`; what is wrong goes to `problems`. None: unreadable."""
    shared = manifest.about.get("mode") == "shared"
    schema = (
        SHARED_IMAGE_SCHEMA
        if name == SHARED_IMAGES
        else example_schema(manifest.about["class_names"], with_images=not shared)
    )
    listed = [column for column in schema.names if column != "image"]
    tables = [schema.empty_table().select(listed)]
    known = {MANIFEST, *(shard.file for shard in manifest.shards)}
    problems += [
        f"{name}: {stray} is not of this set, but may be read with it by its folder; remove it"
        for stray in sorted(files.entries(folder).keys() - known)
        if not stray.startswith((".", "_"))  # which readers of folders skip
    ]
    for shard in manifest.shards:
        path = files.join(folder, shard.file)
        try:
            if files.sha256(path) != shard.sha256:
                problems.append(
                    f"{path}: the bytes are not those that were written (sha256 differs); copy it again"
                )
                return None
        except DataError as error:
            problems.append(str(error))
            return None
        try:
            for table in _batches(path, schema, shard.rows):
                tables.append(table.select(listed))
                if "image" in schema.names:
                    problems += [f"{name}: {problem}" for problem in _take_pictures(table, pictures)]
        except (DataError, pa.ArrowException, OSError) as error:
            problems.append(
                str(error) if isinstance(error, DataError) else f"{path}: cannot be read ({error})"
            )
            return None
    return ReadSet(name, manifest, pa.concat_tables(tables))


def _batches(path: str, schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """The rows of a shard. Raises DataError where they are not what they should be."""
    with files.open_read(path) as file:
        reader = parquet.ParquetFile(file)
        if not reader.schema_arrow.equals(schema, check_metadata=True):
            raise DataError(f"{path}: columns or class names are not those of the example table")
        if reader.metadata.num_rows != rows:
            raise DataError(f"{path}: {reader.metadata.num_rows} rows, the manifest says {rows}")
        for batch in reader.iter_batches(batch_size=HASH_BATCH):
            table = pa.Table.from_batches([batch])
            table.validate(full=True)  # raises ArrowInvalid for text that is not UTF-8
            for column in EXAMPLE.required:
                if column in schema.names and table[column].null_count:
                    raise DataError(f"{path}: {column} is missing in some rows")
            yield table


def _take_pictures(table: pa.Table, pictures: Pictures) -> Iterator[str]:
    """Fingerprint the pictures that have not been seen in another set."""
    new = []
    for image_id, image in zip(table["image_id"].to_pylist(), table["image"].to_pylist(), strict=True):
        digest = hashlib.sha256(image["bytes"] or b"").digest()
        if image_id in pictures.digests:
            if pictures.digests[image_id] != digest:
                yield f"image {image_id} is another picture than in another set"
            continue
        try:
            new.append(decode_stored(image["bytes"]))
        except Exception as error:
            yield f"image {image_id} does not decode ({error})"
            continue
        pictures.digests[image_id] = digest
        pictures.sizes.setdefault(new[-1].size, []).append(image_id)
    if new:
        pictures.prints.append(fingerprint(new))
