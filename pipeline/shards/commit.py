"""Commit a table: replace its shards so that readers see either the old or the new table.

A table is a folder of shards and a manifest that names them. New shards are staged beside the present ones (parquet.py).
A commit moves the staged shards to their final names, which contain their digest; replaces the manifest, which is the
moment at which the table changes; and removes shards that the new manifest does not name. Every step can be repeated, so
an interrupted commit can be run again or is completed by the next one.

Only files written by a build are removed: those that a manifest names, staged shards, and shards whose name contains
their own digest.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from common.errors import DataError
from pipeline import files
from pipeline.shards import directory
from pipeline.shards.parquet import DIGEST_DIGITS, STAGED, StagedShard
from schemas.manifest import CARD, CROISSANT, MANIFEST, Manifest

_STAGED_NAME = re.compile(r"[0-9a-f]{32}\.parquet")
_SHARD_NAME = re.compile(rf"[a-z]+-\d{{5,}}-of-\d{{5,}}-([0-9a-f]{{{DIGEST_DIGITS}}})\.parquet")


def prepare(folder: str) -> None:
    """Create the folder of a table and remove leftovers of interrupted attempts; the present table stays readable.

    Raises DataError if the folder contains files that no build has written.
    """
    check_owned(folder)
    files.make_folder(folder)
    remove_leftovers(folder)


def remove_leftovers(folder: str) -> None:
    """Remove what interrupted attempts and commits left in the folder of a table, and keep the present table."""
    _remove_leftovers(folder, directory.valid_manifest(folder))


def check_owned(folder: str, inside: Iterable[str] = ()) -> None:
    """Raise DataError if the folder of a table contains anything that no build has written.

    `inside` names other entries that are allowed. Hidden files such as .DS_Store are ignored.
    """
    present = files.entries(folder)
    known = {MANIFEST, STAGED, *inside}
    if manifest := directory.valid_manifest(folder):
        known |= {shard.file for shard in manifest.shards}
    foreign = sorted(
        name
        for name in present
        if not name.startswith(".") and name not in known and not _SHARD_NAME.fullmatch(name)
    )
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise DataError(
            f"{folder}: holds {foreign[0]!r}{more}, which no build has written; move it elsewhere, or choose another "
            "--output"
        )


def commit(folder: str, table: str, staged: Sequence[StagedShard], about: Mapping[str, Any]) -> Manifest:
    """Replace the table in `folder` by the staged shards, and return its manifest."""
    manifest = publish(folder, table, staged, about)
    before = directory.valid_manifest(folder)
    swap(folder, manifest)
    clean(folder, manifest, before)
    return manifest


def publish(folder: str, table: str, staged: Sequence[StagedShard], about: Mapping[str, Any]) -> Manifest:
    """Move staged shards to their names, and return the manifest that will make them the table.

    Raises DataError if one of them is missing or incomplete.
    """
    shards = tuple(sorted((each.shard for each in staged), key=lambda shard: shard.file))
    # An interrupted attempt of this commit may have moved some of them.
    waiting = files.entries(files.join(folder, STAGED))
    files.move(
        [
            (files.join(folder, STAGED, each.file), files.join(folder, each.shard.file))
            for each in staged
            if each.file in waiting
        ]
    )
    manifest = Manifest(table, sum(shard.rows for shard in shards), shards, dict(about))
    directory.check_sizes(folder, manifest)
    return manifest


def swap(folder: str, manifest: Manifest) -> None:
    """Write the manifest of a folder, whose shards must exist. From now on readers see the new table."""
    files.write_text(files.join(folder, MANIFEST), manifest.to_json())


def clean(folder: str, manifest: Manifest, before: Manifest | None) -> None:
    """Remove the shards of the generation `before` and of interrupted attempts from the folder of a table."""
    kept = {shard.file for shard in manifest.shards}
    old = {shard.file for shard in before.shards} if before else set()
    files.remove_all([files.join(folder, name) for name in sorted(old - kept)])
    _remove_leftovers(folder, manifest)


def remove_table(folder: str) -> None:
    """Remove a table: its manifest, the shards that it names, and the folder if nothing else is in it."""
    manifest = directory.valid_manifest(folder)
    if manifest:
        files.remove(files.join(folder, MANIFEST))
        files.remove_all([files.join(folder, shard.file) for shard in manifest.shards])
    _remove_leftovers(folder, None)
    files.remove_empty_folder(folder)


def _remove_leftovers(folder: str, manifest: Manifest | None) -> None:
    """Remove staged shards and temporary files, and shards that `manifest` does not name and whose name holds their digest."""
    files.remove_temporaries(folder)
    staged = files.join(folder, STAGED)
    files.remove_temporaries(staged)
    files.remove_all(
        [files.join(staged, name) for name in files.names(staged, "*") if _STAGED_NAME.fullmatch(name)]
    )
    files.remove_empty_folder(staged)
    kept = {shard.file for shard in manifest.shards} if manifest else set()
    orphans = [
        files.join(folder, name)
        for name in files.names(folder, "*.parquet")
        if name not in kept and _has_own_digest(folder, name)
    ]
    files.remove_all(orphans)


def _has_own_digest(folder: str, name: str) -> bool:
    """Return whether a file has the name of a shard with the digest of its content."""
    match, path = _SHARD_NAME.fullmatch(name), files.join(folder, name)
    try:
        return bool(match and files.sha256(path).startswith(match[1]))
    except DataError:
        if files.exists(path):
            raise
        return False  # another attempt has removed it since it was listed


def check_dataset_owned(dataset: str) -> None:
    """Raise DataError if the folder of a dataset, or a folder in it, holds anything that no build has written.

    An interrupted build leaves folders of sets without a manifest.
    """
    folders = folders_of(dataset)
    check_owned(dataset, {CARD, CROISSANT, *folders})
    for name in folders:
        check_owned(files.join(dataset, name))


def folders_of(dataset: str) -> list[str]:
    """Return the names of the folders in that of a dataset, hidden ones left out."""
    there = files.entries(dataset).items()
    return sorted(name for name, size in there if size is None and not name.startswith((".", STAGED)))
