"""Votes as nobody should bring them: counted rejections, or an error that names the line."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from common.errors import DataError
from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.registry import METHODS
from pipeline.aggregate.readers.votes import read_votes
from pipeline.aggregate.verdicts import verdicts_by_method
from pipeline.aggregate.vote_columns import VoteColumns
from pipeline.aggregate.vote_validation import check_vote_rows, select_valid_votes
from schemas.retrieval import RETRIEVAL

HEADER = "image_id,class_name,worker_id,answer\n"
ASKED = RETRIEVAL.from_rows([{"image_id": f"i{k}", "class_name": "cat"} for k in range(20)])


def settled(path: Path, text: str | bytes) -> tuple[VoteColumns, Counter[str]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    good, bad = zip(*(check_vote_rows(records.rows) for records in read_votes(str(path))), strict=True)
    kept, rejected = select_valid_votes(pa.concat_tables(good), ASKED)
    return kept, Counter(pa.concat_tables([*bad, rejected])["code"].to_pylist())


def test_a_hundred_thousand_identical_answers_of_one_worker_are_one_vote(tmp_path):
    kept, codes = settled(tmp_path / "v.csv", HEADER + "i0,cat,w1,yes\n" * 100_000)
    assert kept.counts().tolist() == [[1, 0, 0]]
    assert codes == {"duplicate_vote": 99_999}


def test_ids_that_lead_elsewhere_are_rejected(tmp_path):
    ids = ['"two\nlines"', "../../etc/passwd", "a/b", "C:\\x", "i0\x00", "x" * 10_000]
    text = HEADER + "".join(f"{name},cat,w1,yes\n" for name in [*ids, "i0"])
    kept, codes = settled(tmp_path / "v.csv", text)
    assert kept.questions["image_id"].to_pylist() == ["i0"]
    assert codes == {"unknown_image": 3, "bad_id": 3}


def test_mixed_encodings_are_reported_with_the_line(tmp_path):
    text = HEADER.encode() + "i0,cat,wö,yes\n".encode() + "i1,cat,wö,yes\n".encode("latin-1")
    with pytest.raises(DataError, match=r"v.csv, line 3: .* is not UTF-8"):
        settled(tmp_path / "v.csv", text)


@pytest.mark.parametrize("method", METHODS)
def test_one_answer_throughout_is_the_verdict_of_every_method(tmp_path, method):
    rows = "".join(f"i{k},cat,w{w},no\n" for k in range(20) for w in range(3))
    kept, codes = settled(tmp_path / "v.csv", HEADER + rows)
    table, _ = verdicts_by_method(kept, method, MethodSettings(), 3)
    assert set(table["verdict"].to_pylist()) == {"no"}
    assert not codes
