"""duplicate: an image that has a near-duplicate, which image stands for it, and what follows."""

import pyarrow as pa

from schemas.table import Table, column

REASONS = ("leak", "exact", "near")

DUPLICATE = Table(
    "duplicate",
    pa.schema(
        [
            column("image_id", pa.string(), "the image that goes, or a test image that is only reported"),
            column("source", pa.string(), "clean, test or web"),
            column("keeper_id", pa.string(), "the image that stays for it"),
            column("keeper_source", pa.string(), "clean, test or web"),
            column("distance", pa.int16(), "bits in which the 64-bit hashes differ"),
            column("distance_256", pa.int16(), "bits in which the 256-bit hashes differ"),
            column("reason", pa.string(), "leak: near a test image; exact: same bytes; near: near-duplicate"),
            column("removed", pa.bool_(), "false for test images, which are reported and kept"),
        ]
    ),
    key=("image_id",),
)
