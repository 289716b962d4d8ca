"""retrieval: one search hit, or one line of the clean or the test list: an image and the class it stands for."""

import pyarrow as pa

from schemas.table import Table, column

SOURCES = ("test", "clean", "web")  # the order in which they keep an image when duplicates meet
METHODS = ("text", "image")

RETRIEVAL = Table(
    "retrieval",
    pa.schema(
        [
            column("image_id", pa.string(), "names the image; the same id always means the same picture"),
            column("class_name", pa.string(), "the class it was searched for, or that it is known to show"),
            column(
                "path", pa.string(), "file below the list's base folder; either path or url", required=False
            ),
            column("url", pa.string(), "http or https address; either path or url", required=False),
            column("method", pa.string(), "text: found by words, image: by a picture", required=False),
            column("rank", pa.int32(), "position among the search results, from 0", required=False),
            column("source", pa.string(), "which list it came from: clean, test or web", required=False),
            column("row", pa.string(), "list file and line, for messages", required=False),
        ]
    ),
    key=("image_id", "class_name"),
)
