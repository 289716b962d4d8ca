"""Reading the parts of a file gives what reading the whole file gives."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from common.errors import DataError
from pipeline import file_parts
from pipeline.records import check_readable, cut_file, read_records
from schemas.vote import VOTE

HEADER = "image_id,class_name,worker_id,answer"
PROPERTY = settings(
    derandomize=True, deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # fmt: skip
# Delimiter, quote, line ends, byte order mark, and text; a part begins and ends anywhere among them.
CSV_TEXT = st.text(st.sampled_from(',,"""\n\n\n\rab \ufeff;é'), max_size=120)
WELL_FORMED = st.lists(
    st.tuples(*[st.text(st.sampled_from('a,"\n\ré'), max_size=4)] * 4), min_size=1, max_size=15
)
SIZES = st.tuples(st.integers(1, 60), st.integers(8, 40))  # PART_BYTES, SCAN_BYTES


def whole(path: str) -> tuple[list[dict], list[tuple[str, str]]]:
    return combined(list(read_records(path, VOTE)))


def in_parts(path: str) -> tuple[list[dict], list[tuple[str, str]]]:
    check_readable(path, VOTE)
    parts = cut_file(path, VOTE)
    return combined([batch for part in parts for batch in read_records(path, VOTE, part=part)])


def combined(batches: list) -> tuple[list[dict], list[tuple[str, str]]]:
    rows = [row for batch in batches for row in batch.rows.to_pylist()]
    return rows, [problem for batch in batches for problem in batch.malformed]


def outcome(read: Callable[[str], object], path: str) -> object:
    try:
        return read(path)
    except DataError as error:
        return str(error)


def check_parts(path: Path, sizes: tuple[int, int]) -> int:
    """Compare the parts with the whole file; return the number of parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_parts, "PART_BYTES", sizes[0])
        patch.setattr(file_parts, "SCAN_BYTES", sizes[1])
        assert outcome(in_parts, str(path)) == outcome(whole, str(path))
        try:
            parts = cut_file(str(path), VOTE)
        except DataError:
            return 0
    data = path.read_bytes()
    assert [part.start for part in parts] == [0, *[part.end for part in parts[:-1]]]
    assert parts[-1].end == len(data)
    assert sum(part.rows for part in parts) == data.count(b"\n")
    return len(parts)


@PROPERTY
@given(CSV_TEXT, SIZES)
@example('a"\nb,c,w,"yes\n"\n' * 4, (1, 8))
@example('"a""\n""",c,w,yes\n' * 4, (1, 8))
@example('a,c,w,yes\n\ufeff"a",c,w,yes\n' * 4, (1, 8))
def test_any_csv_text_in_parts_reads_like_the_whole_file(
    tmp_path: Path, text: str, sizes: tuple[int, int]
) -> None:
    (tmp_path / "v.csv").write_bytes(f"{HEADER}\n{text}".encode())
    check_parts(tmp_path / "v.csv", sizes)


@PROPERTY
@given(st.binary(max_size=60), CSV_TEXT, SIZES)
def test_any_bytes_in_parts_read_like_the_whole_file(
    tmp_path: Path, data: bytes, text: str, sizes: tuple[int, int]
) -> None:
    for name, start in (("v.csv", HEADER.encode() + b"\n"), ("v.jsonl", b"")):
        (tmp_path / name).write_bytes(start + text.encode() + data + text.encode())
        check_parts(tmp_path / name, sizes)


@PROPERTY
@given(WELL_FORMED, SIZES, st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), st.sampled_from(",;\t"))
def test_csv_of_pythons_writer_is_cut_at_every_record(
    tmp_path: Path, rows: list[tuple[str, ...]], sizes: tuple[int, int], quoting: int, delimiter: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=quoting)
    writer.writerow(HEADER.split(","))
    writer.writerows(rows)
    (tmp_path / "v.csv").write_bytes(text.getvalue().encode())
    count = check_parts(tmp_path / "v.csv", (1, 1 << 20))
    if "\r" not in text.getvalue():
        assert count >= len(rows) - 1  # the last one is too near to the end of the file
    check_parts(tmp_path / "v.csv", sizes)


def test_json_lines_are_cut_at_line_feeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.jsonl"
    line = json.dumps({"image_id": "é", "class_name": "c", "worker_id": "w", "answer": "yes"})
    path.write_text("\ufeff" + line + "\n\n{oops\n" + "\n".join([line] * 9), encoding="utf-8")
    for size in range(1, 200, 7):
        assert check_parts(path, (size, 16)) > 1


@pytest.mark.parametrize("groups", [1, 2, 5])
def test_parquet_files_are_cut_at_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: int
) -> None:
    path = str(tmp_path / "v.parquet")
    table = pa.table({name: [f"{name}-{n}" if n % 3 else "" for n in range(10)] for name in VOTE.required})
    parquet.write_table(table, path, row_group_size=10 // groups)
    monkeypatch.setattr(file_parts, "PART_BYTES", 1)
    parts = cut_file(path, VOTE)
    assert [(part.start, part.end, part.rows) for part in parts] == [
        (n, n + 1, 10 // groups) for n in range(groups)
    ]
    assert in_parts(path) == whole(path)


def test_a_small_file_is_one_part(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_text(f"{HEADER}\n" + "a,c,w,yes\n" * 1000)
    (part,) = cut_file(str(path), VOTE)
    assert (part.start, part.end, part.first_line, part.rows) == (0, path.stat().st_size, 1, 1001)


def test_a_file_with_bare_carriage_returns_is_one_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_parts, "PART_BYTES", 1)
    path = tmp_path / "v.csv"
    path.write_bytes(f"{HEADER}\na,c,w,yes\rb,c,w,no\nc,c,w,no\nd,c,w,no\n".encode())
    assert len(cut_file(str(path), VOTE)) == 1
    assert in_parts(str(path)) == whole(str(path))


def test_parts_are_about_as_large_as_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_parts, "PART_BYTES", 10_000)
    monkeypatch.setattr(file_parts, "SCAN_BYTES", 3_000)
    path, rng = tmp_path / "v.csv", np.random.default_rng(0)
    rows = [f'"{"x" * int(rng.integers(40))}\n",c,w,yes\n' for _ in range(5000)]
    path.write_text(f"{HEADER}\n{''.join(rows)}")
    sizes = [part.end - part.start for part in cut_file(str(path), VOTE)]
    assert all(10_000 <= size < 10_100 for size in sizes[:-1])
