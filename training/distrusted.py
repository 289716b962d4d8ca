"""The verb `distrusted`: the labels that a run trusts least."""

import argparse
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.errors import DataError
from schemas.label_trust import FILE, LABEL_TRUST


def read(run: Path) -> pa.Table:
    """Read the table of a finished run. Raises DataError if there is none."""
    path = run / FILE
    if not path.is_file():
        raise DataError(f"{path}: missing; a run writes it when it ends, so train first, or to the end")
    try:
        return LABEL_TRUST.conform(pq.read_table(path), str(path))
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}); train the run again") from error


def least_trusted(table: pa.Table, count: int) -> pa.Table:
    """Return the rows of lowest trust below one half, lowest first; equal ones by loss, then by id."""
    order = [("trust", "ascending"), ("loss", "descending"), ("image_id", "ascending")]
    found = table.sort_by(order).slice(0, count)
    return found.filter(pc.less(found["trust"], 0.5))


def verb(arguments: argparse.Namespace) -> int:
    """Print them, a line each."""
    rows = least_trusted(read(arguments.run), arguments.top).to_pylist()
    if arguments.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        print(
            f"{row['trust']:.3f}  {row['image_id']!r}: labeled {row['label_name']!r}, "
            f"guess {row['guess_name']!r} ({100 * row['guess_probability']:.0f} %)"
        )
    return 0
