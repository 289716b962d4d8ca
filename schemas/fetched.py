"""fetched: the outcome of each distinct URL of the retrieval lists, and where its body is stored."""

import pyarrow as pa

from schemas.table import Table, column

FETCHED = Table(
    "fetched",
    pa.schema(
        [
            column("url", pa.string(), "URL as in the list"),
            column("host", pa.string(), "host name of the URL"),
            column("code", pa.string(), "rejection code; null if a body was fetched", required=False),
            column("detail", pa.string(), "the value found and a remedy", required=False),
            column("status", pa.int16(), "HTTP status of the last response", required=False),
            column("sha256", pa.string(), "SHA-256 of the body, hexadecimal", required=False),
            column("body_file", pa.string(), "name of the file with the body", required=False),
            column("offset", pa.int64(), "offset of the body in that file, in bytes", required=False),
            column("length", pa.int64(), "length of the body in bytes", required=False),
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
            # how the image may be used
            column("license", pa.string(), "target of a Link header with rel=license", required=False),
            column("x_robots_tag", pa.string(), "X-Robots-Tag headers, joined by commas", required=False),
            column("tdm_reservation", pa.string(), "TDM-Reservation header", required=False),
            column("tdm_policy", pa.string(), "TDM-Policy header", required=False),
        ]
    ),
    key=("url",),
)
