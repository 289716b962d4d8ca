"""Retrieval lists are read, whole and in parts, and checked (pipeline/records.py, delimited.py, file_parts.py, ingest/rows.py).

The first three bytes choose the format, and the sizes of the parts and of the pieces in which a file is scanned for them.
A list gives rows or a `DataError` that names it. Its parts, joined, give the same rows, malformed lines and error as the
whole file. Each row becomes one row of the retrieval table or one rejection with a code of the closed list; ids are
unique afterwards, and no path of an accepted row leaves the source folder or gives more than a `Rejected`.
"""

import io
import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pyarrow as pa
from pyarrow import parquet

from common.errors import DataError
from pipeline import file_parts
from pipeline.ingest.rows import check_rows, distinct_images, resolve_rows
from pipeline.ingest.source_folder import SourceFolder, check_path
from pipeline.records import Records, check_readable, cut_file, read_records
from pipeline.rejections import Rejected
from schemas.rejection import CODES
from schemas.retrieval import RETRIEVAL_LIST
from tests.fuzz.inputs import check_error, check_rejection, choice, folder, written

CLASSES = ("ant", "bee", "Größe")
ENDINGS = ("csv", "jsonl", "parquet")
WORDS = (
    b"image_id", b"class_name", b"path", b"url", b"method", b"rank", b"sha256", b"sep=;\n", b'""', b'"\n"', b",", b";", b"\t",
    b"\r\n", b"\xef\xbb\xbf", b"ant", b"text", b"../x", b"http://a.test/b", b"'=", b"nan", b"3.0", b"1e5", b'"\\udfff"', b"NaN",
    b"\xe2\x80\xa8", b"\xc2\xa0", b"\xe2\x80\x8b", b"\x00", b"PAR1",
)  # fmt: skip

Rows = tuple[list[dict[str, Any]], list[tuple[str, str]]]


def parquet_file(columns: dict[str, list[Any]], **options: Any) -> bytes:
    """Return a Parquet file with these columns."""
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file, **options)
    return file.getvalue()


def seeds() -> Iterator[bytes]:
    """Yield a list of each format, and some with faults."""
    head = b"image_id,class_name,path,url,method,rank,sha256\n"
    yield (
        b"\x00\x28\x10"
        + head
        + b'a,ant,a.jpg,,text,3.0,\n"b""\nc",BEE,,http://a.test/,image,,\n../x,ant,../x,,,,\n'
    )
    yield b"\x00\x01\x08sep=;\r\nclass_name;url\r\nant;http://a.test/1\r\n\r\n;;;;\r\nant;'=1+1\r\nant\r\n"
    yield (
        b"\x00\x3c\x09\xef\xbb\xbf"
        + head
        + b'a,ant,a.jpg,,,,\n\xef\xbb\xbf"b",ant,b.jpg,,,,\n,,,,,,\na,ant,"a.jpg\n'
    )
    yield (
        b"\x00\x3c\x09"
        + head
        + b"a,ant,a.jpg,,,"
        + b"1" * 5000
        + b".0,\na,ant,a\x00.jpg,,,,\rb,ant,\xe9.jpg,,,,\n"
    )
    row = {"image_id": 7, "class_name": "ant", "path": "ants/7.jpg", "rank": 3.0, "sha256": "ab" * 32}
    rows = [
        row,
        {**row, "image_id": "7.0"},
        {**row, "image_id": "\ud800"},
        {**row, "path": "/etc/x"},
        [],
        {},
        None,
    ]
    yield b"\x01\x20\x10" + b"\n".join(json.dumps(each).encode() for each in rows)
    yield (
        b"\x01\x01\x08\xef\xbb\xbf"
        + json.dumps({**row, "rank": float("nan"), "image_id": " x\u200b"}).encode()
        + b"\n{oops"
    )
    yield b"\x02\x01\x10" + parquet_file(
        {"image_id": [*"abc"], "class_name": ["ant"] * 3, "path": ["x", None, ".."]}
    )
    numbers = {
        "image_id": [1.0, None, 3.5],
        "class_name": ["ant", "bee", ""],
        "url": ["http://a.test/"] * 3,
        "rank": [1, 2, 3],
    }
    yield b"\x02\x01\x10" + parquet_file(numbers, row_group_size=1, use_dictionary=False, compression="none")
    wrong = pa.array([b"\xff\xfe", b"\xed\xa0\x80"]).view(pa.string())  # text that is not UTF-8
    yield b"\x02\x01\x10" + parquet_file({"image_id": [*"ab"], "class_name": ["ant"] * 2, "path": wrong})
    named = parquet_file({"image_id": ["a"], "class_name": ["ant"], "path": ["b"]})
    yield b"\x02\x01\x10" + named.replace(b"path", b"p\xffth")
    yield b"\x02\x01\x10" + parquet_file(
        {"image_id": [[1], [2]], "class_name": [{"a": 1}] * 2, "path": [True, False]}
    )


def check(data: bytes) -> None:
    """Read a list in both ways, and check its rows."""
    number, data = choice(data, len(ENDINGS))
    (part_bytes, data), (scan_bytes, data) = choice(data, 60), choice(data[1:], 32)
    path = written(f"list.{ENDINGS[number]}", data)
    sizes = {"PART_BYTES": 1 + part_bytes, "SCAN_BYTES": 8 + scan_bytes}
    with patch.multiple(file_parts, **sizes):
        joined = outcome(path, in_parts=True)
    whole = outcome(path, in_parts=False)
    assert joined == whole
    if isinstance(whole, tuple):
        checked(whole[0])


def outcome(path: str, in_parts: bool) -> Rows | str:
    """Return the rows and malformed lines of a list, or its error."""
    try:
        if in_parts:
            check_readable(path, RETRIEVAL_LIST)
            pieces = cut_file(path, RETRIEVAL_LIST)
            batches = [batch for part in pieces for batch in read_records(path, RETRIEVAL_LIST, part=part)]
        else:
            batches = list(read_records(path, RETRIEVAL_LIST))
    except DataError as error:
        check_error(error, path)
        return "error"
    return combined(batches)


def combined(batches: list[Records]) -> Rows:
    rows = [row for batch in batches for row in batch.rows.to_pylist()]
    return rows, [problem for batch in batches for problem in batch.malformed]


def checked(rows: list[dict[str, Any]]) -> None:
    """Check that each row is accepted or rejected, first by itself and then among the others."""
    names = dict.fromkeys([*RETRIEVAL_LIST.schema.names, "location"])
    table = pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names]))
    good, bad = check_rows(table, CLASSES, "web")
    assert good.num_rows + bad.num_rows == table.num_rows
    assert set(bad["code"].to_pylist()) <= CODES.keys()
    kept, repeated = resolve_rows(good)
    assert kept.num_rows + repeated.num_rows == good.num_rows
    assert set(repeated["code"].to_pylist()) <= CODES.keys()
    images = distinct_images(kept)
    assert len(set(images["image_id"].to_pylist())) == images.num_rows
    source = SourceFolder(str(folder("source")), 1000)
    for image in images.to_pylist():
        if image["path"] is not None:
            try:
                assert ".." not in check_path(image["path"])
                source.read(image["path"])
            except Rejected as rejected:
                check_rejection(rejected)
