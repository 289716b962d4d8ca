"""Known answers from elsewhere: the published votes on web images, counted independently of this project."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.aggregate.verdicts import majority_verdicts
from pipeline.aggregate.vote_columns import encode_votes
from schemas.vote import VOTE

VOTES = Path(__file__).parents[3] / "shared" / "data" / "rater-votes" / "votes.parquet"


@pytest.mark.skipif(not VOTES.exists(), reason="the published votes are not on this machine")
def test_a_strict_majority_of_the_published_votes_gives_the_known_verdicts() -> None:
    """924,810 answers of 85 raters to 184,962 questions (google-research/reassessed-imagenet)."""
    table = pq.read_table(VOTES)
    named = {
        "image_id": table["image_id"].cast("string"),
        "class_name": table["class_id"].cast("string"),
        "worker_id": table["worker_id"].cast("string"),
        "answer": pc.replace_substring(table["answer"].cast("string"), "maybe", "unsure"),
    }
    verdicts = majority_verdicts(encode_votes(VOTE.conform(pa.table(named), VOTES.name)), 3)
    counts = {row["values"]: row["counts"] for row in verdicts["verdict"].value_counts().to_pylist()}
    assert counts == {"yes": 19_555, "no": 151_182, "undecided": 14_225}
    assert sum(counts.values()) == verdicts.num_rows == 184_962
