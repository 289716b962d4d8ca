"""Export a set as WebDataset tar shards, or as one folder of images per class.

Equal sets give equal bytes: members have no times or owners, and the order of the shards.
"""

import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from hashlib import sha256
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
from pyarrow import compute as pc

from common.atomic_file import TEMPORARY_PREFIX
from common.errors import DataError, UsageError
from common.new_folder import UNFINISHED, new_folder
from pipeline import files
from pipeline.keyed_hash import by_bucket
from pipeline.shards import directory
from pipeline.shards.dataset_manifests import read_root, read_set_manifest
from schemas.cells import csv_text
from schemas.example import EXAMPLE, SHARED_IMAGE_SCHEMA, SHARED_IMAGES, example_schema
from schemas.manifest import MANIFEST, Manifest

Format = Literal["webdataset", "folder"]
MAX_NAME = 150  # characters; file systems take 255 bytes
EXPORT = "export.json"  # describes the export; written last
_VERIFY = "the dataset was altered: run `python -m pipeline verify` on it, or copy it again"
_EXTENSIONS = {b"\xff\xd8": "jpg", b"\x89P": "png", b"RI": "webp"}


class Sample(NamedTuple):
    """One exported example: file name without extension, extension, encoded image, and the other columns."""

    key: str
    extension: str
    image: bytes
    columns: dict[str, Any]


def export(dataset: str, set_name: str, kind: Format, output: str) -> dict[str, Any]:
    """Write a set of a self-contained or shared dataset to the folder `output`; return the content of `export.json`.

    An export that was interrupted can be repeated. Raises UsageError for an unknown set and for an `output` that holds anything
    else, and DataError if a shard was changed, rows have no image or invalid values, or two examples or
    classes would have one file or folder.
    """
    sets = [name for name in read_root(dataset)[1] if name != SHARED_IMAGES]
    if set_name not in sets:
        near = get_close_matches(set_name, sets, n=1, cutoff=0.9)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"--set-name {set_name}: no such set; {hint}{dataset} has {', '.join(sets) or 'no sets'}"
        )
    manifest = read_set_manifest(dataset, set_name)
    if withheld := manifest.about.get("withheld"):
        rows = f"{withheld:,}" if isinstance(withheld, int) else str(withheld)
        raise DataError(
            f"{dataset}: {rows} rows of {set_name} have no image, since it may not be given away; export the dataset of the "
            "build"
        )
    names = manifest.about["class_names"]
    write = {"webdataset": _write_tars, "folder": _write_folder}[kind]
    description = {
        "format": kind,
        "set_name": set_name,
        "rows": manifest.rows,
        "class_names": names,
        "manifest_sha256": files.sha256(files.join(dataset, set_name, MANIFEST)),
    }
    with (_new_remote_folder if "://" in output else new_folder)(output, description):
        description["files"] = write(dataset, set_name, manifest, output)
        text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
        files.write_text(files.join(output, EXPORT), text)
    return description


@contextmanager
def _new_remote_folder(output: str, content: Mapping[str, Any]) -> Iterator[None]:
    """Fill a new folder in an object store or on HDFS during the block, like `new_folder`, but without a lock."""
    marker, text = files.join(output, UNFINISHED), json.dumps(content, sort_keys=True)
    present = {name for name in files.entries(output) if not name.startswith(TEMPORARY_PREFIX)}
    if present and files.read_existing(marker) != text.encode():
        raise UsageError(f"{output}: the folder is not empty; empty it, or choose another --output")
    files.remove_temporaries(output)
    files.write_text(marker, text)
    try:
        yield
    finally:
        if files.entries(output).keys() == {UNFINISHED}:  # nothing to continue with
            files.remove(marker)
    files.remove(marker)


def safe_name(name: str) -> str:
    """Return a file name of letters, digits, _ and -; other bytes become %XX, and long names end in a digest."""
    safe = quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(safe) > MAX_NAME:
        safe = f"{safe[:MAX_NAME]}-{sha256(name.encode()).hexdigest()[:16]}"
    return safe


def _samples(table: pa.Table, class_names: list[str]) -> Iterator[Sample]:
    for row in table.to_pylist():
        image = row.pop("image")["bytes"] or b""
        extension = _EXTENSIONS.get(image[:2])
        if extension is None:
            raise DataError(f"image {row['image_id']!r} is not a JPEG, PNG or WebP file; {_VERIFY}")
        row["class_name"] = class_names[row["label"]]
        yield Sample(safe_name(row["image_id"]), extension, image, row)


