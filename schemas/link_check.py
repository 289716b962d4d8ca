"""link_check: what one URL gave in one check of a ledger of link rot (docs/explanation/fetching.md)."""

import pyarrow as pa

from schemas.table import Table, column

OUTCOMES = {
    "same": "the bytes that the image was made from",
    "changed": "other bytes, which begin like an image",
    "gone": "an answer without an image: HTTP 404, 410 or another error, an empty body, or a page instead of an image",
    "unreachable": "no usable answer in any attempt, perhaps for a while: no address, no connection, HTTP 429 or 5xx",
    "forbidden": "robots.txt or an opt-out of the host forbids programs to use the image",
    "first": "an image whose digest was not known before; later checks compare with it",
}
"""What a URL can give, by outcome."""

TIME = pa.timestamp("ms", "UTC")

LINK_CHECK = Table(
    "link_check",
    pa.schema(
        [
            column("started_at", TIME, "start of the check, UTC"),
            column("urls", pa.int64(), "number of URLs of the check; it has fewer rows if it was stopped"),
            column("url", pa.string(), "URL as in the list"),
            column("image_ids", pa.list_(pa.string()), "ids of the images that were made from the URL"),
            column("class_names", pa.list_(pa.string()), "classes that the lists give these images"),
            column("checked_at", TIME, "when the outcome of the URL was known, UTC"),
            column("outcome", pa.string(), ", ".join(OUTCOMES)),
            column("code", pa.string(), "rejection code; null for an image", required=False),
            column("detail", pa.string(), "what was found", required=False),
            column("status", pa.int16(), "HTTP status of the last response", required=False),
            column("expected_sha256", pa.string(), "SHA-256 that same bytes have", required=False),
            column("sha256", pa.string(), "SHA-256 of what the URL gave, hexadecimal", required=False),
            column(
                "not_modified",
                pa.bool_(),
                "whether the host confirmed the version of an earlier check by its ETag instead of sending it",
            ),
            column(
                "final_url", pa.string(), "URL that answered, if redirects led to another one", required=False
            ),
            column("etag", pa.string(), "strong ETag of what the URL gave", required=False),
        ]
    ),
    key=("started_at", "url"),
)
