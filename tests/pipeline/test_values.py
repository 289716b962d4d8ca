"""A table reads the same in every file format, and identifiers are normalized."""

import json
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.aggregate.vote_validation import check_vote_rows
from pipeline.records import read_records
from pipeline.values import (
    MAX_ID_BYTES,
    MISSING,
    identifier_fault,
    is_bad_identifier,
    normalize_column,
    normalize_identifier,
)
from schemas.retrieval import RETRIEVAL_LIST
from schemas.vote import VOTE

FORMATS = ("csv", "jsonl", "parquet")
RELAXED = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def write(frame: pd.DataFrame, path: Path, nothing: str = "") -> str:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False, na_rep=nothing)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True, date_format="iso")
    else:
        frame.to_parquet(path)
    return str(path)


def rows_of(path: str) -> list[dict[str, str | None]]:
    read = [part.rows.drop_columns("location").to_pylist() for part in read_records(path, VOTE)]
    return [row for part in read for row in part]


TEXT = st.one_of(
    st.text(st.sampled_from("ab0 1.e\u0301é\u00a0\u200b-+,;\"'"), max_size=5),
    st.sampled_from([*MISSING, "3.0", "3", "1e+16", "007", "-0.0", "-0", "1.50", "2.00", "True"]),
)
NUMBER = st.one_of(
    st.integers(-5, 5), st.sampled_from([10**15, 10**16, 2**53]), st.integers(-36, 36).map(lambda n: n / 4)
)
COLUMN = st.one_of(
    st.tuples(st.just("object"), st.lists(st.one_of(TEXT, st.none()), min_size=6, max_size=6)),
    st.tuples(st.just("float64"), st.lists(st.one_of(NUMBER, st.none()), min_size=6, max_size=6)),
    st.tuples(
        st.just("Int64"), st.lists(st.one_of(st.integers(0, 2**53), st.none()), min_size=6, max_size=6)
    ),
)


@RELAXED
@given(
    st.lists(COLUMN, min_size=4, max_size=4), st.sampled_from([text for text in MISSING if text != "-nan"])
)
def test_a_frame_reads_the_same_from_each_format_that_pandas_writes(
    tmp_path: Path, columns: list[tuple[str, list[object]]], nothing: str
) -> None:
    frame = pd.DataFrame(
        {
            name: pd.Series(values, dtype=kind)
            for name, (kind, values) in zip(VOTE.required, columns, strict=True)
        }
    )
    escaped = frame.map(lambda value: isinstance(value, str) and value.lstrip().startswith("'"))
    frame = frame.mask(escaped, None)  # an apostrophe has a meaning only in CSV
    first = {
        name: [1 if kind != "object" else "x"] for name, (kind, _) in zip(VOTE.required, columns, strict=True)
    }
    frame = pd.concat([pd.DataFrame(first), frame])  # a file without rows is an error
    read = [rows_of(write(frame, tmp_path / f"v.{kind}", nothing)) for kind in FORMATS]
    assert read[0] == read[1] == read[2]


