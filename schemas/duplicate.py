"""duplicate: an image that has a near-duplicate, which image stands for it, and what follows."""

import pyarrow as pa

from schemas.table import Table, column

# How a picture may lie against another one. The hash of a picture turned so is made from its own (dedupe/orientations.py).
ORIENTATIONS = ("none", "mirrored", "flipped", "rotated 180°", "transposed", "rotated 90°", "transverse")

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
            column(
                "orientation",
                pa.string(),
                "orientation of the image relative to the keeper: none, mirrored, …",
            ),
            column("reason", pa.string(), "leak: near a test image; exact: same bytes; near: near-duplicate"),
            column(
                "rule", pa.string(), "what the keeper is better by: source, pixels, sharpness, bytes or id"
            ),
            column(
                "removed",
                pa.bool_(),
                "false for what is only reported: test images, and clean leaks if they are kept",
            ),
        ]
    ),
    key=("image_id",),
)
