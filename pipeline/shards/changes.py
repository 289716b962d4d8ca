"""The report on how the sets of a build differ from those of the previous one (`split/changes.json`)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import compute as pc

from common.errors import DataError
from common.json_records import parse_json
from pipeline import files
from pipeline.shards import directory
from pipeline.shards.parquet import StagedShard
from pipeline.shards.plan import PLANNED_SCHEMA, rows_of_sets
from schemas.manifest import Manifest


def interrupted_report(
    path: str, dataset: str, made_from: str, stale: Iterable[str]
) -> dict[str, Any] | None:
    """Return the report in the file `path` if an interrupted commit wrote it for the dataset `made_from`, else None.

    That commit compared the new sets with the previous dataset, and may have replaced some of its sets since. `stale`: the
    sets that are left to write, which are all among those of the report unless the dataset was removed since.
    """
    present = directory.valid_manifest(dataset)
    if not files.exists(path) or (present and present.about.get("made_from") == made_from):
        return None
    try:
        report = parse_json(files.read_text(path))
    except ValueError:  # damaged; DataError is a ValueError
        return None
    if not isinstance(report, dict) or report.get("made_from") != made_from:
        return None
    return report if set(stale) <= set(report.get("written") or ()) else None


def changes(
    lists: str, version: int, staged: Sequence[StagedShard], buckets: int
) -> dict[str, dict[str, int]]:
    """Count how the sets differ from those of the present lists in the folder `lists`, by set: added, removed, relabeled.

    version: that of the stage; staged: the lists of the next generation, in `buckets` buckets. Only sets that differ are in
    the result. It is empty if the present lists are missing, damaged, or of another version.
    """
    try:
        before = directory.read_manifest(lists)
        if before.about.get("version") != version:
            return {}
        directory.check_sizes(lists, before)
        return _count_changes(lists, before, staged, buckets)
    except DataError:
        return {}


def _count_changes(
    folder: str, before: Manifest, staged: Sequence[StagedShard], buckets: int
) -> dict[str, dict[str, int]]:
    """Count how the sets differ from an earlier generation of lists in `folder`: examples added, removed, and relabeled.

    staged: the lists of the next generation, in `buckets` buckets. Only sets that differ are in the result. Raises
    DataError like `read_shards`.
    """
    schema = pa.schema([PLANNED_SCHEMA.field(name) for name in ("image_id", "label", "sets")])
    together = min(buckets, before.about["buckets"])
    staged_files = {each.shard.file: each.before_commit() for each in staged}
    generations = (
        directory.by_bucket(before.shards, together),
        {
            index: [staged_files[shard.file] for shard in shards]
            for index, shards in directory.by_bucket([each.shard for each in staged], together).items()
        },
    )
    counts: dict[str, Counter[str]] = {}
    for index in sorted({*generations[0], *generations[1]}):
        old, new = (directory.read_bucket(folder, shards.get(index, []), schema) for shards in generations)
        old_rows, new_rows = rows_of_sets(old), rows_of_sets(new)
        nothing = pa.array([], pa.int32())
        for name in {*old_rows, *new_rows}:
            was, now = old.take(old_rows.get(name, nothing)), new.take(new_rows.get(name, nothing))
            matches = pc.index_in(now["image_id"], was["image_id"])
            stayed = len(matches) - matches.null_count
            other = pc.not_equal(now["label"], was["label"].take(matches))
            counts.setdefault(name, Counter()).update(
                added=now.num_rows - stayed,
                removed=was.num_rows - stayed,
                relabeled=pc.sum(other).as_py() or 0,
            )
    return {
        name: {key: counts[name][key] for key in ("added", "removed", "relabeled")}
        for name in sorted(counts)
        if any(counts[name].values())
    }
