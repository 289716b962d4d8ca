"""rejection: an input row that gave no result, with a code of a closed list. No row disappears without one."""

import pyarrow as pa

from schemas.table import Table, column

CODES = {
    # any row
    "malformed_row": "no row: too few or too many fields, no JSON object, or no answer of a labeling tool",
    "missing_value": "a required field of the row is empty",
    "bad_id": "an id holds control or invisible characters, a path separator, or is longer than 200 bytes",
    # rows of a retrieval list
    "unknown_class": "the class is not in the class list",
    "bad_method": "method is neither text nor image",
    "bad_rank": "rank is not a whole number from 0",
    "bad_sha256": "sha256 is not 64 hexadecimal digits",
    "duplicate_row": "the same image and class stand in an earlier row",
    "conflicting_id": "an earlier row gives the same id another place, digest or list",
    # fetching
    "bad_location": "neither a path below the base folder nor an http(s) URL",
    "private_address": "the host leads to an address that is not public",
    "unknown_host": "the name of the host does not resolve",
    "connection_failed": "no connection, or it broke before the answer",
    "tls_failed": "the certificate is not one of the host's, or TLS failed otherwise",
    "timeout": "a deadline passed: for connecting, for the next bytes, or for the whole",
    "bad_response": "the answer breaks the rules of HTTP, or its body cannot be decompressed",
    "too_many_redirects": "more than five redirects",
    "not_found": "no such file, or HTTP 404 or 410",
    "host_too_slow": "the host used up its time budget (fetch.host_budget_seconds): it was slow, or asked to wait",
    "rate_limited": "HTTP 429, to the last try",
    "server_error": "HTTP 500 to 599, to the last try",
    "http_status": "a status other than success, such as 403, or a success without the whole body",
    "robots_disallowed": "the host's robots.txt forbids it, or could not be read",
    "opted_out": "X-Robots-Tag, TDM-Reservation, or the host's tdmrep.json forbids this use",
    "incomplete": "the body ended early",
    "too_large": "more bytes than the limit",
    "empty": "no bytes at all",
    "unreadable_file": "a folder, a pipe, a device, or a file that we may not read",
    "sha256_mismatch": "other bytes than the list's sha256 says",
    "content_changed": "other bytes than an earlier run has recorded for this URL",
    # decoding
    "not_an_image": "the bytes are no image of a known format (an HTML page, say)",
    "bad_format": "an image, but of a format that is not accepted",
    "truncated": "the image data ends early or is damaged",
    "too_many_pixels": "more pixels than the limit, told by the header before decoding",
    "too_small": "a side is shorter than the limit",
    "decoder_crashed": "the process that decoded it crashed",
    "decoder_timeout": "decoding took longer than the limit",
    # votes
    "unknown_image": "a vote about an image and class that no retrieval row has",
    "unknown_answer": "the answer is neither yes, no nor unsure",
    "image_rejected": "a vote about an image of the lists that ingest has rejected",
    "skipped_answer": "the labeling tool says that the worker skipped the task, or that the requester rejected the answer",
    "duplicate_vote": "the worker has answered this question in another row",
}

REJECTION = Table(
    "rejection",
    pa.schema(
        [
            column("location", pa.string(), "file and line of the input row"),
            column("image_id", pa.string(), "as given, if it was", required=False),
            column("class_name", pa.string(), "as given, if it was", required=False),
            column("code", pa.string(), "a code of the closed list: " + ", ".join(CODES)),
            column("detail", pa.string(), "what was seen and what to do", required=False),
            # of rows that were asked for by URL
            column("host", pa.string(), "host of the URL", required=False),
            column("status", pa.int16(), "HTTP status of the last answer, if there was one", required=False),
            column("bytes_seen", pa.int64(), "bytes of the body that came in the last try", required=False),
            column(
                "seconds", pa.float64(), "from the first try's start to the last one's end", required=False
            ),
            column("attempts", pa.int16(), "how often it was asked for", required=False),
        ]
    ),
    key=("location",),
)
