"""Imports Controlled Noisy Web Labels (Jiang et al., ICML 2020): the released archive and images → our lists.

What comes out is what any user brings (docs/how-to/published-benchmark.md): lists, votes, sets to be made exactly as listed, and a
configuration that builds them. The published result of the votes, 0 or 1, becomes one vote of the worker `published`.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import yaml
from pyarrow import parquet

from common.errors import DataError
from pipeline import files
from pipeline.config import PAPER_LEVELS
from pipeline.noise.training_sets import level_text
from pipeline.published.census import Census, Known, census_table, usable, what_is_known
from pipeline.published.image_files import ImageFiles
from pipeline.published.problems import KINDS, Problems, table
from pipeline.published.release import Release, read_release
from schemas.fixed_set import FIXED_SET
from schemas.retrieval import RETRIEVAL
from schemas.vote import VOTE

WORKER = "published"
CLEAN_PER_CLASS = {"mini-imagenet": 500}  # the published red sets have 500 of the 600
INGEST = {"mini-imagenet": {"preset": "tfds"}}  # as the TFDS builder stores them
MAX_REJECTED_SHARE = 0.9  # the addresses are of 2019, and most of them may be dead
TEST_PREFIX = "validation-"  # where a test image has the id of a training image

Row = dict[str, Any]


@dataclass(frozen=True)
class Imported:
    """What an import has found and written."""

    set_name: str
    counts: dict[str, int]
    splits: list[Census]
    problems: dict[str, int]
    examples: dict[str, str]  # by kind of problem, the place and image of the first
    written: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return {**asdict(self), "splits": [{**asdict(one), "is_off": one.is_off} for one in self.splits]}

    def text(self) -> list[str]:
        """All of it as lines to be read."""
        counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in self.counts.items())
        lines = [f"{self.set_name}: {counts}", "", *census_table(self.splits), ""]
        if self.problems:
            rows = [["does not match", "count", ""]]
            rows += [[kind, f"{count:,}", ""] for kind, count in self.problems.items()]
            told = [f"  {KINDS[kind]}; first: {self.examples[kind]}" for kind in self.problems]
            counted = table(rows)
            lines += [counted[0], *(row + text for row, text in zip(counted[1:], told, strict=True)), ""]
        return [*lines, *self.written, *self.notes]


def import_cnwl(
    archive: str, images: Sequence[str], output: str, set_name: str, contact: str = ""
) -> Imported:
    """Read the release at `archive` and the images below the folders `images`; write lists to the folder `output`.

    Written are clean, test, web, votes and listed sets as Parquet, `problems.csv` with all that does not match, and
    `build.yaml`. Web images without a file are fetched by the build, for which `contact` is written down. Raises DataError where a file of the release, or all images of the clean or test list, are missing.
    """
    problems = Problems()
    release = read_release(archive, set_name, problems)
    known = what_is_known(release, problems)
    found = ImageFiles(images, output)
    test_ids = set(release.validation.ids)
    ambiguous = test_ids & known.clean.keys()
    clean = _placed(known.clean.items(), release, found, False, ambiguous, problems)
    tests = zip(release.validation.ids, release.validation.labels, strict=True)
    test = _placed(tests, release, found, True, ambiguous, problems)
    for name, rows in (("clean", clean), ("test", test)):
        if not rows:
            raise DataError(
                f"{', '.join(images)}: none of the {name} images is here ({found.count} files were found); they are called "
                "by their id, and come with mini-ImageNet or Stanford Cars, not with the archive (docs/how-to/published-benchmark.md)"
            )
    web = _web(release, known, found, problems)
    listed, censuses = _listed(release, known, problems)
    tables = {
        "clean": RETRIEVAL.from_rows(clean),
        "test": RETRIEVAL.from_rows(test),
        "web": RETRIEVAL.from_rows(web),
        "votes": VOTE.from_rows(_votes(known, release.class_names)),
        "published_sets": listed,
    }
    counts = {
        "classes": len(release.class_names),
        "clean_images": len(known.clean),
        "clean_images_found": len(clean),
        "test_images": len(release.validation.ids),
        "test_images_found": len(test),
        "web_images": len(known.web),
        "web_images_found": len({row["image_id"] for row in web if row["path"]}),
        "web_pairs": len(web),
        "web_pairs_wrong": sum(not a.is_clean for of in known.web.values() for a in of.values()),
    }
    without_file = counts["web_images"] - counts["web_images_found"]
    written = _write(tables, problems, release, found.base, output, contact, bool(without_file))
    kinds = problems.counts()
    first = {kind: problems.first(kind) for kind in kinds}
    examples = {kind: f"{one.place} {one.image_id} {one.detail}".strip() for kind, one in first.items()}
    notes = []
    if without_file and not contact:
        notes.append(
            f"{without_file:,} web images have no file here and are fetched from their addresses, for which servers are "
            "told a contact: import again with --contact you@lab.example, or build with --set "
            "fetch.contact=you@lab.example"
        )
    return Imported(set_name, counts, censuses, kinds, examples, written, notes)


def _placed(
    pairs: Iterable[tuple[str, int]],
    release: Release,
    found: ImageFiles,
    is_test: bool,
    ambiguous: set[str],
    problems: Problems,
) -> list[Row]:
    """Rows of the clean or the test list, of those (image, class) pairs whose image has a file."""
    rows = []
    for image_id, label in pairs:
        path = found.find(image_id, is_test, image_id in ambiguous)
        if path is None:
            problems.add("image_missing", "test" if is_test else "clean", image_id)
            continue
        prefix = TEST_PREFIX if is_test and image_id in ambiguous else ""
        rows.append({"image_id": prefix + image_id, "class_name": release.class_names[label], "path": path})
    return rows


def _web(release: Release, known: Known, found: ImageFiles, problems: Problems) -> list[Row]:
    """A row for each annotated pair: with its file where there is one, and always with the address of the image."""
    rows = []
    for image_id, annotations in known.web.items():
        path = found.find(image_id, is_test=False, ambiguous=False)
        first = next(iter(annotations.values()))
        if path is None:
            problems.add("image_missing", "web", image_id, first.uri)
        rows += [
            {
                "image_id": image_id,
                "class_name": release.class_names[label],
                "path": path,
                "url": first.uri or None,
            }
            for label in annotations
        ]
    return rows


def _votes(known: Known, class_names: Sequence[str]) -> list[Row]:
    return [
        {
            "image_id": image_id,
            "class_name": class_names[label],
            "worker_id": WORKER,
            "answer": "yes" if annotation.is_clean else "no",
        }
        for image_id, annotations in known.web.items()
        for label, annotation in annotations.items()
    ]


def _listed(release: Release, known: Known, problems: Problems) -> tuple[pa.Table, list[Census]]:
    """All splits as sets to be made exactly as listed, and the counts of each."""
    tables, censuses = [FIXED_SET.schema.empty_table()], []
    for split in release.splits:
        pairs, census = usable(split, known, problems)
        censuses.append(census)
        names = [release.class_names[label] for _, label in pairs]
        columns = [
            [f"{WORKER}-{split.color}-{level_text(split.noise_level)}"] * len(pairs),
            [image_id for image_id, _ in pairs],
            names,
            [split.color] * len(pairs),
            [split.noise_level] * len(pairs),
        ]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, FIXED_SET.schema, strict=True)]
        tables.append(pa.table(arrays, schema=FIXED_SET.schema))
    return pa.concat_tables(tables), censuses


def _write(
    tables: dict[str, pa.Table],
    problems: Problems,
    release: Release,
    base: str,
    output: str,
    contact: str,
    has_addresses: bool,
) -> list[str]:
    """Write lists, problems and configuration; the lists' names are relative to `base`, the source of the build."""
    files.make_folder(output)
    names = {}
    for name, rows in tables.items():
        path = files.join(output, f"{name}.parquet")
        names[name] = os.path.relpath(os.path.realpath(path), base)
        with files.replace(path) as file:
            parquet.write_table(rows, file, compression="zstd")
    problems.write(files.join(output, "problems.csv"))
    ingest: dict[str, Any] = dict(INGEST.get(release.set_name, {}))
    if has_addresses:
        ingest["max_rejected_share"] = MAX_REJECTED_SHARE
    config = {
        "name": f"cnwl-{release.set_name.replace('_', '-')}",
        "source": base,
        "classes": release.class_names,
        **{name: [names[name]] for name in ("clean", "test", "web", "votes")},
        **({"fetch": {"contact": contact}} if contact else {}),
        **({"ingest": ingest} if ingest else {}),
        "aggregate": {"min_votes": 1},
        "noise": {
            "levels": list(PAPER_LEVELS),
            "colors": ["red", "blue"],
            "on_shortage": "shrink",
            "blue_size": "all",
            "fixed_sets": [names["published_sets"]],
            **({"clean_per_class": n} if (n := CLEAN_PER_CLASS.get(release.set_name)) else {}),
        },
    }
    about = "# Written by `python -m pipeline import-cnwl`; see docs/how-to/published-benchmark.md.\n"
    text = about + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    files.write_text(files.join(output, "build.yaml"), text)
    return [files.join(output, f"{name}.parquet") for name in tables] + [
        files.join(output, name) for name in ("problems.csv", "build.yaml")
    ]
