"""fetched: what became of each distinct URL of the retrieval lists, and where its body is stored."""

import pyarrow as pa

from schemas.table import Table, column

FETCHED = Table(
    "fetched",
    pa.schema(
        [
            column("url", pa.string(), "URL as the list gives it"),
            column("host", pa.string(), "host name of the URL"),
            column("code", pa.string(), "rejection code; null where a body was fetched", required=False),
            column("detail", pa.string(), "what was seen", required=False),
            column("status", pa.int16(), "HTTP status of the last answer, if there was one", required=False),
            column("sha256", pa.string(), "digest of the body, hex", required=False),
            column("body_file", pa.string(), "file that holds the body", required=False),
            column("offset", pa.int64(), "first byte of the body in that file", required=False),
            column("length", pa.int64(), "bytes of the body", required=False),
            column("bytes_seen", pa.int64(), "bytes received in the last attempt", required=False),
            column(
                "seconds",
                pa.float64(),
                "duration of all attempts, without the waits between them",
                required=False,
            ),
            column("attempts", pa.int16(), "number of attempts", required=False),
            column(
                "final_url", pa.string(), "URL that answered, if redirects led to another one", required=False
            ),
            # What the answer said about the use of the picture.
            column("license", pa.string(), "target of a Link header with rel=license", required=False),
            column("x_robots_tag", pa.string(), "X-Robots-Tag headers, joined by commas", required=False),
            column("tdm_reservation", pa.string(), "TDM-Reservation header", required=False),
            column("tdm_policy", pa.string(), "TDM-Policy header", required=False),
        ]
    ),
    key=("url",),
)
