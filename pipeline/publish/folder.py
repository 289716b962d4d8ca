"""Write the folder of a publication: the shards of the chosen sets, checked by digest, and the files beside them.

The folder is a dataset, which `verify` checks. As in the commit of a build (pipeline/shards/commit.py), new shards come
first, then the manifests of the sets, then the files, and last the manifest of the dataset; old shards go after that.
"""

import hashlib
import io
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from common import atomic_file
from common.errors import DataError
from pipeline import files
from pipeline.publish.facts import BuildFacts
from pipeline.shards import commit, directory
from pipeline.shards.parquet import StagedShard, write_shard
from schemas.example import SHARED_IMAGES
from schemas.manifest import CARD, CROISSANT, PUBLICATION_FILES, Manifest, Shard

DATASET = "dataset"
COPY_BYTES = 1 << 20


def prepare(folder: str, build_dataset: str) -> None:
    """Check that the folder is empty or holds an earlier publication, and create it. Raises DataError."""
    if os.path.abspath(folder) == os.path.abspath(build_dataset):
        raise DataError(f"--to {folder}: this is the dataset of the build; choose a new folder")
    folders = commit.folders_of(folder)
    commit.check_owned(folder, {CARD, CROISSANT, *PUBLICATION_FILES, *folders})
    for name in folders:
        commit.check_owned(files.join(folder, name))
    present = directory.valid_manifest(folder)
    if present and "publication" not in present.about:
        raise DataError(f"--to {folder}: holds a dataset that was not published there; choose a new folder")
    files.make_folder(folder)


def write_sets(
    facts: BuildFacts, dataset: str, folder: str, withheld_ids: pa.Array, withheld: Mapping[str, int]
) -> dict[str, Manifest]:
    """Write the shards of all sets, and return the new manifest of each; the folder still shows what it showed before.

    Images in `withheld_ids` are left out. What killed commands have left is removed. Raises DataError if a shard of the build is
    not the one that was written.
    """
    manifests = {}
    files.remove_temporaries(folder)
    for name, manifest in facts.manifests.items():
        source, target = files.join(dataset, name), files.join(folder, name)
        commit.prepare(target)
        about = dict(manifest.about)
        if withheld.get(name):
            about["withheld"] = withheld[name]
        is_images = name == SHARED_IMAGES
        if len(withheld_ids) and (is_images or (about.get("withheld") and about.get("mode") != "shared")):
            staged = [
                shard
                for each in manifest.shards
                if (shard := _without_images(source, target, each, withheld_ids, drop=is_images))
            ]
            manifests[name] = commit.publish(target, manifest.table, staged, about)
            continue
        for each in manifest.shards:
            _copy_shard(source, target, each)
        manifests[name] = Manifest(manifest.table, manifest.rows, manifest.shards, about)
    return manifests


def _without_images(
    source: str, target: str, shard: Shard, ids: pa.Array, *, drop: bool
) -> StagedShard | None:
    """Rewrite a shard: rows of `ids` have no image, or, of a table of images, are left out."""
    table = directory.read_shard(source, shard, check_digests=True)
    is_withheld = pc.is_in(table["image_id"], ids).combine_chunks()
    if drop:
        table = table.filter(pc.invert(is_withheld))
    else:
        index = table.column_names.index("image")
        images = table["image"].combine_chunks()
        kept = pc.if_else(is_withheld, pa.scalar(None, images.type), images)
        table = table.set_column(index, table.schema.field(index), kept)
    stem = shard.file.rpartition("-")[0]
    return write_shard(target, stem, table.schema, [table])


def _copy_shard(source: str, target: str, shard: Shard) -> None:
    """Link or copy a shard unless it is there with its size and digest, and check what was linked or copied.

    So a damaged copy of an earlier publication is replaced, and only a damaged shard of the build is an error.
    """
    old, new = files.join(source, shard.file), files.join(target, shard.file)
    if files.size(new) == shard.bytes and files.sha256(new) == shard.sha256:
        return
    if not _link(old, new):
        with files.open_read(old) as reader, files.replace(new) as writer:
            shutil.copyfileobj(reader, writer, COPY_BYTES)
    try:
        directory.check_digest(target, shard)
    except DataError as error:
        files.remove(new)
        raise DataError(
            f"{old}: its bytes differ from those that were written; run split again with --force, or restore the file"
        ) from error


def _link(old: str, new: str) -> bool:
    """Try to make a hard link, which takes no space; shards are never changed in place, so that both stay as they are."""
    if "://" in old or "://" in new:
        return False
    with suppress(OSError):  # another disk, or a file system without links
        with atomic_file.replacing(new) as temporary:
            os.link(old, temporary)
        temporary.unlink(missing_ok=True)  # a rename to another link of the same file changes nothing
        return True
    return False


def commit_folder(
    folder: str,
    facts: BuildFacts,
    manifests: Mapping[str, Manifest],
    texts: Mapping[str, bytes],
    publication: Mapping[str, Any],
) -> Manifest:
    """Make the publication visible: manifests of the sets, files, manifest of the dataset; then remove what is old."""
    before = {name: directory.valid_manifest(files.join(folder, name)) for name in commit.folders_of(folder)}
    for name, manifest in manifests.items():
        commit.swap(files.join(folder, name), manifest)
    for name, text in texts.items():
        with files.replace(files.join(folder, name)) as file:
            file.write(text)
    digests = {name: digest(text) for name, text in texts.items()}
    about = {**facts.root, "sets": facts.entries, "files": digests, "publication": dict(publication)}
    root = Manifest(DATASET, 0, (), about)
    commit.swap(folder, root)
    for name, old in before.items():
        if name in manifests:
            commit.clean(files.join(folder, name), manifests[name], old)
        else:
            commit.remove_table(files.join(folder, name))
    files.remove_all(
        [files.join(folder, name) for name in (CARD, CROISSANT, *PUBLICATION_FILES) if name not in texts]
    )
    return root


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def total_bytes(manifests: Iterable[Manifest], texts: Mapping[str, bytes]) -> int:
    """Return the size of all files of a publication, except the manifests, in bytes."""
    shards = sum(shard.bytes for manifest in manifests for shard in manifest.shards)
    return shards + sum(map(len, texts.values()))


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as one Parquet file with pinned settings."""
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, version="2.6", compression="zstd", row_group_size=1 << 16)
    return buffer.getvalue()
