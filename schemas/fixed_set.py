"""listed: one example of a set that is to be made exactly as it is listed, such as a released one."""

import pyarrow as pa

from schemas.table import Table, column

FIXED_SET = Table(
    "listed set",
    pa.schema(
        [
            column("set", pa.string(), "name of the set, which will be its folder"),
            column("image_id", pa.string(), "an image of the clean or web lists"),
            column("class_name", pa.string(), "the class that it is to be trained as"),
            column("color", pa.string(), "what the set is compared with: red, blue, …", required=False),
            column("noise_level", pa.float64(), "the level that the set claims", required=False),
        ]
    ),
    key=("set", "image_id"),
)
