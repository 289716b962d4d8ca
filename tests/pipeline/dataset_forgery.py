"""Change a dataset as a careful forger would: shards, the manifests of the sets and that of the dataset agree."""

import hashlib
import json

import pyarrow as pa
from pyarrow import parquet

from pipeline.shards.parquet import STAGED, write_shard
from pipeline.verify.dataset import verify
from schemas.manifest import Manifest


def rewrite(dataset, name, change):
    """Change the rows of each shard of a set."""
    folder = dataset / name
    manifest = Manifest.from_json((folder / "_manifest.json").read_text(), name)
    shards = []
    for shard in manifest.shards:
        table = change(parquet.read_table(folder / shard.file))
        staged = write_shard(str(folder), shard.file.rpartition("-")[0], table.schema, [table])
        (folder / shard.file).unlink()
        if staged:
            (folder / STAGED / staged.file).rename(folder / staged.shard.file)
            shards.append(staged.shard)
    (folder / STAGED).rmdir()
    forged = Manifest(manifest.table, sum(s.rows for s in shards), tuple(shards), manifest.about)
    (folder / "_manifest.json").write_text(forged.to_json())
    agree(dataset, name)


def agree(dataset, name):
    """Write the digest of the manifest of a set into the root manifest."""
    root = json.loads((dataset / "_manifest.json").read_text())
    digest = hashlib.sha256((dataset / name / "_manifest.json").read_bytes()).hexdigest()
    root["about"]["sets"][name]["manifest_sha256"] = digest
    (dataset / "_manifest.json").write_text(json.dumps(root))


def replaced(table, name, values):
    """Return the table with other values in a column."""
    return table.set_column(
        table.column_names.index(name), table.schema.field(name), pa.array(values, table[name].type)
    )


def problems(dataset):
    """Return what verify reports, a line each."""
    return "\n".join(verify(str(dataset)).problems)
