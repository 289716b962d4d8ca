"""Open a set of Parquet shards, and check that it is complete, unaltered and consistent."""

import hashlib
import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from common import parquet_rows
from common.errors import DataError
from schemas.example import EXAMPLE, SHARED_IMAGES
from schemas.manifest import MANIFEST, Manifest
from training.data.decode import decode
from training.data.encoded import COLUMN, EncodedImages, join, locate_images, open_shard, reading, source
from training.data.image_stores import ImageStore, StreamedImages

UNKNOWN = -1  # a true label that is null in the table
COLUMNS = ["label", "is_clean", "image_id", "true_label"]
RESIDENT_BYTES = 8 << 30  # sets whose decoded images take at most this are kept in memory


class ImageIds(Sequence[str]):
    """Image ids by row, in an Arrow column."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, row: Any) -> Any:
        return self.column[row].as_py()

    def take(self, rows: np.ndarray) -> "ImageIds":
        """Return the ids of some rows, int64 [n]."""
        return ImageIds(self.column.take(pa.array(rows)))


@dataclass(frozen=True)
class ImageSet:
    """A training or test set. Tensors are on one device; images may be streamed.

    labels: given labels, int64 [N]. is_clean: bool [N]. true_labels: int64 [N], −1 where unknown. digest: SHA-256 of
    the manifest, which holds the digests of all shards. identity: see `set_identity`.
    """

    name: str
    image_ids: ImageIds
    images: ImageStore
    labels: Tensor
    is_clean: Tensor
    true_labels: Tensor
    class_names: tuple[str, ...]
    digest: str
    identity: str

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> Self:
        """Return the examples of some rows, int64 [n]."""
        names = ("labels", "is_clean", "true_labels")
        parts = {name: getattr(self, name)[rows.to(getattr(self, name).device)] for name in names}
        ids = self.image_ids.take(rows.numpy())
        return replace(self, image_ids=ids, images=self.images.take(rows), **parts)

    def to(self, device: torch.device) -> Self:
        """Return the set with tensors and batches on `device`."""
        moved = {
            name: getattr(self, name).to(device) for name in ("images", "labels", "is_clean", "true_labels")
        }
        return replace(self, **moved)


def read_manifest(directory: Path) -> tuple[Manifest, str]:
    """Return the manifest of a set and its SHA-256.

    Raises DataError if the manifest is missing, damaged, of another table, or not the one that the dataset lists.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise DataError(_missing_set_message(directory))
    data = path.read_bytes()
    manifest, digest = Manifest.from_json(data, str(path)), hashlib.sha256(data).hexdigest()
    if manifest.table != EXAMPLE.name:
        raise DataError(
            f"{path}: the table is {manifest.table!r}, training needs {EXAMPLE.name!r}; give the folder of a set"
        )
    for about, check in {"class_names": _is_list_of_names, "noise_level": _is_share}.items():
        if about not in manifest.about:
            raise DataError(f"{path}: the key {about!r} is missing; build the set again")
        if not check(manifest.about[about]):
            raise DataError(f"{path}: {about!r} has no valid value; copy or build the set again")
    if manifest.rows == 0:
        raise DataError(f"{path}: the set is empty; check the counts of its build")
    _check_against_root(directory, digest)
    return manifest, digest


