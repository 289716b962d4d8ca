"""Read the rows of a shard in batches of limited size: a shard of others may hold one large value for thousands of rows."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from common import parquet_rows
from common.errors import DataError

ROWS_AT_ONCE = 512
BYTES_AT_ONCE = 256 << 20
"""Limit of a batch, as far as the sizes that the file states for its columns are right."""
_IMAGE = "image.bytes"


def batches(file: Any, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield the rows of a shard, of some columns if given, with valid text.

    A value is no larger than its column in a row group, and a dictionary repeats it in each row without taking space. Raises
    DataError if images are compressed, which hides their size, and what pyarrow raises for damaged files.
    """
    reader = parquet.ParquetFile(file)
    probe = parquet_rows.Probe(file, reader)
    for group in range(reader.num_row_groups):
        stated = probe.columns(group, None)
        if any(each.path_in_schema == _IMAGE and each.compression != "UNCOMPRESSED" for each in stated):
            raise DataError("its images are compressed a second time, which this project never does")
        largest = max(max(each.total_compressed_size, each.total_uncompressed_size) for each in stated)
        rows = max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE // max(1, largest)))
        for batch in parquet_rows.batches(file, columns, [group], rows, probe):
            table = pa.Table.from_batches([batch])
            table.validate(full=True)  # raises ArrowInvalid for text that is not UTF-8
            yield table
