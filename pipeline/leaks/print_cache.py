"""Fingerprints of encoded images by the digest of their bytes, kept in a Parquet file between runs."""

import json
from hashlib import sha256

import pyarrow as pa
from pyarrow import parquet

from common.errors import DataError
from pipeline import files
from pipeline.ingest.fingerprint import COLUMNS
from schemas.image import IMAGES
from schemas.table import UNREADABLE

_KEY = b"made_by"
SCHEMA = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False),
        *(IMAGES.schema.field(name).remove_metadata() for name in COLUMNS),
        pa.field("levels", pa.binary()),  # gray levels that are matched (dedupe/local_match.py)
        pa.field("vector", pa.list_(pa.int16())),  # rounded features
    ]
)


class PrintCache:
    """A table of SCHEMA in memory, from a file and of new images.

    made_by: all that decides the values (versions, settings, network); a file that was made by something else is ignored.
    """

    def __init__(self, path: str | None, made_by: object) -> None:
        self._path = path
        self._made_by = sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()
        self._parts = [self._read(path)] if path and files.exists(path) else [SCHEMA.empty_table()]
        self.loaded = self._parts[0].num_rows
        self._known = {digest: row for row, digest in enumerate(self._parts[0]["sha256"].to_pylist())}

    def _read(self, path: str) -> pa.Table:
        try:
            with files.open_read(path) as file:
                table = parquet.read_table(file)
            if table.schema.names != SCHEMA.names:
                raise pa.ArrowInvalid("other columns")
            table.validate(full=True)
        except UNREADABLE as error:
            raise DataError(
                f"{path}: not a cache of `leaks` ({error}); remove it or name another file"
            ) from error
        made_by = (table.schema.metadata or {}).get(_KEY, b"").decode()
        return table.cast(SCHEMA) if made_by == self._made_by else SCHEMA.empty_table()

    def __contains__(self, digest: str) -> bool:
        return digest in self._known

    def add(self, rows: list[dict[str, object]]) -> None:
        """Add images that are not known yet, as rows of SCHEMA."""
        for row in rows:
            self._known[str(row["sha256"])] = len(self._known)
        self._parts.append(pa.Table.from_pylist(rows, SCHEMA))

    def save(self) -> None:
        """Write the table to the file, if there is one."""
        if self._path:
            table = pa.concat_tables(self._parts).sort_by("sha256")
            with files.replace(self._path) as file:
                parquet.write_table(table.replace_schema_metadata({_KEY: self._made_by.encode()}), file)

    def rows(self, digests: list[str]) -> pa.Table:
        """Return the rows of known images."""
        table = pa.concat_tables(self._parts)
        return table.take(pa.array([self._known[d] for d in digests], pa.int64())).combine_chunks()
