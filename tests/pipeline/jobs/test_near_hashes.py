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
from tests.pipeline.dedupe.samples import pair_list, planted_hashes
from tests.pipeline.small_world import ONE_PROCESS, build


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The hash column of an image table in three shards: near hashes, repeated ones, and many that share a bucket."""
    rng = np.random.default_rng(0)
    column = np.concatenate([planted_hashes(rng, 3000), np.arange(600, dtype=np.uint64)])
    column = np.concatenate([column, rng.choice(column, 200)])
    folder = str(tmp_path_factory.mktemp("images"))
    shards = []
    for index, part in enumerate(np.array_split(rng.permutation(column), 3)):
        schema = pa.schema([IMAGES.schema.field("phash")])
        shards.append(
            write_shard(
                folder, directory.shard_stem("part", index, 4), schema, [pa.table({"phash": part}, schema)]
            )
        )
    commit.commit(folder, IMAGES.name, shards, {})
    return folder, column


@pytest.mark.parametrize("max_hashes", [None, 5000, 300])
def test_both_searches_find_the_pairs_of_a_search_in_one_process(table, tmp_path, max_hashes):
    folder, column = table
    search = (
        SearchDistributed(folder, len(column), 8, max_hashes=max_hashes)
        if max_hashes
        else SearchInMemory(folder, 8)
    )
    output = tmp_path / "found"

    def construct(pipeline):
        result = pipeline | search | beam.CombineGlobally(beam.combiners.ToListCombineFn())
        _ = result | beam.Map(lambda parts: np.save(output, np.stack([(n := HashPairs.join(parts)).u, n.v])))

    run_job(construct, [ONE_PROCESS], JobSpec("dedupe", str(tmp_path), "masks", 1, 0))
    hashes, repeats = distinct_hashes(column)
    expected = HashPairs.join([near_pairs(hashes, 8), repeats])
    assert np.load(output.with_suffix(".npy")).T.tolist() == [list(pair) for pair in pair_list(expected)]


def test_a_build_with_the_distributed_search_writes_the_same_bytes(world, built, tmp_path):
    assert build(world, tmp_path / "out", "--set", "dedupe.distribute_above=0") == 0
    shards = {
        folder: {
            path.name: path.read_bytes() for path in (folder / "dedupe" / "duplicates").glob("*.parquet")
        }
        for folder in (built, tmp_path / "out")
    }
    assert shards[built] == shards[tmp_path / "out"]
    assert directory.read_table(Layout(str(built)).duplicates, DUPLICATE).num_rows == 2
