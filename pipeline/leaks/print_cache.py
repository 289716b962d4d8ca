"""Fingerprints of encoded images by the digest of their bytes, kept in a Parquet file between runs."""

import json
import time
from hashlib import sha256

import pyarrow as pa
from pyarrow import parquet

from common import parquet_rows
from common.errors import DataError
from pipeline import files
from pipeline.dedupe.local_match import SIDE
from pipeline.ingest.fingerprint import COLUMNS
from schemas.image import IMAGES
from schemas.table import UNREADABLE

SAVE_SECONDS = 600.0  # a killed run loses no more than this, or SAVE_SHARE times what saving takes
SAVE_SHARE = 20
ROW_GROUP_ROWS = 65_536
_KEY = b"made_by"
# No type has 32-bit offsets: they overflow in `take` at 2 GiB, which is half a million images with levels.
SCHEMA = pa.schema(
    [
        pa.field("sha256", pa.large_string(), nullable=False),
        *(IMAGES.schema.field(name).remove_metadata() for name in COLUMNS),
        pa.field("levels", pa.binary(SIDE * SIDE)),  # gray levels that are matched (dedupe/local_match.py)
        pa.field("vector", pa.large_list(pa.int16())),  # rounded features
    ]
)


class PrintCache:
    """A table of SCHEMA in memory, from a file and of new images.

    made_by: all that decides the values (versions, settings, network). A file that was made by something else, or has other
    types, is ignored. Raises DataError for a file that is not a cache, or is damaged.
    """

    def __init__(self, path: str | None, made_by: object) -> None:
        self._path = path
        text = json.dumps([made_by, str(SCHEMA)], sort_keys=True)
        self._made_by = sha256(text.encode()).hexdigest()
        self._parts = [self._read(path)] if path and files.exists(path) else [SCHEMA.empty_table()]
        self.loaded = self._parts[0].num_rows
        self._known = {digest: row for row, digest in enumerate(self._parts[0]["sha256"].to_pylist())}
        self._saved = self.loaded
        self._save_at = time.monotonic() + SAVE_SECONDS

    def _read(self, path: str) -> pa.Table:
        try:
            with files.open_read(path) as file:
                opened = parquet.ParquetFile(file)
                if opened.schema_arrow.names != SCHEMA.names:
                    raise pa.ArrowInvalid("other columns")
                made_by = (opened.schema_arrow.metadata or {}).get(_KEY, b"").decode()
                if made_by != self._made_by:
                    return SCHEMA.empty_table()
                table = parquet_rows.read_table(file).cast(SCHEMA)
            table.validate(full=True)
            return table
        except UNREADABLE as error:
            raise DataError(
                f"{path}: not a cache of `leaks` ({error}); remove it or name another file"
            ) from error

    def __contains__(self, digest: str) -> bool:
        return digest in self._known

    def add(self, rows: list[dict[str, object]]) -> None:
        """Add images that are not known yet, as rows of SCHEMA, and save the table now and then. Raises DataError like `save`."""
        for row in rows:
            self._known[str(row["sha256"])] = len(self._known)
        self._parts.append(pa.Table.from_pylist(rows, SCHEMA))
        if time.monotonic() >= self._save_at:
            self.save()

    def save(self) -> None:
        """Write the table to the file, if there is one and it lacks rows. Raises DataError if it cannot be written."""
        if not self._path or self._saved == len(self._known):
            return
        start = time.monotonic()
        table = pa.concat_tables(self._parts).replace_schema_metadata({_KEY: self._made_by.encode()})
        with files.replace(self._path) as file:
            parquet.write_table(table, file, row_group_size=ROW_GROUP_ROWS)
        self._saved = table.num_rows
        end = time.monotonic()
        self._save_at = end + max(SAVE_SECONDS, SAVE_SHARE * (end - start))

    def rows(self, digests: list[str]) -> pa.Table:
        """Return the rows of known images."""
        table = pa.concat_tables(self._parts)
        return table.take(pa.array([self._known[d] for d in digests], pa.int64())).combine_chunks()
