"""retrieval: one row of a clean, test or web list: an image, and the class that it shows or was searched for."""

import pyarrow as pa

from schemas.table import Table, column

SOURCES = ("test", "clean", "web")  # of near-duplicates, the first of these sources is kept
METHODS = ("text", "image")

# Attribution of a web image as the search provider gives it; the uploader claims it.
ATTRIBUTION = [
    column("license", pa.string(), "short name of the license of the image", required=False),
    column("license_url", pa.string(), "URL of the license", required=False),
    column("creator", pa.string(), "author of the image", required=False),
    column("landing_url", pa.string(), "web page that shows the image", required=False),
    column("title", pa.string(), "title of the image", required=False),
]

RETRIEVAL = Table(
    "retrieval",
    pa.schema(
        [
            column("image_id", pa.string(), "id of the image; equal ids mean the same image"),
            column(
                "class_name",
                pa.string(),
                "class that was searched for (web list), or that the image shows (clean and test lists)",
            ),
            column(
                "path", pa.string(), "file below the source folder; either path or url is set", required=False
            ),
            column("url", pa.string(), "http or https URL; either path or url is set", required=False),
            column(
                "method",
                pa.string(),
                "text: found by a text query, image: found by an image query",
                required=False,
            ),
            column("rank", pa.int32(), "position among the search results, from 0", required=False),
            column("sha256", pa.string(), "SHA-256 that the file must have, hexadecimal", required=False),
            *ATTRIBUTION,
            column("source", pa.string(), "list of the row: clean, test or web", required=False),
            column("location", pa.string(), "file and line of the row", required=False),
        ]
    ),
    key=("image_id", "class_name"),
)

# Schema of input lists: a missing image_id is made from the URL.
RETRIEVAL_LIST = Table(
    "retrieval",
    RETRIEVAL.schema.set(0, RETRIEVAL.schema.field("image_id").with_nullable(True)),
    key=RETRIEVAL.key,
)
