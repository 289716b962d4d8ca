"""retrieval: one search hit, or one line of the clean or the test list: an image and the class it stands for."""

import pyarrow as pa

from schemas.table import Table, column

SOURCES = ("test", "clean", "web")  # the order in which they keep an image when duplicates meet
METHODS = ("text", "image")

# Whom a web picture is owed to, as the search provider tells it: a claim of whoever uploaded the picture.
ATTRIBUTION = [
    column("license", pa.string(), "license of the picture, by its short name", required=False),
    column("license_url", pa.string(), "where the license stands", required=False),
    column("creator", pa.string(), "who made the picture", required=False),
    column("landing_url", pa.string(), "page that shows the picture", required=False),
]

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
            column("sha256", pa.string(), "digest that the file must have, hex", required=False),
            *ATTRIBUTION,
            column("source", pa.string(), "which list it came from: clean, test or web", required=False),
            column("location", pa.string(), "list file and line, for messages", required=False),
        ]
    ),
    key=("image_id", "class_name"),
)

# As a list may be: an id that is absent is made from the URL.
RETRIEVAL_LIST = Table(
    "retrieval",
    RETRIEVAL.schema.set(0, RETRIEVAL.schema.field("image_id").with_nullable(True)),
    key=RETRIEVAL.key,
)
