"""cross_label: one class of a picture that was found, or listed, for several classes."""

import pyarrow as pa

from schemas.table import Table, column

CROSS_LABEL = Table(
    "cross_label",
    pa.schema(
        [
            column("picture_id", pa.string(), "the image that stays for all near-duplicates of the picture"),
            column("class_name", pa.string(), "the class"),
            column("image_id", pa.string(), "the image that was found or listed for it"),
            column("source", pa.string(), "clean, test or web"),
            column("verdict", pa.string(), "yes, no, undecided, no votes; given: the lists say so"),
            column("confidence", pa.float32(), "of the verdict", required=False),
        ]
    ),
    key=("picture_id", "class_name", "image_id"),
)