@pytest.mark.parametrize("kind", FORMATS)
def test_integer_columns_with_missing_values_stay_integers(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame(
        {"image_id": [7, None, 1e16], "class_name": ["c", "c", np.nan], "path": "p", "rank": [3, np.nan, 0]}
    )
    read = list(read_records(write(frame, tmp_path / f"l.{kind}"), RETRIEVAL_LIST))
    rows = pa.concat_tables(part.rows for part in read).select(["image_id", "class_name", "rank"]).to_pylist()
    assert rows == [
        {"image_id": "7", "class_name": "c", "rank": "3"},
        {"image_id": None, "class_name": "c", "rank": None},
        {"image_id": "10000000000000000", "class_name": None, "rank": "0"},
    ]


@pytest.mark.parametrize("nothing", [*MISSING, " ", " nan "])
def test_missing_values_are_null_in_every_format(tmp_path: Path, nothing: str) -> None:
    frame = pd.DataFrame({name: ["a", nothing] for name in VOTE.required} | {"answer": ["yes", "no"]})
    for kind in FORMATS:
        assert [row["worker_id"] for row in rows_of(write(frame, tmp_path / f"v.{kind}"))] == ["a", None]


def test_nan_in_json_is_null(tmp_path: Path) -> None:
    vote = {"image_id": "a", "class_name": "c", "worker_id": "w", "answer": True, "seconds": float("nan")}
    (tmp_path / "v.jsonl").write_text(json.dumps(vote) + "\n")
    (row,) = rows_of(str(tmp_path / "v.jsonl"))
    assert (row["seconds"], row["answer"]) == (None, "true")


@pytest.mark.parametrize("kind", FORMATS)
def test_categories_booleans_and_times_read_the_same_in_every_format(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame(
        {
            "image_id": pd.Categorical([7.0, 8.0]),
            "class_name": pd.Categorical(["c", "d"]),
            "worker_id": pd.array(["w", None], "string"),
            "answer": [True, False],
            "time": pd.to_datetime(["2026-11-22T16:00:00.25Z", None], utc=True),
        }
    )
    (part,) = read_records(write(frame, tmp_path / f"v.{kind}"), VOTE)
    votes, bad = check_vote_rows(part.rows, {"true": "yes", "false": "no"})
    (vote,) = votes.drop_columns("location").to_pylist()
    assert bad["code"].to_pylist() == ["missing_value"]
    assert vote == {
        "image_id": "7",
        "class_name": "c",
        "worker_id": "w",
        "answer": "yes",
        "seconds": None,
        "time": datetime(2026, 11, 22, 16, 0, 0, 250_000, tzinfo=UTC),
        "seen_class": None,
    }


def column(*values: str | None) -> pa.Array:
    return pa.array(values, pa.string())


@pytest.mark.parametrize(
    "written",
    ["w0", "w0 ", " w0", "\tw0\n", "w0\u200b", "\ufeffw0", "w0\u00a0", "\u2060 w0 \u200d", "\u202ew0"],
)
def test_blanks_and_invisible_characters_at_the_ends_are_stripped(written: str) -> None:
    assert normalize_column("worker_id", column(written)).to_pylist() == ["w0"]


def test_composed_and_decomposed_letters_give_one_identifier() -> None:
    composed, decomposed = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    assert composed != decomposed
    assert normalize_column("class_name", column(composed, decomposed)).to_pylist() == [composed] * 2
    assert normalize_column("path", column(composed, decomposed)).to_pylist() == [composed, decomposed]


@pytest.mark.parametrize(
    "bad",
    [
        "a\nb",
        "a\0b",
        "a\tb",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        "a\u200bb",
        "a\u202eb",
        "a\u200db",
        "a\u00adb",
        "ab\ufe0f",
        "a" * (MAX_ID_BYTES + 1),
        "é" * MAX_ID_BYTES,
    ],
)
def test_control_and_invisible_characters_and_long_texts_are_bad_identifiers(bad: str) -> None:
    assert identifier_fault(normalize_identifier(bad))
    assert is_bad_identifier(normalize_column("worker_id", column(bad))).to_pylist() == [True]


@pytest.mark.parametrize(
    "good", ["a b", "a" * MAX_ID_BYTES, "日本語", "می\u200cخواهم", "क्\u200dष", "❤\ufe0f", "a@b.c", "-x"]
)
def test_words_of_any_script_are_identifiers(good: str) -> None:
    assert identifier_fault(normalize_identifier(good)) is None
    assert normalize_column("worker_id", column(good)).to_pylist() == [good]
    assert is_bad_identifier(column(good)).to_pylist() == [False]


@RELAXED
@given(st.text(max_size=20))
def test_normalizing_again_changes_nothing_and_columns_agree_with_single_values(text: str) -> None:
    once = normalize_identifier(text)
    assert normalize_identifier(once) == once
    (value,) = normalize_column("set_name", column(text)).to_pylist()
    assert value is None or value == once or value.lstrip("-").isdigit()
    if value is not None:
        assert is_bad_identifier(column(value)).to_pylist() == [identifier_fault(value) is not None]


@pytest.mark.parametrize("written", ["1" * 5000 + ".0", "1." + "0" * 5000, "-" + "9" * 1_000_000 + "e9"])
def test_numbers_with_too_many_digits_stay_as_written(written: str) -> None:
    assert normalize_column("image_id", column(written)).to_pylist() == [written]
    assert is_bad_identifier(column(written)).to_pylist() == [True]