def set_identity(manifest: Manifest, digest: str) -> str:
    """Return the SHA-256 of the classes and shards of a set, which identifies the runs that are trained on it.

    `digest`, that of the manifest, would change when another version of the software builds the same shards again. It is
    returned for a set of a shared dataset, whose shards hold no images.
    """
    if manifest.about.get("mode") == "shared":
        return digest
    content = manifest.about["class_names"], [shard.sha256 for shard in manifest.shards]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def dataset_name(directory: Path) -> str | None:
    """Return the name of a dataset; None if its manifest is missing or damaged, or has no name."""
    try:
        path = directory / MANIFEST
        name = Manifest.from_json(path.read_bytes(), str(path)).about.get("name")
    except (DataError, OSError):
        return None
    return name if isinstance(name, str) else None


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(name, str) for name in value)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _check_against_root(directory: Path, digest: str) -> None:
    """Raise DataError if the manifest of the dataset lists another digest for this set's manifest.

    A set that was copied without its dataset is not checked.
    """
    path = directory.resolve().parent / MANIFEST
    if not path.is_file():
        return
    root = Manifest.from_json(path.read_bytes(), str(path))
    sets = root.about.get("sets")
    if not isinstance(sets, dict):
        return  # the folder above is not a dataset
    entry = sets.get(directory.resolve().name)
    if not isinstance(entry, dict) or entry.get("manifest_sha256") != digest:
        raise DataError(
            f"{directory}: this set is not the one that {path} names: the build of the dataset was interrupted or "
            "the set was exchanged; run the build again or copy the whole dataset again"
        )


def _missing_set_message(directory: Path) -> str:
    """Return the error message for a folder without a set."""
    data = directory.parent
    sets = sorted(other.parent.name for other in data.glob(f"*/{MANIFEST}"))
    if any(directory.glob("*.parquet")):
        return f"{directory}: no {MANIFEST}: the build of this set was interrupted; run it again"
    if (data / "dataset" / directory.name / MANIFEST).is_file():
        return f"{directory}: no such set; did you mean --data {data / 'dataset'}?"
    if not sets:
        return f"{data}: the folder has no sets; give the folder of a dataset, OUTPUT/dataset"
    words = [name for name in sets if name.isalpha()]  # suggest mistyped words, but not another noise level
    nearest = get_close_matches(directory.name, sets, n=1, cutoff=0.9) or get_close_matches(
        directory.name, words, n=1
    )
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    return f"{directory}: no such set{hint}; the dataset has {', '.join(sets)}. Add levels with noise.levels and build again"


def load(directory: Path, resident_bytes: int = RESIDENT_BYTES) -> ImageSet:
    """Open and check a set, a folder with a manifest.

    Images are decoded into CPU memory if all of them take at most `resident_bytes`, else streamed. Each process of a shared
    run hashes all shards, which takes 1 % of the time of decoding them. Raises DataError for a missing manifest, withheld
    images, a missing or altered shard, wrong counts, labels outside the classes, and images that cannot be decoded or differ in size.
    """
    manifest, digest = read_manifest(directory)
    if withheld := manifest.about.get("withheld"):
        raise DataError(
            f"{directory}: {withheld} rows have no image, since it may not be given away; use the dataset of the build"
        )
    shared = manifest.about.get("mode") == "shared"
    tables, parts = [], []
    for shard in manifest.shards:
        mapped, parquet = open_shard(directory / shard.file, shard)
        tables.append(_read(mapped, parquet, COLUMNS, directory / shard.file))
        if not shared:
            parts.append(_locate_images(mapped, parquet, directory / shard.file))
    table = pa.concat_tables(tables)
    if table.num_rows != manifest.rows:
        raise DataError(
            f"{directory}: shards hold {table.num_rows} rows, but the manifest says {manifest.rows}; build the set again"
        )
    names = tuple(manifest.about["class_names"])
    labels = table["label"].to_numpy()
    true_labels = pc.fill_null(table["true_label"], UNKNOWN).to_numpy()
    for what, values, least in (("labels", labels, 0), ("true labels", true_labels, UNKNOWN)):
        if values.min() < least or values.max() >= len(names):
            raise DataError(
                f"{directory}: {what} range from {values.min()} to {values.max()}, but the manifest has {len(names)} "
                "class names; build the set again"
            )
    ids = table["image_id"]
    encoded = _shared_images(directory, ids) if shared else join(parts)
    return ImageSet(
        name=directory.name,
        image_ids=ImageIds(ids),
        images=_open_images(encoded, ImageIds(ids), str(directory), resident_bytes),
        labels=torch.tensor(labels, dtype=torch.int64),
        is_clean=torch.tensor(table["is_clean"].to_numpy(zero_copy_only=False)),
        true_labels=torch.tensor(true_labels, dtype=torch.int64),
        class_names=names,
        digest=digest,
        identity=set_identity(manifest, digest),
    )