def _shards(dataset: str, set_name: str, manifest: Manifest) -> Iterator[pa.Table]:
    """Yield the shards of a set with their images. Raises DataError if one was changed."""
    folder = files.join(dataset, set_name)
    for shard in manifest.shards:
        table = directory.read_shard(folder, shard, check_digests=True)
        table = _checked(table, manifest.about["class_names"], files.join(folder, shard.file))
        if "image" in table.column_names:
            if table["image"].null_count:
                raise DataError(
                    f"{files.join(folder, shard.file)}: {table['image'].null_count} rows have no image; run build again"
                )
            yield table
        else:
            yield from _with_shared(table, files.join(dataset, SHARED_IMAGES))


def _checked(table: pa.Table, class_names: list[str], path: str) -> pa.Table:
    """Return the rows of a shard as examples of the classes. Raises DataError for other columns and invalid values."""
    with_images = "image" in table.column_names
    table = directory.with_schema(table, example_schema(class_names, with_images=with_images), path)
    for name in EXAMPLE.required:
        if name != "image" and table[name].null_count:
            raise DataError(f"{path}: {name} is missing in some rows; {_VERIFY}")
    labels = table["label"].to_numpy()
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(class_names):
        raise DataError(
            f"{path}: labels range from {labels.min()} to {labels.max()}, but the set has {len(class_names)} classes; {_VERIFY}"
        )
    return table


def _with_shared(table: pa.Table, folder: str) -> Iterator[pa.Table]:
    """Add the images of a shared dataset to its examples, one bucket of images at a time.

    A bucket of examples is a union of buckets of images, so that an export reads each of these once. Raises DataError if a
    shard of images was changed.
    """
    images_of = directory.read_manifest(folder).shards
    count = directory.bucket_total(images_of)
    shards = directory.by_bucket(images_of, count)
    for index, part in by_bucket(table, count):
        images = directory.read_bucket(folder, shards.get(index, []), SHARED_IMAGE_SCHEMA, check_digests=True)
        indices = pc.index_in(part["image_id"], images["image_id"])
        missing = part["image_id"].filter(indices.is_null())
        if len(missing):
            raise DataError(
                f"{folder}: no image of {missing[0]} ({len(missing)} are missing); run build again"
            )
        yield part.append_column("image", images["image"].take(indices))


def _write_tars(dataset: str, set_name: str, manifest: Manifest, output: str) -> list[dict[str, Any]]:
    """Write one tar file per shard, `SET-000000.tar` and so on, with image, .cls (the label) and .json of each example."""
    written = []
    for number, table in enumerate(_shards(dataset, set_name, manifest)):
        name = f"{set_name}-{number:06d}.tar"
        with (
            files.replace(files.join(output, name)) as file,
            tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT) as tar,
        ):
            for sample in _samples(table, manifest.about["class_names"]):
                text = json.dumps(sample.columns, sort_keys=True, ensure_ascii=False)
                _add(tar, f"{sample.key}.{sample.extension}", sample.image)
                _add(tar, f"{sample.key}.cls", str(sample.columns["label"]).encode())
                _add(tar, f"{sample.key}.json", text.encode())
        written.append(
            {"file": name, "rows": table.num_rows, "sha256": files.sha256(files.join(output, name))}
        )
    return written


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # its owner is 0 and its time 0 by default
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))


def _write_folder(dataset: str, set_name: str, manifest: Manifest, output: str) -> list[dict[str, Any]]:
    """Write `CLASS/ID.EXTENSION`, and `examples.csv` with all columns, which readers of such folders do not know."""
    ignores_case = "://" not in output and os.path.exists(files.join(output, UNFINISHED.upper()))
    same_file = str.casefold if ignores_case else str
    folders: dict[str, str] = {}
    for name in manifest.about["class_names"]:
        folder = same_file(safe_name(name))
        if folder in folders:
            where = " in this file system, which ignores case" if ignores_case else ""
            raise DataError(
                f"{set_name}: the classes {folders[folder]!r} and {name!r} would have one folder{where}; choose --format webdataset"
            )
        folders[folder] = name
    rows, paths = [], set[str]()
    for table in _shards(dataset, set_name, manifest):
        for sample in _samples(table, manifest.about["class_names"]):
            path = f"{safe_name(sample.columns['class_name'])}/{sample.key}.{sample.extension}"
            target = files.join(output, path)
            if same_file(path) in paths:
                raise DataError(
                    f"{target}: two examples would be this file; choose --format webdataset, or run `python -m pipeline verify`"
                )
            paths.add(same_file(path))
            with files.replace(target) as file:
                file.write(sample.image)
            rows.append({"path": path, **sample.columns})
    frame = pd.DataFrame(rows).sort_values("path").convert_dtypes()
    frame = frame.astype(object).where(frame.notna(), None)
    files.write_text(
        files.join(output, "examples.csv"),
        csv_text([str(name) for name in frame.columns], frame.to_numpy().tolist()),
    )
    digest = files.sha256(files.join(output, "examples.csv"))
    return [{"file": "examples.csv", "rows": len(rows), "sha256": digest}]
