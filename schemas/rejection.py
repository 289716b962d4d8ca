"""rejection: an input row that gave no result, with a code of a closed list. No row disappears without one."""

import pyarrow as pa

from schemas.table import Table, column

CODES = {
    # any row
    "malformed_row": "the line has too few or too many fields",
    "missing_value": "a required field of the row is empty",
    "bad_id": "the id holds control characters, a path separator, or is longer than 200 bytes",
    # rows of a retrieval list
    "unknown_class": "the class is not in the class list",
    "bad_method": "method is neither text nor image",
    "bad_rank": "rank is not a whole number from 0",
    "duplicate_row": "the same image and class stand in an earlier row",
    "conflicting_id": "an earlier row gives the same id another place or another list",
    # fetching
    "bad_location": "neither a path below the base folder nor an http(s) URL",
    "not_found": "no such file, or HTTP 404 or 410",
    "fetch_failed": "the connection failed or timed out",
    "http_status": "the server answered with another status than 200",
    "too_large": "more bytes than the limit",
    "empty": "no bytes at all",
    # decoding
    "not_an_image": "the bytes are no image of a known format (an HTML page, say)",
    "bad_format": "an image, but of a format that is not accepted",
    "truncated": "the image data ends early or is damaged",
    "too_many_pixels": "more pixels than the limit, told by the header before decoding",
    "too_small": "a side is shorter than the limit",
    # votes
    "unknown_image": "a vote about an image and class that no retrieval row has",
    "unknown_answer": "the answer is neither yes, no nor unsure",
    "duplicate_vote": "the worker has answered this question in another row",
}

REJECTION = Table(
    "rejection",
    pa.schema(
        [
            column("row", pa.string(), "file and line of the input row"),
            column("image_id", pa.string(), "as given, if it was", required=False),
            column("class_name", pa.string(), "as given, if it was", required=False),
            column("code", pa.string(), "a code of the closed list: " + ", ".join(CODES)),
            column("detail", pa.string(), "what was seen and what to do", required=False),
        ]
    ),
    key=("row",),
)
