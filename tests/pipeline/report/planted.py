"""Plants what a stranger might send in the tables of a build: in ids, URLs, hosts, workers and details."""

from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipeline import files
from pipeline.report.freshness import derived_tables
from pipeline.report.tables import TABLES
from pipeline.running.stage import manifest_digest
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "'; DROP TABLE pairs; --",
    "{{ 7 * 7 }}{% raw %}",
    "gpj\u202etxt.exe",
    "</code></pre></div><svg onload=alert(1)>",
    "x" * 10_000,
)


def plant(build: str) -> None:
    """Give the first rows of each table hostile values, in each place where a stranger's text can stand."""
    _change(build, "retrievals", {"url": HOSTILE, "path": [None] * len(HOSTILE)})
    _change(build, "workers", {"worker_id": HOSTILE, "suspicion": HOSTILE})
    _change(build, "agreement", {"class_name": HOSTILE[:4]})
    _change(build, "duplicates", {"orientation": HOSTILE[:2], "rule": HOSTILE[:2]})
    rows = [
        {
            "location": f"web.csv:{number}{text}",
            "image_id": text,
            "class_name": text,
            "code": "not_found",
            "detail": text,
            "host": text,
        }
        for number, text in enumerate(HOSTILE)
    ]
    _, folder, schema = TABLES["rejections"]
    _write(files.join(build, folder), pa.Table.from_pylist(rows, schema))
    for _, place, sources in derived_tables(build).values():  # as if the stages had read what is planted
        if not directory.find_manifest(place):  # of a stage that the build does not have
            continue
        manifest = directory.read_manifest(place)
        inputs = manifest.about["inputs"] | {name: manifest_digest(of) for name, of in sources.items()}
        commit.swap(place, replace(manifest, about={**manifest.about, "inputs": inputs}))


def _change(build: str, name: str, columns: dict[str, Any]) -> None:
    folder = files.join(build, TABLES[name].folder)
    table = pa.concat_tables(directory.read_shards(folder))
    for column, values in columns.items():
        old = table[column].to_pylist()
        new = [*values, *old[len(values) :]][: len(old)]
        index = table.schema.get_field_index(column)
        table = table.set_column(
            index, table.schema.field(column), pa.array(new, table.schema.field(column).type)
        )
    _write(folder, table)


def _write(folder: str, table: pa.Table) -> None:
    manifest = directory.read_manifest(folder)
    shard = write_shard(folder, directory.shard_stem("part", 0, 1), table.schema, [table])
    assert shard is not None
    commit.commit(folder, manifest.table, [shard], manifest.about)
