"""The split job: pools and noise levels → training and test sets as shards.

Which example goes where is decided on columns, without pictures. Then every bucket of images is read once, and
writes its part of all sets: images cross no shuffle, and twenty training sets do not cost twenty readings.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipeline import files
from pipeline.config import BuildConfig
from pipeline.jobs import dedupe, ingest, label
from pipeline.jobs.options import run_job
from pipeline.jobs.stage import Stage, counts, manifest_digest, plain
from pipeline.jobs.tables import Written, by_bucket
from pipeline.keyed_hash import bucket_count
from pipeline.noise.pools import Pools, make_pools
from pipeline.noise.splits import LISTED_SCHEMA, TEST_SPLIT, noise_by_class, test_set, training_sets
from pipeline.shards import directory
from pipeline.shards.card import card
from pipeline.shards.parquet import ROW_GROUP_ROWS, write_shard
from schemas.duplicate import DUPLICATE
from schemas.errors import DataError
from schemas.example import EXAMPLE, example_schema
from schemas.image import IMAGES
from schemas.manifest import MANIFEST, Manifest
from schemas.retrieval import RETRIEVAL
from schemas.verdict import VERDICT

SECONDS_PER_EXAMPLE = 2e-5  # of a core


def folder(output: str) -> str:
    """Where the dataset is written."""
    return files.join(output, "dataset")


def run(config: BuildConfig, output: str, beam_arguments: list[str], force: bool = False) -> Manifest:
    """Run the stage unless it is up to date; return the manifest of the dataset.

    Raises DataError where a class has too few clean or wrong images and the configuration says to stop.
    """
    tables = {
        "retrievals": ingest.folders(output)["retrievals"],
        "images": ingest.folders(output)["images"],
        "verdicts": label.folders(output)["verdicts"],
        "duplicates": dedupe.folder(output),
    }
    stage = Stage(
        "split",
        {name: manifest_digest(path) for name, path in tables.items()},
        {"name": config.name, "seed": config.seed, "classes": list(config.classes), **plain(config.noise)},
    )
    place = folder(output)
    if force or not stage.is_done(place):
        pools = make_pools(
            directory.read_table(tables["retrievals"], RETRIEVAL),
            directory.read_table(tables["verdicts"], VERDICT),
            directory.read_table(tables["duplicates"], DUPLICATE),
            config.classes,
        )
        if not len(pools.test):
            raise DataError("no test image is left; check the 'test' lists and the rejections of ingest")
        about = {**stage.about, "name": config.name, "funnel": pools.funnel, "leaks": _leak_proof(output)}
        _write(config, pools, tables["images"], output, about, beam_arguments)
    return directory.read_manifest(place)


def _leak_proof(output: str) -> dict[str, Any]:
    manifest = directory.read_manifest(dedupe.folder(output))
    return {**manifest.about["config"], **counts(manifest)}


def _write(
    config: BuildConfig,
    pools: Pools,
    images: str,
    output: str,
    about: dict[str, Any],
    beam_arguments: list[str],
) -> None:
    place = folder(output)
    image_buckets = directory.read_manifest(images).about["buckets"]
    buckets = min(bucket_count(len(pools.clean), config.noise.shard_rows), image_buckets)
    sets: dict[str, dict[str, Any]] = {}
    lists: dict[int, list[pa.Table]] = {index: [] for index in range(buckets)}
    for name, examples, facts in _all_sets(config, pools):
        if not examples.num_rows:
            raise DataError(
                f"{name} would have no examples; drop this level or colour from the configuration"
            )
        sets[name] = {
            **facts,
            "classes": noise_by_class(examples, config.classes),
            "made_from": about["made_from"],
        }
        for index, rows in by_bucket(examples, buckets):
            lists[index].append(rows.append_column("split", pa.array([name] * rows.num_rows)))

    _clear(place, sets)
    index_place = files.join(output, "split", "examples")
    directory.open_for_writing(index_place)
    schema = LISTED_SCHEMA.append(pa.field("split", pa.string()))
    shards = [
        write_shard(index_place, directory.shard_name("part", index, buckets), schema, tables)
        for index, tables in lists.items()
    ]
    directory.commit(index_place, "example", [s for s in shards if s], {"made_from": about["made_from"]})
    rows = sum(shard.rows for shard in shards if shard)
    job = WriteSets(index_place, images, place, list(config.classes), sets, buckets, about)
    run_job(lambda pipeline: pipeline | "Split" >> job, beam_arguments, rows * SECONDS_PER_EXAMPLE)


def _all_sets(config: BuildConfig, pools: Pools) -> Iterator[tuple[str, pa.Table, dict[str, Any]]]:
    """Every set by name, with its examples and what its manifest says of it."""
    common = {"class_names": list(config.classes), "seed": config.seed}
    yield (
        TEST_SPLIT,
        test_set(pools.test),
        {**common, "split": TEST_SPLIT, "colour": None, "noise_level": 0.0},
    )
    for split in training_sets(pools.clean, pools.wrong, config.classes, config.noise, config.seed):
        facts = {"split": split.name, "colour": split.colour, "noise_level": split.noise_level}
        policy = {"nested": config.noise.nested, "on_shortage": config.noise.on_shortage}
        yield split.name, split.examples, {**common, **facts, **policy, "trial": 0}


def _clear(place: str, sets: dict[str, Any]) -> None:
    """Take the old dataset out of use, and remove its sets that are not made again."""
    old = directory.find_manifest(place)
    directory.open_for_writing(place)
    for name in old.about.get("splits", {}) if old else ():
        if name not in sets:
            files.remove(files.join(place, name))
    for name in sets:
        files.remove(files.join(place, name))
        directory.open_for_writing(files.join(place, name))


class WriteSets(beam.PTransform):
    """The lists of examples and the images → shards, manifests, card, and last the dataset's manifest."""

    def __init__(
        self,
        lists: str,
        images: str,
        place: str,
        class_names: list[str],
        sets: dict[str, dict[str, Any]],
        buckets: int,
        about: dict[str, Any],
    ) -> None:
        super().__init__()
        self.lists, self.images, self.place, self.class_names = lists, images, place, class_names
        self.sets, self.buckets, self.about = sets, buckets, about

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Buckets → a shard of each set → a manifest of each set → the dataset."""
        return (
            pipeline
            | "Buckets" >> beam.Create(list(range(self.buckets)))
            | "SpreadBuckets" >> beam.Reshuffle()
            | "WriteBucket"
            >> beam.FlatMap(write_bucket, self.lists, self.images, self.place, self.class_names, self.buckets)
            | "GatherSet" >> beam.GroupByKey()
            | "CommitSet" >> beam.Map(_commit_set, self.place, self.sets)
            | "GatherSets" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "CommitDataset" >> beam.Map(_commit_dataset, self.place, self.sets, self.about)
        )


def write_bucket(
    index: int, lists: str, images: str, place: str, class_names: list[str], buckets: int
) -> Iterator[tuple[str, Written]]:
    """Read the images of one bucket, and write the bucket's shard of every set that has examples in it."""
    empty = LISTED_SCHEMA.append(pa.field("split", pa.string())).empty_table()
    listed = pa.concat_tables([empty, *directory.read_bucket(lists, index, buckets)])
    no_pictures = pa.schema([IMAGES.schema.field(name) for name in ("image_id", "image")]).empty_table()
    found = directory.read_bucket(images, index, buckets, no_pictures.column_names)
    pictures = pa.concat_tables([no_pictures, *found])
    position = {image_id: i for i, image_id in enumerate(pictures["image_id"].to_pylist())}
    schema = example_schema(class_names)
    for name in listed["split"].unique().to_pylist():
        examples = listed.filter(pa.compute.equal(listed["split"], name))
        rows = [position[image_id] for image_id in examples["image_id"].to_pylist()]
        prefix = "test" if name == TEST_SPLIT else "train"
        file = directory.shard_name(prefix, index, buckets)
        tables = _with_pictures(examples, pictures["image"], rows, schema)
        yield name, Written(write_shard(files.join(place, name), file, schema, tables))


