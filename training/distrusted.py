"""The verb `distrusted`: print the labels that a run trusts least."""

import argparse
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from common import parquet_rows
from common.errors import DataError
from schemas.label_trust import FILE, LABEL_TRUST
from schemas.table import UNREADABLE

DISTRUSTED = 0.5


def read(run: Path) -> pa.Table:
    """Read the table label_trust of a finished run, also of version 0.1. Raises DataError if there is none."""
    path = run / FILE
    if not path.is_file():
        raise DataError(f"{path}: missing; a run writes it when it finishes: train it to the end (--resume)")
    try:
        table = parquet_rows.read_table(path)
        names = ["set_name" if name == "set" else name for name in table.column_names]
        return LABEL_TRUST.conform(table.rename_columns(names), str(path))
    except UNREADABLE as error:
        raise DataError(
            f"{path}: damaged, not a readable Parquet file ({error}); train the run again"
        ) from error


def least_trusted(table: pa.Table, count: int) -> pa.Table:
    """Return at most `count` rows with trust below DISTRUSTED, by trust, then by descending loss, then by image id."""
    order = [("trust", "ascending"), ("loss", "descending"), ("image_id", "ascending")]
    least = table.sort_by(order).slice(0, count)
    return least.filter(pc.less(least["trust"], DISTRUSTED))


def verb(arguments: argparse.Namespace) -> int:
    """Print the least trusted labels, one per line."""
    table = read(arguments.run)
    rows = least_trusted(table, arguments.top).to_pylist()
    if arguments.json:
        print(json.dumps(rows))
        return 0
    if not rows:
        print(
            f"no label has a trust below {DISTRUSTED}; {arguments.run / FILE} has the trust of all {len(table):,} labels",
            file=sys.stderr,
        )
    for row in rows:
        print(
            f"{row['trust']:.3f}  {row['image_id']!r}: labeled {row['label_name']!r}, "
            f"predicted {row['guess_name']!r} ({100 * row['guess_probability']:.0f} %)"
        )
    return 0
