"""Check rows of retrieval lists, and resolve rows about the same image; both over whole columns."""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from pipeline.records import file_and_line
from pipeline.rejections import printable, reject
from pipeline.values import MAX_ID_BYTES, is_bad_identifier, match_names, suggestions
from schemas.fetched import FETCHED
from schemas.retrieval import METHODS, RETRIEVAL, SOURCES

OUTCOME = pa.schema(
    [
        *(FETCHED.schema.field(name).with_nullable(True) for name in (
            "code", "detail", "host", "status", "bytes_seen", "seconds", "attempts", "body_file", "offset", "length",
        )),
        ("body_sha256", pa.string()),
    ]
)  # fmt: skip
"""Columns that describe the outcome of the fetch of a row's URL; all null if the row has a path."""
IMAGES_PER_SHARD = 2048
SMALLEST_BUCKETS = 8  # even a small build keeps several worker processes busy
MAX_PATH_BYTES = 4096  # more than Linux and object stores allow
ID_DIGITS = 16  # as in Controlled Noisy Web Labels
_PATH = r"[/\\]|^\.{1,2}$"  # separators, and names with a meaning in file systems


def check_rows(rows: pa.Table, classes: Sequence[str], source: str) -> tuple[pa.Table, pa.Table]:
    """Check each row on its own; return (retrieval table of the good rows, rejection table of the others).

    `rows` are strings as `read_records` returns them; a missing id is made from the URL. The first rule that a row breaks
    gives its code.
    """
    rows = _with_ids(rows)
    for column, names in (("class_name", classes), ("method", METHODS)):
        index = rows.column_names.index(column)
        rows = rows.set_column(index, column, match_names(rows[column], names))
    n = rows.num_rows
    codes, details = np.full(n, "", object), np.full(n, "", object)

    def rule(
        code: str,
        is_broken: pa.ChunkedArray,
        remedy: str,
        column: str | None = None,
        valid: Sequence[str] = (),
    ) -> None:
        """Set the code of rows that break the rule and have none yet; quote their value of `column`.

        The nearest of the values `valid` is suggested.
        """
        mask = pc.fill_null(is_broken, False).to_numpy(zero_copy_only=False).astype(bool) & (codes == "")
        codes[mask] = code
        values = rows[column].filter(pa.array(mask)).to_pylist() if column else []
        near = suggestions(values, valid) if valid else dict.fromkeys(values, "")
        details[mask] = (
            [f"{column} {printable(value)[:80]!r}{near[value]}: {remedy}" for value in values]
            if column
            else remedy
        )

    is_unnamed = pc.or_(pc.is_null(rows["image_id"]), pc.is_null(rows["class_name"]))
    rule("missing_value", is_unnamed, "give class_name, and image_id or a url to make it from")
    has_no_location = pc.and_(pc.is_null(rows["path"]), pc.is_null(rows["url"]))
    rule("missing_value", has_no_location, "give a path or a url")
    is_path = pc.match_substring_regex(rows["image_id"], _PATH)
    rule("bad_id", is_path, "give an id without / and \\, and not . or ..", "image_id")
    is_bad = is_bad_identifier(rows["image_id"])
    remedy = f"give an id of at most {MAX_ID_BYTES} bytes without control and invisible characters"
    rule("bad_id", is_bad, remedy, "image_id")
    is_long = pc.greater(pc.binary_length(rows["path"]), MAX_PATH_BYTES)
    rule("bad_location", is_long, f"give a path of at most {MAX_PATH_BYTES} bytes", "path")
    is_known = pc.is_in(rows["class_name"], pa.array(classes, pa.string()))
    rule("unknown_class", pc.invert(is_known), "add it to 'classes', or fix the row", "class_name", classes)
    is_known = pc.is_in(rows["method"], pa.array([*METHODS, None], pa.string()))
    rule("bad_method", pc.invert(is_known), f"give one of {', '.join(METHODS)}, or nothing", "method")
    is_whole = pc.match_substring_regex(rows["rank"], r"^[0-9]{1,9}$")
    rule("bad_rank", pc.invert(is_whole), "give a whole number from 0, or nothing", "rank")
    is_digest = pc.match_substring_regex(rows["sha256"], r"^[0-9a-fA-F]{64}$")
    rule("bad_sha256", pc.invert(is_digest), "give 64 hexadecimal digits, or nothing", "sha256")

    good = rows.filter(pa.array(codes == ""))
    good = good.set_column(good.column_names.index("source"), "source", pa.array([source] * good.num_rows))
    good = good.set_column(good.column_names.index("sha256"), "sha256", pc.utf8_lower(good["sha256"]))
    is_bad = codes != ""
    bad = rows.filter(pa.array(is_bad))
    return RETRIEVAL.conform(good, "retrieval list"), reject(bad, codes[is_bad], list(details[is_bad]))


def _with_ids(rows: pa.Table) -> pa.Table:
    """Fill missing ids with the first 16 hexadecimal digits of the SHA-256 of the URL, the same in every list."""
    is_missing = pc.and_(pc.is_null(rows["image_id"]), pc.is_valid(rows["url"]))
    if not pc.any(is_missing).as_py():
        return rows
    urls = rows["url"].filter(is_missing).to_pylist()
    made = pa.array([sha256(url.encode()).hexdigest()[:ID_DIGITS] for url in urls], pa.string())
    ids = pc.replace_with_mask(rows["image_id"].combine_chunks(), is_missing.combine_chunks(), made)
    return rows.set_column(rows.column_names.index("image_id"), "image_id", ids)


def resolve_rows(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Resolve rows about the same image; return (kept rows, rejections). `rows` has all rows of an image, in any order.

    The first row decides the source and location of an image: test before clean before web lists, then by file and
    line. Later rows that disagree with it, and repeated rows, are rejected. Both results are in this order.
    """
    frame = rows.to_pandas()
    frame["_source"] = frame["source"].map(SOURCES.index)
    frame["_file"], frame["_line"] = file_and_line(rows["location"])
    frame = frame.sort_values(["_source", "_file", "_line"], kind="stable")
    origin = frame["source"].str.cat([frame[name].fillna("") for name in ("url", "path", "sha256")], "\n")
    first = (
        frame.assign(_origin=origin)
        .groupby("image_id", sort=False)[["_origin", "location"]]
        .transform("first")
    )
    conflicting = origin != first["_origin"]
    consistent = frame[~conflicting]  # rejected rows do not make others duplicates
    repeated = consistent.duplicated(["image_id", "class_name"])
    repeated |= consistent.duplicated("image_id") & (
        consistent["source"] != "web"
    )  # clean and test images have one class
    repeated = repeated.reindex(frame.index, fill_value=False)

    ordered = rows.take(pa.array(frame.index.to_numpy()))
    bad = (conflicting | repeated).to_numpy()
    codes = np.where(conflicting, "conflicting_id", "duplicate_row")[bad]
    details = [f"the id was first given in {location}" for location in first["location"][bad]]
    return ordered.filter(pa.array(~bad)), reject(ordered.filter(pa.array(bad)), codes, details)


def distinct_images(rows: pa.Table) -> pa.Table:
    """Return one row per image of resolved rows, with its location and the outcome of its URL, if `rows` has it."""
    columns = ["image_id", "source", "path", "url", "sha256", *(field.name for field in OUTCOME)]
    first = ~rows["image_id"].to_pandas().duplicated().to_numpy()
    return rows.select([name for name in columns if name in rows.column_names]).filter(pa.array(first))
