import pyarrow as pa
import pytest

from common.errors import DataError
from schemas.retrieval import RETRIEVAL
from schemas.vote import VOTE


def test_the_error_for_a_missing_column_names_the_nearest_one() -> None:
    with pytest.raises(DataError) as caught:
        VOTE.check_columns(["image_id", "class", "class_nme", "worker_id", "answer"], "votes.csv")
    assert (
        "votes.csv: a vote table needs the column 'class_name' (did you mean 'class_nme'? rename it)"
        in str(caught.value)
    )


def test_a_missing_column_without_a_near_name_shows_what_is_there() -> None:
    with pytest.raises(DataError, match="needs the column 'image_id'; it has x, y"):
        VOTE.check_columns(["x", "y"], "votes.csv")
    with pytest.raises(DataError, match="it has none"):
        VOTE.check_columns([], "votes.csv")


def test_optional_and_foreign_columns_do_not_matter() -> None:
    VOTE.check_columns([*VOTE.required, "browser"], "votes.csv")
    assert "seconds" not in VOTE.required


def test_conform_orders_casts_fills_and_drops() -> None:
    given = pa.table({"rank": ["3"], "junk": [1], "class_name": ["cat"], "image_id": ["a"]})
    table = RETRIEVAL.conform(given, "list")
    assert table.schema == RETRIEVAL.schema
    assert table.to_pylist() == [
        dict.fromkeys(RETRIEVAL.schema.names) | {"image_id": "a", "class_name": "cat", "rank": 3}
    ]


def test_conform_names_the_column_whose_cast_would_lose_something() -> None:
    given = pa.table({"image_id": ["a"], "class_name": ["cat"], "rank": [1 << 40]})
    with pytest.raises(DataError, match="list: column 'rank' must be int32"):
        RETRIEVAL.conform(given, "list")


def test_rows_without_nullable_columns_become_a_table() -> None:
    table = RETRIEVAL.from_rows([{"image_id": "a", "class_name": "cat"}])
    assert table["url"].to_pylist() == [None]


def test_conform_names_a_required_column_that_lacks_values() -> None:
    given = pa.table({"image_id": ["a", None], "class_name": ["cat", "cat"]})
    with pytest.raises(DataError, match="list: column 'image_id' lacks values in some rows"):
        RETRIEVAL.conform(given, "list")


def test_the_message_about_a_missing_column_is_short_for_any_file():
    columns = ["x" * 100_000, *(f"column {number}" for number in range(200_000))]
    with pytest.raises(DataError) as error:
        VOTE.check_columns(columns, "votes.jsonl")
    assert "it has xxx" in str(error.value)
    assert str(error.value).endswith(" and 199,981 more")
    assert len(str(error.value)) < 1000
