"""The rules for rows of retrieval lists, over whole columns."""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from pipeline.records import file_and_line
from pipeline.rejections import printable, reject
from pipeline.values import MAX_ID_BYTES, is_bad_identifier, match_names, suggestion
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
"""Columns that a row has beside its own once the outcome of its URL is known; all null where it has a path."""
IMAGES_PER_SHARD = 2048
SMALLEST_BUCKETS = 8  # so that a small set, too, keeps several workers busy
ID_DIGITS = 16  # as those of the published benchmark
_PATH = r"[/\\]|^\.{1,2}$"  # separators, and names that mean something to a file system


def check_rows(rows: pa.Table, classes: Sequence[str], source: str) -> tuple[pa.Table, pa.Table]:
    """Check each row by itself.

    `rows` are strings as `read_records` gives them; an id that is absent is made from the URL. Returns (retrieval table
    of the good rows, rejection table of the others); the first rule that a row breaks gives its code.
    """
    rows = _with_ids(rows)
    for column, names in (("class_name", classes), ("method", METHODS)):
        at = rows.column_names.index(column)
        rows = rows.set_column(at, column, match_names(rows[column], names))
    n = rows.num_rows
    codes, details = np.full(n, "", object), np.full(n, "", object)

    def rule(
        code: str, broken: pa.ChunkedArray, remedy: str, seen: str | None = None, known: Sequence[str] = ()
    ) -> None:
        """Give rows that are `broken` and have no code yet this one; show the value of the column `seen`.

        The nearest of the values `known` is suggested.
        """
        mask = pc.fill_null(broken, False).to_numpy(zero_copy_only=False).astype(bool) & (codes == "")
        codes[mask] = code
        shown = rows[seen].filter(pa.array(mask)).to_pylist() if seen else []
        near = (
            {value: suggestion(value, known) for value in set(shown)} if known else dict.fromkeys(shown, "")
        )
        details[mask] = (
            [f"{seen} {printable(value)[:80]!r}{near[value]}: {remedy}" for value in shown]
            if seen
            else remedy
        )

    unnamed = pc.or_(pc.is_null(rows["image_id"]), pc.is_null(rows["class_name"]))
    rule("missing_value", unnamed, "give class_name, and image_id or a url to make it from")
    nowhere = pc.and_(pc.is_null(rows["path"]), pc.is_null(rows["url"]))
    rule("missing_value", nowhere, "give a path or a url")
    unfit = pc.match_substring_regex(rows["image_id"], _PATH)
    rule("bad_id", unfit, "give an id without / and \\, and not . or ..", "image_id")
    unfit = is_bad_identifier(rows["image_id"])
    remedy = f"give an id of at most {MAX_ID_BYTES} bytes without control and invisible characters"
    rule("bad_id", unfit, remedy, "image_id")
    known = pc.is_in(rows["class_name"], pa.array(classes, pa.string()))
    rule("unknown_class", pc.invert(known), "add it to 'classes', or fix the row", "class_name", classes)
    known = pc.is_in(rows["method"], pa.array([*METHODS, None], pa.string()))
    rule("bad_method", pc.invert(known), f"give one of {', '.join(METHODS)}, or nothing", "method")
    whole = pc.match_substring_regex(rows["rank"], r"^[0-9]{1,9}$")
    rule("bad_rank", pc.invert(whole), "give a whole number from 0, or nothing", "rank")
    digest = pc.match_substring_regex(rows["sha256"], r"^[0-9a-fA-F]{64}$")
    rule("bad_sha256", pc.invert(digest), "give 64 hexadecimal digits, or nothing", "sha256")

    good = rows.filter(pa.array(codes == ""))
    good = good.set_column(good.column_names.index("source"), "source", pa.array([source] * good.num_rows))
    good = good.set_column(good.column_names.index("sha256"), "sha256", pc.utf8_lower(good["sha256"]))
    broken = codes != ""
    bad = rows.filter(pa.array(broken))
    return RETRIEVAL.conform(good, "retrieval list"), reject(bad, codes[broken], list(details[broken]))


def _with_ids(rows: pa.Table) -> pa.Table:
    """The same URL gets the same id in every list: the first 16 hexadecimal digits of its SHA-256."""
    absent = pc.and_(pc.is_null(rows["image_id"]), pc.is_valid(rows["url"]))
    if not pc.any(absent).as_py():
        return rows
    urls = rows["url"].filter(absent).to_pylist()
    made = pa.array([sha256(url.encode()).hexdigest()[:ID_DIGITS] for url in urls], pa.string())
    ids = pc.replace_with_mask(rows["image_id"].combine_chunks(), absent.combine_chunks(), made)
    return rows.set_column(rows.column_names.index("image_id"), "image_id", ids)


def resolve_rows(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Settle rows that speak of the same image; all rows of an image must be in `rows`, in any order.

    The first row (test before clean before web lists, then by file and line) decides where an image is;
    rows that disagree and repeated rows are rejected. Returns (rows kept, rejections), both in that order.
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
    settled = frame[~conflicting]  # a row that is refused itself repeats nothing
    repeated = settled.duplicated(["image_id", "class_name"])
    repeated |= settled.duplicated("image_id") & (settled["source"] != "web")  # others have one class
    repeated = repeated.reindex(frame.index, fill_value=False)

    ordered = rows.take(pa.array(frame.index.to_numpy()))
    bad = (conflicting | repeated).to_numpy()
    codes = np.where(conflicting, "conflicting_id", "duplicate_row")[bad]
    details = [f"the id stands first in {row}" for row in first["location"][bad]]
    return ordered.filter(pa.array(~bad)), reject(ordered.filter(pa.array(bad)), codes, details)


def distinct_images(rows: pa.Table) -> pa.Table:
    """Return one row per image of resolved rows: where it is, and what became of its URL, if that is in `rows`."""
    columns = ["image_id", "source", "path", "url", "sha256", *(field.name for field in OUTCOME)]
    first = ~rows["image_id"].to_pandas().duplicated().to_numpy()
    return rows.select([name for name in columns if name in rows.column_names]).filter(pa.array(first))
