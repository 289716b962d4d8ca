"""Decide for each image of the published sets whether it may be given away; write attributions and withheld images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import csv

from common.errors import DataError
from pipeline.layout import Layout
from pipeline.publish.licenses import UNKNOWN, LicensePolicy
from pipeline.publish.release import ImageFacts
from pipeline.shards import directory
from schemas.cells import ESCAPED
from schemas.example import SHARED_IMAGES
from schemas.manifest import Manifest
from schemas.retrieval import ATTRIBUTION

_COLUMNS = ("image_id", "source", "url", *(field.name for field in ATTRIBUTION))
_FORMULA = ESCAPED.replace("'+", "'*")  # before it is escaped, text has any number of apostrophes
SHOWN = 5


@dataclass(frozen=True)
class PublishedImages:
    """The images of the published sets.

    facts: counts. attributions: image_id, source, url, license class and attribution of each image that has any. withheld:
    image_id, class_name, url, sha256, attribution and license class of the images that are left out, once per class.
    """

    facts: ImageFacts
    attributions: pa.Table
    withheld: pa.Table

    @property
    def withheld_ids(self) -> pa.Array:
        """The ids of the images that are left out."""
        return pc.unique(self.withheld["image_id"])


def check_images(build: str, sets: dict[str, Manifest], policy: LicensePolicy) -> PublishedImages:
    """Classify the licenses of all images of `sets`.

    Memory holds the rows of one shard of the examples, and the attributions. Raises DataError with counts and remedies if
    an image of a forbidden license is in a set and is not to be left out.
    """
    layout = Layout(build)
    licenses: dict[str, Counter[tuple[str, str]]] = {}
    withheld_rows: Counter[str] = Counter()
    attributions, withheld, forbidden = [], [], []
    total = 0
    names = pa.array([name for name in sets if name != SHARED_IMAGES], pa.string())
    classes = next(sets[name] for name in names.to_pylist()).about["class_names"]
    for rows in directory.read_shards(layout.examples, [*_COLUMNS, "label", "sets"], check_digests=True):
        rows = _of_sets(rows, names, everything=SHARED_IMAGES in sets)
        if not rows.num_rows:
            continue
        rows = rows.append_column("license_class", policy.classes(rows))
        # An image of several rows has one shard. If they state different licenses, each must allow its publication.
        images = _first_of_each(rows)
        total += images.num_rows
        for entry in (
            images.group_by(["source", "license_class", "license"]).aggregate([([], "count_all")]).to_pylist()
        ):
            key = (entry["license_class"], entry["license"] or "")
            licenses.setdefault(entry["source"], Counter())[key] += entry["count_all"]
        has_any = pa.array([False] * images.num_rows)
        for name in ("url", *(field.name for field in ATTRIBUTION)):
            has_any = pc.or_(has_any, pc.not_equal(pc.fill_null(images[name], ""), ""))
        attributions.append(images.filter(has_any).select([*_COLUMNS, "license_class"]))
        is_bad = pc.invert(pc.is_in(rows["license_class"], pa.array(sorted(policy.allowed))))
        bad = rows.filter(pc.is_in(rows["image_id"], pc.unique(rows.filter(is_bad)["image_id"])))
        refused = bad.filter(
            pc.invert(pc.is_in(bad["license_class"], pa.array([*sorted(policy.ids_only | policy.allowed)])))
        )
        forbidden.append(_first_of_each(refused).select(["image_id", "source", "license_class"]))
        withheld.append(bad)
        withheld_rows.update(
            bad.filter(pc.is_valid(bad["sets"]))["sets"].combine_chunks().flatten().to_pylist()
        )
    _refuse(pa.concat_tables(forbidden) if forbidden else None, policy)
    left_out = _with_digests(_listed(withheld, classes), layout)
    counted = {
        name: dict(sorted(c.items(), key=lambda i: (-i[1], i[0]))) for name, c in sorted(licenses.items())
    }
    credited = pa.concat_tables(attributions) if attributions else pa.table({name: [] for name in _COLUMNS})
    facts = ImageFacts(
        counted,
        {name: count for name, count in sorted(withheld_rows.items()) if name in sets},
        len(pc.unique(left_out["image_id"])),
        total,
        credited.num_rows > 0,
        len(pc.unique(left_out.filter(pc.equal(pc.fill_null(left_out["url"], ""), ""))["image_id"])),
    )
    return PublishedImages(facts, credited, left_out)


def _of_sets(rows: pa.Table, names: pa.Array, *, everything: bool) -> pa.Table:
    """Return the rows of the published sets; of a shared dataset those of all sets, since it has one table of images."""
    if everything:
        return rows.filter(pc.is_valid(rows["source"]))  # the others stand for the table of images
    lists = rows["sets"].combine_chunks()
    inside = pc.is_in(lists.flatten(), names)
    parents = pc.list_parent_indices(lists).filter(inside)
    return rows.take(pc.unique(parents)) if len(parents) else rows.slice(0, 0)


def _first_of_each(rows: pa.Table) -> pa.Table:
    """Return the first row of each image."""
    numbered = rows.append_column("row", pa.array(range(rows.num_rows), pa.int64()))
    first = numbered.group_by("image_id", use_threads=False).aggregate([("row", "min")])
    return rows.take(first["row_min"])


def _refuse(forbidden: pa.Table | None, policy: LicensePolicy) -> None:
    """Raise DataError that counts the images of each forbidden license."""
    if forbidden is None or not forbidden.num_rows:
        return
    groups = (
        forbidden.group_by(["source", "license_class"], use_threads=False)
        .aggregate([([], "count_all")])
        .to_pylist()
    )
    groups.sort(key=lambda entry: (-entry["count_all"], entry["source"], entry["license_class"]))
    counts = ", ".join(
        f"{e['count_all']:,} {e['source']} images with license {e['license_class']}" for e in groups
    )
    examples = ", ".join(map(repr, forbidden["image_id"].slice(0, SHOWN).to_pylist()))
    remedies = ["--ids-only publishes their rows without the images"]
    if any(entry["license_class"] == UNKNOWN for entry in groups):
        remedies.append("publication.image_licenses states the license of images whose lists state none")
    remedies.append("publication.allow_licenses lists the licenses that may be given away")
    raise DataError(
        f"{forbidden.num_rows:,} images may not be given away by publication.allow_licenses "
        f"({', '.join(sorted(policy.allowed)) or 'none'}): {counts} (for example {examples}); {'; '.join(remedies)}"
    )


_LISTED = (
    "image_id",
    "class_name",
    "url",
    "sha256",
    "source",
    *(field.name for field in ATTRIBUTION),
    "license_class",
)


def _listed(parts: Sequence[pa.Table], classes: Sequence[str]) -> pa.Table:
    """Return the withheld images with their given class, each pair of image and class once."""
    if not parts or not sum(part.num_rows for part in parts):
        return pa.table({name: pa.array([], pa.string()) for name in _LISTED})
    rows = pa.concat_tables(parts)
    names = pa.array(classes, pa.string()).take(rows["label"].combine_chunks())
    rows = rows.append_column("class_name", names).append_column(
        "row", pa.array(range(rows.num_rows), pa.int64())
    )
    first = rows.group_by(["image_id", "class_name"], use_threads=False).aggregate([("row", "min")])
    return rows.take(first["row_min"])


def _with_digests(rows: pa.Table, layout: Layout) -> pa.Table:
    """Add the SHA-256 of the original file of each image."""
    if rows.num_rows:
        ids = pc.unique(rows["image_id"])
        found = [
            part.filter(pc.is_in(part["image_id"], ids))
            for part in directory.read_shards(layout.images, ["image_id", "sha256"])
        ]
        digests = pa.concat_tables(found).combine_chunks()
        index = pc.index_in(rows["image_id"].combine_chunks(), digests["image_id"].combine_chunks())
        rows = rows.append_column("sha256", digests["sha256"].combine_chunks().take(index))
    return rows.select(_LISTED)


def write_csv(rows: pa.Table, file: IO[bytes]) -> None:
    """Write rows of text as CSV, with cells escaped that a spreadsheet would evaluate (schemas/cells.py)."""
    columns = [
        pc.replace_substring_regex(pc.fill_null(column.cast(pa.string()), ""), f"({_FORMULA})", r"'\1")
        for column in rows.columns
    ]
    options = csv.WriteOptions(quoting_style="needed")
    csv.write_csv(pa.table(columns, names=rows.column_names), file, options)
