"""Import of Controlled Noisy Web Labels (Jiang et al., ICML 2020): from the released archive and images to lists.

The output is the input of a build: lists, votes, fixed sets, and a configuration. The published verdict of each annotation,
0 or 1, becomes one vote of the worker `published`.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import yaml
from pyarrow import parquet

from common.errors import DataError
from common.text_table import aligned
from pipeline import files
from pipeline.noise_config import PAPER_LEVELS
from pipeline.published.census import Census, KnownLabels, census_table, known_labels, usable
from pipeline.published.image_files import ImageFiles
from pipeline.published.problems import KINDS, Problems
from pipeline.published.release import Release, read_release
from schemas.example import set_name
from schemas.fixed_set import FIXED_SET
from schemas.retrieval import RETRIEVAL
from schemas.vote import VOTE

WORKER = "published"
CLEAN_PER_CLASS = {"mini-imagenet": 500}  # the published red sets have 500 of the 600
INGEST = {"mini-imagenet": {"preset": "tfds"}}  # as the TFDS builder stores them
MAX_REJECTED_SHARE = 0.9  # the URLs are from 2019, and most may be dead
TEST_PREFIX = "validation-"  # for test images with the id of a training image

Row = dict[str, Any]


@dataclass(frozen=True)
class Imported:
    """Results of an import: counts, problems and written files."""

    set_name: str
    counts: dict[str, int]
    splits: list[Census]
    problems: dict[str, int]
    examples: dict[str, str]  # the first problem of each kind
    written: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the results in JSON types."""
        splits = [{**asdict(census), "is_off": census.is_off} for census in self.splits]
        return {**asdict(self), "splits": splits}

    def text(self) -> list[str]:
        """Return the results as lines of text."""
        counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in self.counts.items())
        lines = [f"{self.set_name}: {counts}", "", *census_table(self.splits), ""]
        if self.problems:
            rows = [["problem", "count", ""]]
            rows += [[kind, f"{count:,}", ""] for kind, count in self.problems.items()]
            meanings = [f"  {KINDS[kind]}; first: {self.examples[kind]}" for kind in self.problems]
            counted = aligned(rows)
            lines += [counted[0], *(row + text for row, text in zip(counted[1:], meanings, strict=True)), ""]
        return [*lines, *self.written, *self.notes]


def import_cnwl(
    archive: str, images: Sequence[str], output: str, set_name: str, contact: str = ""
) -> Imported:
    """Read the release at `archive` and the images below the folders `images`, and write lists to the folder `output`.

    The output is clean, test, web, votes and fixed sets as Parquet, `problems.csv`, and `build.yaml`. The build fetches web
    images without a file, with `contact` in the user agent. Raises DataError if a file of the release, or all images of the
    clean or test list, are missing.
    """
    problems = Problems()
    release = read_release(archive, set_name, problems)
    known = known_labels(release, problems)
    found = ImageFiles(images, output)
    test_ids = set(release.validation.ids)
    ambiguous = test_ids & known.clean.keys()
    clean = _placed(known.clean.items(), release, found, False, ambiguous, problems)
    tests = zip(release.validation.ids, release.validation.labels, strict=True)
    test = _placed(tests, release, found, True, ambiguous, problems)
    for name, rows in (("clean", clean), ("test", test)):
        if not rows:
            raise DataError(
                f"{', '.join(images)}: no {name} image found among {found.count} files; add the folders of "
                "mini-ImageNet or Stanford Cars to --images, with files named by image id"
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
    examples = {kind: " ".join(filter(None, problem[1:])) for kind, problem in first.items()}
    notes = []
    if without_file and not contact:
        notes.append(
            f"{without_file:,} web images have no file and must be fetched, which needs a contact: "
            "import again with --contact you@lab.example, or build with --set fetch.contact=you@lab.example"
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
    """Return rows of the clean or the test list for the (image, class) pairs whose image has a file."""
    rows = []
    for image_id, label in pairs:
        path = found.find(image_id, is_test, image_id in ambiguous)
        if path is None:
            problems.add("image_missing", "test" if is_test else "clean", image_id)
            continue
        prefix = TEST_PREFIX if is_test and image_id in ambiguous else ""
        rows.append({"image_id": prefix + image_id, "class_name": release.class_names[label], "path": path})
    return rows


def _web(release: Release, known: KnownLabels, found: ImageFiles, problems: Problems) -> list[Row]:
    """Return a row for each annotated pair, with the URL of the image, and its file if there is one."""
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


def _votes(known: KnownLabels, class_names: Sequence[str]) -> list[Row]:
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


def _listed(release: Release, known: KnownLabels, problems: Problems) -> tuple[pa.Table, list[Census]]:
    """Return all splits as fixed sets, and the counts of each split."""
    tables, censuses = [FIXED_SET.schema.empty_table()], []
    for split in release.splits:
        pairs, census = usable(split, known, problems)
        censuses.append(census)
        names = [release.class_names[label] for _, label in pairs]
        columns = [
            [f"{WORKER}-{set_name(split.color, split.noise_level)}"] * len(pairs),
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
    """Write lists, problems and configuration; names of lists are relative to `base`, the source of the build."""
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
