"""Lists of fixed training sets are read, and their sets made (pipeline/records.py, noise/fixed_sets.py).

The first byte chooses the format. A list gives sets or a `DataError` that names the list or the set. Each set has a valid
folder name and a noise level from 0 to 1. Each row of a set becomes one example or counts as not ingested. No example is a
test image, and the examples are sorted by shard key.
"""

import json
import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from common.errors import DataError
from pipeline.noise.fixed_sets import RESERVED, FixedSet, fixed_sets
from pipeline.records import read_records
from schemas.fixed_set import FIXED_SET
from schemas.retrieval import RETRIEVAL
from schemas.verdict import VERDICT
from tests.fuzz.inputs import check_error, choice, written
from tests.fuzz.targets.lists import ENDINGS, parquet_file

CLASSES = ("ant", "bee", "Größe")
RETRIEVALS = RETRIEVAL.from_rows(
    [
        {"image_id": "c", "class_name": "ant", "path": "c", "source": "clean"},
        {"image_id": "t", "class_name": "ant", "path": "t", "source": "test"},
        {"image_id": "w", "class_name": "ant", "path": "w", "source": "web"},
        {"image_id": "w", "class_name": "bee", "path": "w", "source": "web"},
        {"image_id": "7", "class_name": "bee", "path": "7", "source": "web"},
    ]
)
VERDICTS = VERDICT.from_rows(
    [
        {"image_id": "w", "class_name": "ant", "verdict": "no", "yes": 1, "no": 2, "unsure": 0, "confidence": 0.6},
        {"image_id": "w", "class_name": "bee", "verdict": "yes", "yes": 3, "no": 0, "unsure": 0, "confidence": 1},
    ]
)  # fmt: skip
WORDS = (
    b"set_name", b"image_id", b"class_name", b"color", b"noise_level", b"ant", b"bee", b"red", b"0.4", b"nan", b"inf", b"-0.0",
    b"1e400", b"test", b"../x", b"con", b".", b"\xef\xbb\xbf", b"\n", b",", b";", b'"', b"\x00", b"\xe2\x80\x8b", b'"\\ud800"',
)  # fmt: skip
HEAD = b"set_name,image_id,class_name,color,noise_level\n"


def seeds() -> Iterator[bytes]:
    """Yield a list of each format, and some with faults."""
    yield (
        b"\x00"
        + HEAD
        + b"red-40,c,ant,red,0.4\nred-40,w,ant,red,0.4\nred-40,x,bee,red,0.4\nb,w,bee,,\nb,7,BEE,,\n"
    )
    yield b"\x00" + HEAD + b"a,c,ant,red,0.4\na,c,bee,red,0.4\n"
    yield b"\x00" + HEAD + b"a,t,ant,red,0.4\n"
    for name in (b"../a", b"test", b"", b"a" * 101, b"_images"):
        yield b"\x00" + HEAD + name + b",c,ant,red,0.4\n"
    for level in (b"40", b"nan", b"inf", b"-0.1", b"0.4 ", b"x", b"1" * 5000):
        yield b"\x00" + HEAD + b"a,c,ant,red," + level + b"\na,w,ant,red,0.4\n"
    row = {"set_name": "s", "image_id": 7, "class_name": "bee", "noise_level": 0.5}
    rows = [row, {**row, "image_id": "w"}, {**row, "set_name": "o", "color": "\ud800"}]
    yield b"\x01" + b"\n".join(json.dumps(each).encode() for each in rows)
    yield b"\x01" + json.dumps({**row, "noise_level": float("nan"), "color": [1]}).encode() + b"\n{oops"
    yield b"\x02" + parquet_file(
        {"set_name": ["s"] * 2, "image_id": ["c", "w"], "class_name": ["ant", "ant"]}
    )
    yield b"\x02" + parquet_file(
        {"set_name": ["s"], "image_id": [7.0], "class_name": ["bee"], "noise_level": [True]}
    )


def check(data: bytes) -> None:
    """Read a list, and check the sets."""
    number, data = choice(data, len(ENDINGS))
    path = written(f"sets.{ENDINGS[number]}", data)
    try:
        records = list(read_records(path, FIXED_SET, path))
    except DataError as error:
        check_error(error, path)
        return
    rows = pa.concat_tables([each.rows for each in records]) if records else None
    if rows is None or any(each.malformed for each in records):
        return
    try:
        sets = list(fixed_sets(rows, RETRIEVALS, VERDICTS, CLASSES))
    except DataError as error:
        check_error(error, "" if str(error).startswith("set '") else path)
        return
    assert sum(each.measured["rows_in_list"] for each in sets) == rows.num_rows
    assert len({each.name for each in sets}) == len(sets)
    for each in sets:
        check_set(each)


def check_set(made: FixedSet) -> None:
    """Check the properties of a set that the docstring of this module states."""
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", made.name)
    assert made.name not in RESERVED
    assert 0 <= made.noise_level <= 1
    assert len(made) + made.measured["not_ingested"] == made.measured["rows_in_list"]
    ids = made.examples["image_id"].to_pylist()
    assert len(set(ids)) == len(ids)
    assert "t" not in ids
    assert np.array_equal(made.shard_keys, np.sort(made.shard_keys))
    wrong = made.examples["is_clean"].to_pylist().count(False)
    assert made.measured["realized_noise"] == round(wrong / max(1, len(ids)), 6)
