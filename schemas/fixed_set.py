"""fixed set: one example of a training set that is given by a list, such as a released one."""

import pyarrow as pa

from schemas.table import Table, column

FIXED_SET = Table(
    "fixed set",
    pa.schema(
        [
            column("set_name", pa.string(), "name of the set and of its folder"),
            column("image_id", pa.string(), "id of an image of the clean or web lists"),
            column("class_name", pa.string(), "the class to train it as"),
            column("color", pa.string(), "color of the set: red, blue, …", required=False),
            column("noise_level", pa.float64(), "noise level that the set claims", required=False),
        ]
    ),
    key=("set_name", "image_id"),
)
