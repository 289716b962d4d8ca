"""feature: the vector that a frozen network gives for an image (written by the optional stage embed)."""

import pyarrow as pa

from schemas.table import Table, column

FEATURES = "features"


def feature_schema(dimension: int) -> pa.Schema:
    """Return the schema of a table of feature vectors with `dimension` numbers each."""
    return pa.schema([*FEATURE.schema][:-1]).append(
        FEATURE.schema.field(FEATURES).with_type(pa.list_(pa.float16(), dimension))
    )


FEATURE = Table(
    "feature",
    pa.schema(
        [
            column("image_id", pa.string(), "as in the table image"),
            column(
                "image_sha256",
                pa.string(),
                "SHA-256 of the normalized, encoded image from which the features were computed, hexadecimal",
            ),
            column(
                FEATURES,
                pa.list_(pa.float16()),
                "output of the network without its classifier; a fixed_size_list, of one size in the whole table",
            ),
        ]
    ),
    key=("image_id",),
)
