"""rejection: an input row without a result, and the closed list of codes that say why. No row disappears without one."""

from typing import NamedTuple

import pyarrow as pa

from schemas.table import Table, column


class RejectionCode(NamedTuple):
    """Why rows are rejected with a code, and what to do about it: one sentence each."""

    cause: str
    remedy: str


_RETRY = "Run the build with --retry {} to request the URL again."
_NO_REMEDY = "None: the image cannot be used. Remove the row if the rejection is in the way."

CODES: dict[str, RejectionCode] = {
    # any row
    "malformed_row": RejectionCode(
        "The line has too few or too many fields, or is not a JSON object, or is not an answer of the labeling tool.",
        "Correct the line; quote CSV fields that contain commas or line breaks.",
    ),
    "missing_value": RejectionCode("A required column of the row is empty.", "Fill in the column."),
    "bad_id": RejectionCode(
        "An id contains control characters, invisible characters or a path separator, or is longer than 200 bytes.",
        "Choose another id, and use it in all lists and vote files.",
    ),
    # rows of a retrieval list
    "unknown_class": RejectionCode(
        "The class is not in the key `classes` of the configuration.",
        "Correct the class name in the row, or add the class to `classes`.",
    ),
    "bad_method": RejectionCode(
        "The method is neither text nor image.", "Write text or image, or leave it empty."
    ),
    "bad_rank": RejectionCode(
        "The rank is not a whole number from 0.", "Write a whole number, or leave it empty."
    ),
    "bad_sha256": RejectionCode(
        "The sha256 is not 64 hexadecimal digits.", "Write the SHA-256 of the file, or leave it empty."
    ),
    "duplicate_row": RejectionCode(
        "An earlier row has the same image and class.", "None needed: the earlier row counts."
    ),
    "conflicting_id": RejectionCode(
        "An earlier row gives the same image_id another path, URL, digest or list.",
        "Give different images different ids.",
    ),
    # reading files and fetching URLs
    "bad_location": RejectionCode(
        "The row has neither a path below the source folder nor an http or https URL of at most 8,192 characters.",
        "Correct the path, which is relative to `source`, or the URL.",
    ),
    "private_address": RejectionCode(
        "The host name of the URL resolves to an address that is not public.",
        "Remove the row; in a test, set fetch.allow_private_hosts to true.",
    ),
    "unknown_host": RejectionCode(
        "The host name of the URL does not resolve.",
        "Check the network and name servers, and run the build with --retry unknown_host.",
    ),
    "connection_failed": RejectionCode(
        "The host refused the connection, or closed it before it answered, in every attempt.",
        _RETRY.format("connection_failed"),
    ),
    "tls_failed": RejectionCode(
        "The certificate of the host is not valid for it, or TLS failed otherwise.",
        "Check the clock and the certificates of this machine; otherwise remove the row.",
    ),
    "timeout": RejectionCode(
        "Connecting, a wait for more bytes, or the attempt as a whole took longer than its limit.",
        "Raise fetch.timeout_seconds or fetch.deadline_seconds; the URL is then requested again.",
    ),
    "bad_response": RejectionCode(
        "The response breaks the rules of HTTP, or its body cannot be decompressed.",
        _RETRY.format("bad_response"),
    ),
    "too_many_redirects": RejectionCode(
        "The URL redirects more than five times.", "Replace the URL by its target."
    ),
    "not_found": RejectionCode(
        "The file does not exist, or the host answered HTTP 404 or 410.",
        "Correct the path or the URL, or remove the row.",
    ),
    "host_too_slow": RejectionCode(
        "The host used up its time budget: it was slow, or asked to wait.",
        "Run the build with --retry host_too_slow, or raise fetch.host_budget_seconds.",
    ),
    "rate_limited": RejectionCode(
        "The host answered HTTP 429 in every attempt, or asked for a longer wait than allowed.",
        "Lower fetch.host_requests_per_second, or raise fetch.max_retry_after_seconds, and run the build with "
        "--retry rate_limited.",
    ),
    "server_error": RejectionCode(
        "The host answered HTTP 5xx in every attempt.", _RETRY.format("server_error")
    ),
    "http_status": RejectionCode(
        "The host answered with a status other than success, such as 403, or with a part of the body.",
        "Open the URL in a browser; remove the row if access is denied there, too.",
    ),
    "robots_disallowed": RejectionCode(
        "The robots.txt of the host disallows the URL, could not be read, or has too many wildcards for so long a URL.",
        "Remove the row, or ask the host for permission and set fetch.robots_txt to false.",
    ),
    "opted_out": RejectionCode(
        "X-Robots-Tag, TDM-Reservation or the tdmrep.json of the host reserves the image.",
        "Remove the row, or ask the host for permission and set fetch.opt_outs to false.",
    ),
    "incomplete": RejectionCode("The body ended early in every attempt.", _RETRY.format("incomplete")),
    "too_large": RejectionCode("The file has more bytes than ingest.max_bytes.", "Raise ingest.max_bytes."),
    "empty": RejectionCode("The file has no bytes.", "Replace the file, or remove the row."),
    "unreadable_file": RejectionCode(
        "The path leads to a folder, a pipe or a device, or the file may not be read.",
        "Correct the path, or the permissions of the file.",
    ),
    "sha256_mismatch": RejectionCode(
        "The bytes of the file do not have the sha256 of the row.",
        "Restore the file, or correct the sha256.",
    ),
    "content_changed": RejectionCode(
        "The URL gave other bytes than in an earlier run.",
        "Run the build with --retry content_changed to accept the new bytes.",
    ),
    # decoding
    "not_an_image": RejectionCode(
        "The bytes are not an image of a known format, but HTML, for example.", _NO_REMEDY
    ),
    "bad_format": RejectionCode(
        "The image has a format, or a variant of a format, that is not accepted.",
        "Convert the file to JPEG or PNG.",
    ),
    "truncated": RejectionCode(
        "The image data end early or are damaged.", "Replace the file, or remove the row."
    ),
    "too_many_pixels": RejectionCode(
        "The header of the image announces more pixels than ingest.max_pixels, or a side is longer than ingest.format allows.",
        "Raise ingest.max_pixels, or resize the images.",
    ),
    "too_small": RejectionCode(
        "A side of the image is shorter than ingest.min_side.", "Lower ingest.min_side."
    ),
    "decoder_crashed": RejectionCode("The process that decoded the image crashed.", _NO_REMEDY),
    "decoder_timeout": RejectionCode(
        "Decoding took longer than ingest.decode_seconds.", "Raise ingest.decode_seconds."
    ),
    # votes
    "unknown_image": RejectionCode(
        "No row of the lists has the image and class of the vote.",
        "Correct image_id and class_name of the vote, or add the list that has them.",
    ),
    "unknown_answer": RejectionCode(
        "The answer is neither yes, no nor unsure.", "Map the word in the key `aggregate.answer_words`."
    ),
    "image_rejected": RejectionCode(
        "The ingest stage rejected the image of the vote.",
        "None needed, unless the rejection of the image can be avoided.",
    ),
    "skipped_answer": RejectionCode(
        "The worker skipped the task, or the requester rejected the answer, according to the labeling tool.",
        "None needed.",
    ),
    "duplicate_vote": RejectionCode(
        "Another row has an answer of the same worker to the same question.",
        "Choose with `aggregate.repeated_votes` which of the answers counts.",
    ),
}

REJECTION = Table(
    "rejection",
    pa.schema(
        [
            column("location", pa.string(), "file and line of the input row"),
            column("image_id", pa.string(), "image_id of the row", required=False),
            column("class_name", pa.string(), "class_name of the row", required=False),
            column("code", pa.string(), "rejection code: " + ", ".join(CODES)),
            column("detail", pa.string(), "the value found and a remedy", required=False),
            # of rows whose URL was requested
            column("host", pa.string(), "host name of the URL", required=False),
            column("status", pa.int16(), "HTTP status of the last response", required=False),
            column("bytes_seen", pa.int64(), "bytes received in the last attempt", required=False),
            column(
                "seconds",
                pa.float64(),
                "duration of all attempts, without the waits between them",
                required=False,
            ),
            column("attempts", pa.int16(), "number of attempts", required=False),
        ]
    ),
    key=("location",),
)