def _open_images(
    encoded: EncodedImages, image_ids: ImageIds, directory: str, resident_bytes: int
) -> ImageStore:
    """Decode the first image to learn the size, and all images if they fit in `resident_bytes`."""
    try:
        height, width, _ = decode(encoded[0]).shape
    except (OSError, ValueError) as error:
        raise DataError(
            f"{directory}: image {image_ids[0]!r} cannot be decoded ({error}); build the set again"
        ) from error
    streamed = StreamedImages(encoded, image_ids, (height, width), directory)
    return streamed.resident() if len(encoded) * height * width * 3 <= resident_bytes else streamed


def load_pair(
    data: Path, train: str, test: str, resident_bytes: int = RESIDENT_BYTES
) -> tuple[ImageSet, ImageSet]:
    """Open a training set and a test set below `data`. Raises DataError if their classes or image sizes differ."""
    first, second = load(data / train, resident_bytes), load(data / test, resident_bytes)
    if first.class_names != second.class_names:
        raise DataError(
            f"{data}: {train} has the classes {list(first.class_names)}, {test} has {list(second.class_names)}; "
            "build both with one class list"
        )
    if first.images.size != second.images.size:
        raise DataError(
            f"{data}: images of {train} are {_size(first)} pixels, of {test} {_size(second)}; "
            "build both with one image size"
        )
    return first, second


def _size(images: ImageSet) -> str:
    return "×".join(map(str, reversed(images.images.size)))


def _shared_images(directory: Path, ids: pa.ChunkedArray) -> EncodedImages:
    """Return the images of a set of a shared dataset, in the order of `ids`; the set itself holds no images."""
    folder = directory.parent / SHARED_IMAGES
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(
            f"{directory}: the folder of its images, {folder}, is missing; copy it or build the dataset again"
        )
    data = path.read_bytes()
    _check_against_root(folder, hashlib.sha256(data).hexdigest())
    stored_ids, parts = [], []
    for shard in Manifest.from_json(data, str(path)).shards:
        mapped, parquet = open_shard(folder / shard.file, shard)
        stored_ids.append(_read(mapped, parquet, ["image_id"], folder / shard.file)["image_id"])
        parts.append(_locate_images(mapped, parquet, folder / shard.file))
    all_ids = pa.chunked_array([chunk for column in stored_ids for chunk in column.chunks], type=ids.type)
    rows = pc.index_in(ids, value_set=all_ids)
    if rows.null_count:
        missing = ids.filter(pc.is_null(rows))
        raise DataError(
            f"{directory}: {len(missing)} images are missing in {folder}, for example {missing[0].as_py()!r}; "
            "build the dataset again"
        )
    return join(parts).take(rows.to_numpy())


def _locate_images(mapped: mmap.mmap, parquet: pq.ParquetFile, path: Path) -> EncodedImages:
    _require_columns(parquet, [COLUMN], path)
    with reading(path):
        return locate_images(mapped, parquet)


def _read(mapped: mmap.mmap, parquet: pq.ParquetFile, columns: Sequence[str], path: Path) -> pa.Table:
    """Read columns with the types of the table's schema."""
    _require_columns(parquet, columns, path)
    with reading(path):
        schema = pa.schema([EXAMPLE.schema.field(name) for name in columns])
        table = parquet_rows.read_table(source(mapped), columns).cast(schema)
        table.validate(full=True)  # raises ArrowInvalid for text that is not UTF-8
        return table


def _require_columns(parquet: pq.ParquetFile, columns: Sequence[str], path: Path) -> None:
    present = {parquet.schema.column(number).path for number in range(len(parquet.schema))}
    for column in columns:
        if column not in present:
            raise DataError(f"{path}: the column {column!r} is missing; build the set again")
