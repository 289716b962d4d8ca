import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from pipeline.dedupe.neighbors import HashPairs, distinct_hashes, near_pairs
from pipeline.jobs.near_hashes import SearchDistributed, SearchInMemory
from pipeline.layout import Layout
from pipeline.running.run import JobSpec, run_job
from pipeline.shards import commit, directory
from pipeline.shards.parquet import write_shard
from schemas.duplicate import DUPLICATE
from schemas.image import IMAGES
from tests.pipeline.conftest import ONE_PROCESS, build
from tests.pipeline.dedupe.test_neighbors import listed, planted
from tests.pipeline.test_build import digests


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The hash column of an image table in three shards: near hashes, repeated ones, and many that share a bucket."""
    rng = np.random.default_rng(0)
    column = np.concatenate([planted(rng, 3000), np.arange(600, dtype=np.uint64)])
    column = np.concatenate([column, rng.choice(column, 200)])
    place = str(tmp_path_factory.mktemp("images"))
    shards = []
    for index, part in enumerate(np.array_split(rng.permutation(column), 3)):
        schema = pa.schema([IMAGES.schema.field("phash")])
        shards.append(
            write_shard(
                place, directory.shard_stem("part", index, 4), schema, [pa.table({"phash": part}, schema)]
            )
        )
    commit.commit(place, IMAGES.name, shards, {})
    return place, column


@pytest.mark.parametrize("most", [None, 5000, 300])
def test_a_runner_finds_what_the_search_in_memory_finds(table, tmp_path, most):
    place, column = table
    search = SearchDistributed(place, len(column), 8, most=most) if most else SearchInMemory(place, 8)
    output = tmp_path / "found"

    def construct(pipeline):
        found = pipeline | search | beam.CombineGlobally(beam.combiners.ToListCombineFn())
        _ = found | beam.Map(lambda parts: np.save(output, np.stack([(n := HashPairs.join(parts)).u, n.v])))

    run_job(construct, [ONE_PROCESS], JobSpec("dedupe", str(tmp_path), "masks", 1, 0))
    hashes, repeats = distinct_hashes(column)
    expected = HashPairs.join([near_pairs(hashes, 8), repeats])
    assert np.load(output.with_suffix(".npy")).T.tolist() == [list(pair) for pair in listed(expected)]


def test_a_build_by_join_writes_the_same_duplicates(world, built, tmp_path):
    assert build(world, tmp_path / "out", "--set", "dedupe.distribute_above=0") == 0
    tables = [
        directory.read_table(Layout(str(place)).duplicates, DUPLICATE) for place in (built, tmp_path / "out")
    ]
    assert tables[0].equals(tables[1])
    assert tables[0].num_rows == 2
    assert digests(tmp_path / "out" / "dedupe") == digests(built / "dedupe"), (
        "distribute_above affects no output"
    )