def _with_pictures(
    examples: pa.Table, pictures: pa.ChunkedArray, rows: list[int], schema: pa.Schema
) -> Iterator[pa.Table]:
    """Examples with their pictures, copied a row group at a time."""
    for start in range(0, len(rows), ROW_GROUP_ROWS):
        image = pictures.take(pa.array(rows[start : start + ROW_GROUP_ROWS]))
        part = examples.slice(start, ROW_GROUP_ROWS).append_column("image", image)
        yield part.select(schema.names).cast(schema)


def _commit_set(
    name_and_written: tuple[str, Iterable[Written]], place: str, sets: dict[str, dict[str, Any]]
) -> tuple[str, int]:
    name, written = name_and_written
    shards = [part.shard for part in written if part.shard]
    return name, directory.commit(files.join(place, name), EXAMPLE.name, shards, sets[name]).rows


def _commit_dataset(
    committed: list[tuple[str, int]], place: str, sets: dict[str, dict[str, Any]], about: dict[str, Any]
) -> int:
    rows = dict(committed)
    assert rows.keys() == sets.keys()
    splits = {
        name: {
            "rows": rows[name],
            "colour": facts["colour"],
            "noise_level": facts["noise_level"],
            "manifest_sha256": files.sha256(files.join(place, name, MANIFEST)),
        }
        for name, facts in sorted(sets.items())
    }
    files.write_text(files.join(place, "README.md"), card(about["name"], splits, sets, about))
    return directory.commit(place, "dataset", [], {**about, "splits": splits}).rows
