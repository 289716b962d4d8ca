import csv
import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from common.errors import DataError
from pipeline import delimited, records
from pipeline.records import read_records
from schemas.cells import csv_text
from schemas.retrieval import RETRIEVAL_LIST
from schemas.vote import VOTE

HEADER = "image_id,class_name,worker_id,answer\n"
Write = Callable[[str, "str | bytes"], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a file and returns its path."""

    def to_file(name: str, data: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(path)

    return to_file


def rows_of(path: str) -> dict[str, str | None]:
    """Return location → image id of all rows of a file."""
    result: dict[str, str | None] = {}
    for part in read_records(path, VOTE):
        result |= dict(zip(part.rows["location"].to_pylist(), part.rows["image_id"].to_pylist(), strict=True))
    return result


def malformed_of(path: str) -> dict[str, str]:
    return {row: text for part in read_records(path, VOTE) for row, text in part.malformed}


def test_rows_have_all_columns_of_the_table_as_strings_and_their_location(write: Write) -> None:
    (part,) = read_records(write("v.csv", HEADER + 'a,c,w,yes\nb,"c, d",007,\n'), VOTE)
    assert part.rows.to_pylist() == [
        {"image_id": "a", "class_name": "c", "worker_id": "w", "answer": "yes", "seconds": None, "time": None, "seen_class": None, "location": "v.csv:2"},
        {"image_id": "b", "class_name": "c, d", "worker_id": "007", "answer": None, "seconds": None, "time": None, "seen_class": None, "location": "v.csv:3"},
    ]  # fmt: skip
    assert not part.malformed


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "a,c,w,yes\nb,c,w,no\n",
        HEADER + "a,c,w,yes\nb,c,w,no",
        (HEADER + "a,c,w,yes\nb,c,w,no\n").replace("\n", "\r\n"),
        "\ufeff" + HEADER + "a,c,w,yes\nb,c,w,no\n",
        '\ufeff"image_id" , "class_name",worker_id,answer\na,c,w,yes\nb,c,w,no\n',
        "answer,note,worker_id,class_name,image_id\nyes,x,w,c,a\nno,y,w,c,b\n",
    ],
    ids=["plain", "no last line end", "windows", "byte order mark", "quoted header", "other columns"],
)
def test_common_csv_dialects_read_the_same(write: Write, text: str) -> None:
    assert rows_of(write("v.csv", text)) == {"v.csv:2": "a", "v.csv:3": "b"}


@pytest.mark.parametrize("block_bytes", [8 << 20, 64])
def test_malformed_lines_are_reported_and_the_others_keep_their_numbers(
    write: Write, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block_bytes)
    lines = [f"i{n},c,w,yes" if n % 5 and n < 22 else f"bad,{n}" for n in range(2, 25)]
    path = write("v.csv", HEADER + "\n".join(lines) + "\n")
    bad = [n for n in range(2, 25) if n % 5 == 0 or n >= 22]
    assert malformed_of(path) == {f"v.csv:{n}": "2 fields instead of 4" for n in bad}
    assert rows_of(path) == {f"v.csv:{n}": f"i{n}" for n in range(2, 25) if n not in bad}


def test_a_file_of_malformed_lines_only_reports_all_of_them(write: Write) -> None:
    assert list(malformed_of(write("v.csv", HEADER + "a\nb,c,w,yes,no\n"))) == ["v.csv:2", "v.csv:3"]


@pytest.mark.parametrize("blank", ["\n", "  \n", "\t\n", ",,,\n", ",\n", '"",,,\n', " , ,\n", "\r\n"])
def test_blank_lines_are_skipped_but_counted(write: Write, blank: str) -> None:
    path = write("v.csv", HEADER + "a,c,w,yes\n" + blank + "b,c,w,no\n" + blank)
    assert rows_of(path) == {"v.csv:2": "a", "v.csv:4": "b"}
    assert not malformed_of(path)


@pytest.mark.parametrize("blank", ["", "\n\n", ",,,\n"])
def test_blank_lines_before_the_header_are_counted(write: Write, blank: str) -> None:
    assert rows_of(write("v.csv", "\n \r\n" + HEADER + blank + "a,c,w,yes\n")).popitem()[1] == "a"
    assert rows_of(write("v.csv", "\n \r\n" + HEADER + "a,c,w,yes\n")) == {"v.csv:4": "a"}


@pytest.mark.parametrize("blank", ["", "\n\n", ",,,\n"])
def test_a_file_of_blank_lines_only_is_an_error(write: Write, blank: str) -> None:
    with pytest.raises(DataError, match="a header line but no rows"):
        rows_of(write("v.csv", HEADER + blank))


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_sep_line_sets_the_delimiter(write: Write, delimiter: str) -> None:
    path = write(
        "v.csv", f"\ufeffsep={delimiter}\r\n" + (HEADER + "a,c,w,yes\nb,c\n").replace(",", delimiter)
    )
    assert rows_of(path) == {"v.csv:3": "a"}
    assert list(malformed_of(path)) == ["v.csv:4"]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_recognized_by_the_header(write: Write, delimiter: str) -> None:
    text = (HEADER + 'a,"c,d;e",w,yes\n').replace(",", delimiter).replace(f"c{delimiter}d", "c,d")
    (part,) = read_records(write("v.csv", text), VOTE)
    assert [part.rows[name][0].as_py() for name in VOTE.required] == ["a", "c,d;e", "w", "yes"]


def test_line_breaks_in_quotes_belong_to_the_value_and_count_as_lines(write: Write) -> None:
    path = write("v.csv", "note," + HEADER + '"two\nlines",a,c,w,yes\n"x\n\ny",b\n,c,c,w,no\n')
    assert rows_of(path) == {"v.csv:2": "a", "v.csv:7": "c"}
    assert list(malformed_of(path)) == ["v.csv:4", "v.csv:5", "v.csv:6"]


def test_an_unclosed_quote_rejects_every_line_after_it(write: Write) -> None:
    path = write("v.csv", HEADER + 'a,c,w,yes\n"b,c,w,yes\nc,c,w,yes\nd,c,w,yes\n')
    assert rows_of(path) == {"v.csv:2": "a"}
    assert malformed_of(path).keys() == {"v.csv:3", "v.csv:4", "v.csv:5"}
    assert "is a quote left open?" in malformed_of(path)["v.csv:3"]


FIELD = st.text(st.sampled_from('ab,"\né '), max_size=4)
RELAXED = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@RELAXED
@given(
    st.lists(st.tuples(FIELD, FIELD, FIELD, FIELD), min_size=1, max_size=12), st.sampled_from([96, 8 << 20])
)
def test_what_pythons_own_csv_writer_writes_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, ...]], block_bytes: int
) -> None:
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block_bytes)
    text, locations = io.StringIO(HEADER), []
    text.seek(0, io.SEEK_END)
    for row in rows:
        locations.append(f"v.csv:{text.getvalue().count(chr(10)) + 1}")
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(row)
    (tmp_path / "v.csv").write_text(text.getvalue(), newline="")
    rows = [tuple(value.strip() for value in row) for row in rows]
    if not any(map(any, rows)):
        with pytest.raises(DataError, match="no rows"):
            rows_of(str(tmp_path / "v.csv"))
        return
    parts = list(read_records(str(tmp_path / "v.csv"), VOTE))
    got = pa.concat_tables(part.rows for part in parts).to_pylist()
    expected = [(location, row) for location, row in zip(locations, rows, strict=True) if any(row)]
    assert [row["location"] for row in got] == [location for location, _ in expected]
    assert [tuple(row[name] or "" for name in VOTE.required) for row in got] == [row for _, row in expected]


@RELAXED
@given(st.binary(max_size=80))
def test_any_bytes_are_rows_or_a_data_error(tmp_path: Path, data: bytes) -> None:
    for name, start in (("v.csv", HEADER.encode()), ("v.jsonl", b"")):
        (tmp_path / name).write_bytes(start + data)
        with suppress(DataError):
            list(read_records(str(tmp_path / name), VOTE))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("v.csv", "", "the file is empty"),
        ("v.csv", "\n\n", "the file is empty"),
        ("v.csv", "\n" + HEADER, "a header line but no rows"),
        ("v.csv", HEADER, "the file has a header line but no rows"),
        ("v.csv", HEADER.replace("answer", "anwser") + "a,c,w,yes\n", "did you mean 'anwser'? rename it"),
        ("v.csv", HEADER.replace(",", ":") + "a:c:w:yes\n", "needs the column 'image_id'"),
        ("v.csv", "image_id," + HEADER + "a,a,c,w,yes\n", "two columns 'image_id'"),
        ("v.csv", HEADER + "a,é,w,yes\n", "save the file as UTF-8 text"),
        ("v.csv", (HEADER + "a,c,w,yes\n").replace("\n", "\r"), "the header cannot be read"),
        ("v.jsonl", "", "the file has no rows"),
        ("v.jsonl", "\n\n", "the file has no rows"),
        ("v.jsonl", '{"image_id": "a"}\n', "needs the column 'class_name'"),
        ("v.jsonl", '{"image_id": "é"}\n', "save the file as UTF-8 text"),
        ("v.parquet", "", "write it again as Parquet"),
        ("v.parquet", HEADER, "write it again as Parquet"),
        ("v.txt", HEADER, "give a .csv, .jsonl or .parquet file"),
        ("votes", HEADER, "give a .csv, .jsonl or .parquet file"),
    ],
)
def test_an_unreadable_file_is_reported_with_its_path_and_the_remedy(
    write: Write, name: str, data: str, message: str
) -> None:
    path = write(name, data.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        list(read_records(path, VOTE))
    assert str(caught.value).startswith(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("rows", [0, 3])
def test_a_parquet_file_without_rows_is_reported(tmp_path: Path, rows: int) -> None:
    path = str(tmp_path / "v.parquet")
    parquet.write_table(pa.table({name: pa.nulls(rows, pa.string()) for name in VOTE.schema.names}), path)
    for read in (lambda: list(read_records(path, VOTE)), lambda: records.check_readable(path, VOTE)):
        with pytest.raises(DataError, match=r"v\.parquet: the file has no rows; add rows"):
            read()


@pytest.mark.parametrize("line", ["é,c,w,yes", "é", "a,c,w,yes,é"])
def test_the_line_that_is_not_utf_8_is_named_even_if_it_is_malformed(write: Write, line: str) -> None:
    data = (HEADER + "a,c,w,yes\n" + line + "\nb,c,w,yes\n").encode("latin-1")
    with pytest.raises(DataError, match=r"v\.csv, line 3: .*; save the file as UTF-8 text"):
        list(read_records(write("v.csv", data), VOTE))


def test_utf_16_is_reported(write: Write) -> None:
    with pytest.raises(DataError, match="save the file as UTF-8 text"):
        list(read_records(write("v.csv", (HEADER + "a,c,w,yes\n").encode("utf-16")), VOTE))


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"v\.csv: no such file; check the path"):
        list(read_records(str(tmp_path / "v.csv"), VOTE))


def vote(**values: object) -> str:
    return json.dumps({"image_id": "a", "class_name": "c", "worker_id": "w", "answer": "yes"} | values) + "\n"


def test_json_lines_keep_numbers_and_ids_as_written(write: Write) -> None:
    ids = [7, 7.0, 7.5, "007", "2020-01-01", "7.00", "1.10", "", None, "é\n"]
    text = "".join(vote(image_id=value) for value in ids)
    shown = ["7", "7", "7.5", "007", "2020-01-01", "7", "1.10", None, None, "é"]
    assert list(rows_of(write("v.jsonl", text)).values()) == shown


def test_a_bad_json_line_is_malformed_and_the_others_keep_their_numbers(write: Write) -> None:
    bad = ["{oops\n", "[1]\n", "3\n", vote(answer=["yes"]), vote(answer={}), '{"image_id": "\\ud800"}\n']
    path = write("v.jsonl", "\ufeff" + vote(image_id="first") + "\n" + "".join(bad) + vote(image_id="last"))
    assert rows_of(path) == {"v.jsonl:1": "first", "v.jsonl:9": "last"}
    assert list(malformed_of(path)) == [f"v.jsonl:{n}" for n in range(3, 9)]


def test_json_lines_are_read_block_by_block(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BLOCK_ROWS", 4)
    path = write("v.jsonl", "".join(vote(image_id=str(n)) for n in range(1, 11)))
    assert len(list(read_records(path, VOTE))) == 3
    assert rows_of(path) == {f"v.jsonl:{n}": str(n) for n in range(1, 11)}


def test_parquet_columns_of_any_plain_type_are_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BLOCK_ROWS", 2)
    columns = {
        "image_id": pa.array([1, 2, 3], pa.int64()),
        "class_name": pa.array(["c", "", "c"]).dictionary_encode(),
        "worker_id": pa.array(["w"] * 3, pa.large_string()),
        "answer": ["yes", "no", None],
        "seconds": pa.array([1.5, None, 3.0], pa.float64()),
        "browser": [[1], [2], [3]],
    }
    path = write("v.parquet", "")
    parquet.write_table(pa.table(columns), path)
    first, second = read_records(path, VOTE)
    assert first.rows.to_pylist() == [
        {"image_id": "1", "class_name": "c", "worker_id": "w", "answer": "yes", "seconds": "1.5", "time": None, "seen_class": None, "location": "v.parquet:1"},
        {"image_id": "2", "class_name": None, "worker_id": "w", "answer": "no", "seconds": None, "time": None, "seen_class": None, "location": "v.parquet:2"},
    ]  # fmt: skip
    assert second.rows["location"].to_pylist() == ["v.parquet:3"]
    assert second.rows["seconds"].to_pylist() == ["3"]


@pytest.mark.parametrize("damage", [slice(0, -20), slice(0, 30)], ids=["cut", "start only"])
def test_a_damaged_parquet_file_is_reported(write: Write, damage: slice) -> None:
    path = write("v.parquet", "")
    parquet.write_table(pa.table({name: ["a"] for name in VOTE.required}), path)
    with pytest.raises(DataError, match="write it again as Parquet"):
        list(read_records(write("w.parquet", Path(path).read_bytes()[damage]), VOTE))


def test_a_parquet_column_of_lists_is_reported(write: Write) -> None:
    path = write("v.parquet", "")
    parquet.write_table(pa.table({name: [["a"]] for name in VOTE.required}), path)
    with pytest.raises(DataError, match="columns of text or numbers"):
        list(read_records(path, VOTE))


def test_locations_use_the_given_name(write: Write) -> None:
    (part,) = read_records(write("v.csv", HEADER + "a,c,w,yes\n"), VOTE, "2020/v.csv")
    assert part.rows["location"].to_pylist() == ["2020/v.csv:2"]


def test_two_parquet_columns_of_one_name_are_reported(write: Write) -> None:
    path = write("v.parquet", "")
    columns = [*VOTE.required, VOTE.required[0]]
    parquet.write_table(pa.table([["a"]] * len(columns), names=columns), path)
    with pytest.raises(DataError, match=f"two columns '{VOTE.required[0]}'; rename one"):
        list(read_records(path, VOTE))


@RELAXED
@given(
    st.lists(st.text(st.sampled_from("'=+-@\t\r\n＝a, \""), min_size=1, max_size=5), min_size=1, max_size=9)
)
def test_cells_escaped_for_spreadsheets_are_read_back_as_they_were(tmp_path: Path, values: list[str]) -> None:
    values = [f"{value}." for value in values]  # none is blank
    text = csv_text(["class_name", "path"], [["c", value] for value in values])
    (tmp_path / "l.csv").write_bytes(text.encode())
    written = csv.reader(io.StringIO(text, newline=""))
    assert not [cell for row in written for cell in row if cell.startswith(tuple("=+-@\t\r＝"))]
    read = [part.rows["path"].to_pylist() for part in read_records(str(tmp_path / "l.csv"), RETRIEVAL_LIST)]
    assert [value for part in read for value in part] == values


def test_parquet_text_that_is_not_utf_8_is_reported(write: Write) -> None:
    path = write("v.parquet", "")
    texts = pa.array([b"a", b"\xff\xfe"]).view(pa.string())
    parquet.write_table(pa.table({name: ["a", "b"] for name in VOTE.required} | {"seen_class": texts}), path)
    with pytest.raises(DataError, match=r"v\.parquet: cannot be read .*write it again as Parquet"):
        list(read_records(path, VOTE))
