"""Other people's tools open what we write, as it is."""

import json

import duckdb
import mlcroissant
import pandas as pd
from pyarrow import dataset


def test_pandas_reads_the_folder_of_a_set(built):
    frame = pd.read_parquet(built / "dataset" / "red-0.50")
    assert (~frame["is_clean"]).mean() == 0.5
    assert frame["image"].iloc[0]["bytes"].startswith(b"\x89PNG")


def test_arrow_reads_the_folder_of_a_set(built):
    result = dataset.dataset(built / "dataset" / "red-0.50")
    assert result.count_rows(filter=~dataset.field("is_clean")) == 30


def test_duckdb_counts_the_noise_of_every_set_in_one_query(built):
    query = """
        select split_part(filename, '/', -2) as set, avg((not is_clean)::int) as noise
        from read_parquet(?, filename = true) group by 1 order by 1
    """
    result = dict(duckdb.execute(query, [str(built / "dataset" / "*" / "t*.parquet")]).fetchall())
    assert result["test"] == 0
    assert result["blue-0.20"] == result["red-text-0.20"] == 0.2
    assert len(result) == 13


def test_croissant_is_valid_and_opens_every_record_set(built):
    opened = mlcroissant.Dataset(jsonld=str(built / "dataset" / "croissant.json"))
    assert not opened.metadata.ctx.issues.errors
    assert {record_set.id for record_set in opened.metadata.record_sets} >= {"test", "red-0.50", "blue-0.20"}
    records = list(opened.records("red-0.50"))
    assert len(records) == 60
    assert sum(not record["red-0.50/is_clean"] for record in records) == 30
    assert records[0]["red-0.50/image"].size == (32, 32)


def test_croissant_names_every_shard_with_its_digest(built):
    described = json.loads((built / "dataset" / "croissant.json").read_text())
    listed = {
        item["@id"]: item["sha256"] for item in described["distribution"] if item["@type"] == "cr:FileObject"
    }
    for name in ("test", "red-0.50"):
        for shard in json.loads((built / "dataset" / name / "_manifest.json").read_text())["shards"]:
            assert listed[f"{name}/{shard['file']}"] == shard["sha256"]
