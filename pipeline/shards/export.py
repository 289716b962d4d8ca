"""Exports a set to the formats of other tools: WebDataset tar shards, or a folder of images for each class.

Equal sets give equal bytes: members have no clock, owner or machine in them, and their order is that of the shards.
"""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from difflib import get_close_matches
from hashlib import sha256
from itertools import pairwise
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError, UsageError
from pipeline import files
from pipeline.keyed_hash import bucket, shard_key
from pipeline.shards import directory
from pipeline.shards.dataset_manifests import read_root, read_set_manifest
from schemas.cells import csv_text
from schemas.example import SHARED_IMAGE_SCHEMA, SHARED_IMAGES
from schemas.manifest import MANIFEST, Manifest

Format = Literal["webdataset", "folder"]
MAX_NAME = 150  # characters; file systems take 255 bytes
EXPORT = "export.json"  # written last: what was exported, and from what
_ENDINGS = {b"\xff\xd8": "jpg", b"\x89P": "png", b"RI": "webp"}


class Sample(NamedTuple):
    """One example as it is exported: a name safe for files, the picture's ending and bytes, and all else."""

    key: str
    ending: str
    picture: bytes
    facts: dict[str, Any]


def export(dataset: str, split: str, kind: Format, output: str) -> dict[str, Any]:
    """Write the set `split` of `dataset` to the folder `output`; returns what `export.json` says.

    Works on self-contained and shared datasets. Raises UsageError for a set that the dataset does not have, DataError
    where a shard is not as it was built, or `output` holds something already.
    """
    sets = [name for name in read_root(dataset)[1] if name != SHARED_IMAGES]
    if split not in sets:
        near = get_close_matches(split, sets, n=1, cutoff=0.9)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"--set-name {split}: {hint}{dataset} has {', '.join(sets) or 'no sets'}")
    if files.exists(files.join(output, EXPORT)) or (os.path.isdir(output) and os.listdir(output)):
        raise DataError(f"{output}: there is something already; remove it, or choose another folder")
    manifest = read_set_manifest(dataset, split)
    names = manifest.about["class_names"]
    write = {"webdataset": _write_tars, "folder": _write_folder}[kind]
    files.make_folder(output)
    told = {
        "format": kind,
        "split": split,
        "rows": manifest.rows,
        "class_names": names,
        "manifest_sha256": files.sha256(files.join(dataset, split, MANIFEST)),
        "files": write(dataset, split, manifest, output),
    }
    files.write_text(files.join(output, EXPORT), json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return told


def safe_name(name: str) -> str:
    """A file name without dots: letters, digits, _ and -, all else as %XX; one too long ends in a digest instead."""
    safe = quote(name, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(safe) > MAX_NAME:
        safe = f"{safe[:MAX_NAME]}-{sha256(name.encode()).hexdigest()[:16]}"
    return safe


def _samples(table: pa.Table, class_names: list[str]) -> Iterator[Sample]:
    for row in table.to_pylist():
        picture = row.pop("image")["bytes"]
        ending = _ENDINGS.get(picture[:2])
        assert ending, "shards hold JPEG, PNG or WebP"
        row["class_name"] = class_names[row["label"]]
        yield Sample(safe_name(row["image_id"]), ending, picture, row)


def _shards(dataset: str, split: str, manifest: Manifest) -> Iterator[pa.Table]:
    """Yield the shards of a set with their pictures. Raises DataError where one has been changed."""
    folder = files.join(dataset, split)
    for shard in manifest.shards:
        table = directory.read_shard(folder, shard, check_digests=True)
        if "image" in table.column_names:
            yield table
        else:
            yield from _with_shared(table, files.join(dataset, SHARED_IMAGES))


def _with_shared(table: pa.Table, folder: str) -> Iterator[pa.Table]:
    """Add the pictures of a shared dataset, as many examples at a time as have theirs in one shard of them."""
    manifest = directory.read_manifest(folder)
    count = manifest.about["buckets"]
    shards = directory.by_bucket(manifest.shards, count)
    edges = np.searchsorted(bucket(shard_key(table["image_id"].to_pylist()), count), np.arange(count + 1))
    for index, (start, end) in enumerate(pairwise(edges.tolist())):
        part = table.slice(start, end - start)
        pictures = directory.read_bucket(folder, shards.get(index, []), SHARED_IMAGE_SCHEMA)
        at = pc.index_in(part["image_id"], pictures["image_id"])
        missing = part["image_id"].filter(at.is_null())
        if len(missing):
            raise DataError(f"{folder}: no picture of {missing[0]} ({len(missing)} are missing); build again")
        if part.num_rows:
            yield part.append_column("image", pictures["image"].take(at))


def _write_tars(dataset: str, split: str, manifest: Manifest, output: str) -> list[dict[str, Any]]:
    """A tar file for each shard, `<split>-000000.tar` and so on: picture, .cls (the label) and .json of each example."""
    written = []
    for number, table in enumerate(_shards(dataset, split, manifest)):
        name = f"{split}-{number:06d}.tar"
        with (
            files.replace(files.join(output, name)) as file,
            tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT) as tar,
        ):
            for sample in _samples(table, manifest.about["class_names"]):
                text = json.dumps(sample.facts, sort_keys=True, ensure_ascii=False)
                _add(tar, f"{sample.key}.{sample.ending}", sample.picture)
                _add(tar, f"{sample.key}.cls", str(sample.facts["label"]).encode())
                _add(tar, f"{sample.key}.json", text.encode())
        written.append(
            {"file": name, "rows": table.num_rows, "sha256": files.sha256(files.join(output, name))}
        )
    return written


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # its owner is 0 and its time 0 by default
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))


def _write_folder(dataset: str, split: str, manifest: Manifest, output: str) -> list[dict[str, Any]]:
    """`<class>/<id>.<ending>`, and `examples.csv`: readers number classes by the alphabet, and know no `is_clean`."""
    rows = []
    for table in _shards(dataset, split, manifest):
        for sample in _samples(table, manifest.about["class_names"]):
            path = f"{safe_name(sample.facts['class_name'])}/{sample.key}.{sample.ending}"
            with files.replace(files.join(output, path)) as file:
                file.write(sample.picture)
            rows.append({"path": path, **sample.facts})
    frame = pd.DataFrame(rows).sort_values("path").convert_dtypes()
    frame = frame.astype(object).where(frame.notna(), None)
    files.write_text(
        files.join(output, "examples.csv"),
        csv_text([str(name) for name in frame.columns], frame.to_numpy().tolist()),
    )
    digest = files.sha256(files.join(output, "examples.csv"))
    return [{"file": "examples.csv", "rows": len(rows), "sha256": digest}]
