"""Read a collection of images in one of the forms that people have: a folder, Parquet files, a saved Hugging Face dataset."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from common import parquet_rows
from common.errors import DataError, UsageError
from pipeline.ingest.source_folder import SourceFolder
from pipeline.rejections import Rejected
from pipeline.retrieve.image_files import find_all_images
from schemas.table import UNREADABLE, listed

MAX_BYTES = 20_000_000  # as ingest.max_bytes
ROWS_AT_ONCE = 16
_ID_COLUMNS = ("image_id", "id")


@dataclass(frozen=True)
class Encoded:
    """An image of a collection: its id, and its encoded bytes, or why there are none."""

    image_id: str
    data: bytes
    rejection: Rejected | None = None


def read_images(path: str) -> Iterator[Encoded]:
    """Yield the images of a collection, in a fixed order, without holding more than ROWS_AT_ONCE of them.

    path: a folder of image files, a Parquet file, a folder of Parquet files (such as a set of a dataset), or a folder
    that `datasets.Dataset.save_to_disk` wrote. Raises DataError if it is none of these, UsageError if a folder has both
    Parquet files and image files.
    """
    path = path.rstrip("/") or path
    if os.path.isfile(path):
        yield from _parquet_images([path])
    elif not os.path.isdir(path):
        raise DataError(f"{path}: no such file or folder; give a folder of images, or Parquet files")
    elif _is_saved_dataset(path):
        yield from _saved_images(path)
    elif shards := sorted(
        name for name in os.listdir(path) if name.endswith(".parquet") and name[0] not in "._"
    ):
        if any(image.path not in shards for image in find_all_images(path).images):
            raise UsageError(
                f"{path}: has image files beside {shards[0]}; move the Parquet files to another folder"
            )
        yield from _parquet_images([os.path.join(path, name) for name in shards])
    else:
        yield from _folder_images(path)


def _folder_images(folder: str) -> Iterator[Encoded]:
    found = find_all_images(folder).images
    if not found:
        raise DataError(f"{folder}: no images in it; give a folder of images, or one of Parquet files")
    source = SourceFolder(os.path.realpath(folder), MAX_BYTES)
    for file in found:
        try:
            yield Encoded(file.path, source.read(file.path))
        except Rejected as rejected:
            yield Encoded(file.path, b"", rejected)


def _parquet_images(paths: list[str]) -> Iterator[Encoded]:
    for path in paths:
        try:
            with pa.OSFile(path) as opened:
                schema = parquet.ParquetFile(opened).schema_arrow
                column = _image_column(schema, path)
                names = [column, *[name for name in _ID_COLUMNS if _holds_ids(schema, name)][:1]]
                number = 0
                for batch in parquet_rows.batches(opened, names, rows_at_once=ROWS_AT_ONCE):
                    batch.validate(full=True)  # raises ArrowInvalid for text that is not UTF-8
                    ids = _texts(batch.column(1)) if len(names) > 1 else [None] * batch.num_rows
                    for image_id, image in zip(ids, batch.column(0).to_pylist(), strict=True):
                        number += 1
                        yield _encoded(image_id or f"{os.path.basename(path)}:{number}", image, path)
        except UNREADABLE as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"{path}: cannot be read as Parquet ({reason}); restore the file") from error


def _holds_ids(schema: pa.Schema, name: str) -> bool:
    """Whether a column exists and holds text, in any of Arrow's types for it, or integers."""
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer)
    return any(is_kind(kind) for is_kind in kinds)


def _texts(column: pa.Array) -> list[str | None]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    return texts


def _image_column(schema: pa.Schema, path: str) -> str:
    """Return the first column of encoded images: binary, or a struct with a binary field `bytes`, as Hugging Face has."""
    for field in schema:
        if _holds_images(field.type):
            return str(field.name)
    raise DataError(
        f"{path}: no column of encoded images (binary, or a struct with 'bytes'); it has {listed(schema.names)}"
    )


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_binary(kind.field(index).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(is_kind(kind) for is_kind in kinds)


def _encoded(image_id: str, image: Any, path: str) -> Encoded:
    data = image.get("bytes") if isinstance(image, dict) else image
    if not data:
        return Encoded(image_id, b"", Rejected("empty", f"{path}: no bytes in this row"))
    if len(data) > MAX_BYTES:
        return Encoded(image_id, b"", Rejected("too_large", f"more than {MAX_BYTES} bytes"))
    return Encoded(image_id, data)


def _is_saved_dataset(path: str) -> bool:
    return any(os.path.isfile(os.path.join(path, name)) for name in ("state.json", "dataset_dict.json"))


def _saved_images(path: str) -> Iterator[Encoded]:
    """Yield the images of a folder written by `save_to_disk`, by the library `datasets`; no image is decoded."""
    try:
        import datasets
    except ImportError as error:
        raise UsageError(f"{path}: a saved Hugging Face dataset; to read it, pip install datasets") from error
    try:
        loaded = datasets.load_from_disk(path)
    except Exception as error:  # of many kinds, for damaged files
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: datasets.load_from_disk fails ({reason}); save it again") from error
    if isinstance(loaded, dict):
        raise UsageError(f"{path}: it has the splits {', '.join(loaded)}; give the folder of one of them")
    names = [name for name, kind in loaded.features.items() if isinstance(kind, datasets.Image)]
    if not names:
        raise DataError(f"{path}: no column of type Image; it has {listed(list(loaded.features))}")
    images = loaded.select_columns(names[:1]).cast_column(names[0], datasets.Image(decode=False))
    for number, row in enumerate(images, 1):
        try:
            yield _encoded(f"row {number}", _with_bytes(row[names[0]]), path)
        except OSError as error:
            yield Encoded(f"row {number}", b"", Rejected("unreadable_file", f"{path}: {error}"))


def _with_bytes(image: dict[str, Any] | None) -> dict[str, Any] | None:
    """Read the file of an image that is stored by its path, as `datasets` does. Raises OSError."""
    if image and not image.get("bytes") and image.get("path") and os.path.isfile(image["path"]):
        with open(image["path"], "rb") as file:
            return {"bytes": file.read(MAX_BYTES + 1)}
    return image
