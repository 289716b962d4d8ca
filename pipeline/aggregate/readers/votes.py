"""Read a vote file; its format follows from the file name and the first line."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import islice

import pyarrow as pa

from common.errors import DataError
from pipeline import files
from pipeline.aggregate.readers.google import is_google, read_google
from pipeline.aggregate.readers.ground_truth import read_ground_truth, response_digests
from pipeline.aggregate.readers.label_studio import read_label_studio
from pipeline.aggregate.readers.mechanical_turk import is_mechanical_turk, read_mechanical_turk
from pipeline.aggregate.readers.row import VoteRow
from pipeline.records import Records, read_records
from pipeline.values import normalize_rows
from schemas.vote import VOTE

BATCH = 65536


def read_votes(path: str, name: str | None = None) -> Iterator[Records]:
    """Read a vote file as batches of strings, as `read_records` gives them.

    - .json: a JSON export of Label Studio
    - .manifest: the output manifest of Ground Truth, with the workers' responses in the folders beside it
    - .csv with the columns HITId and WorkerId: the results of a Mechanical Turk batch
    - .jsonl whose lines have imageGcsUri or imagePayload: an export of Vertex AI or of the Data Labeling Service
    - other .csv, .jsonl and .parquet: the project's own format (docs/reference/tables.md)

    `name` is the file name in the locations of rows. In the files of tools, locations count answers, from 1. Raises
    DataError if the file has none of these formats.
    """
    name = name or path.replace("\\", "/").rsplit("/", 1)[-1]
    ending = path.rsplit(".", 1)[-1].lower()
    if ending == "json":
        return _batches(read_label_studio(path), name)
    if ending == "manifest":
        return _batches(read_ground_truth(path), name)
    if ending == "jsonl" and is_google(_first_line(path)):
        return _batches(read_google(path), name)
    if ending == "csv" and is_mechanical_turk(_first_line(path)):
        return _batches(read_mechanical_turk(path), name)
    return read_records(path, VOTE, name)


def votes_digest(path: str) -> str:
    """Return the hex digest of a vote file; that of an output manifest covers the workers' responses beside it."""
    digest = files.sha256(path)
    if path.rsplit(".", 1)[-1].lower() != "manifest":
        return digest
    return hashlib.sha256(json.dumps([digest, response_digests(path)]).encode()).hexdigest()


def check_votes_readable(path: str) -> None:
    """Read the first batch of a vote file, to find a wrong file before a job starts. Raises DataError."""
    if next(read_votes(path), None) is None:
        raise DataError(f"{path}: the file has no answers; export it again with the annotations")


def _first_line(path: str) -> str:
    with files.open_read(path) as file:
        return file.readline().decode("utf-8-sig", errors="replace")


def _batches(rows: Iterable[VoteRow], name: str) -> Iterator[Records]:
    schema = pa.schema([(column, pa.string()) for column in (*VOTE.schema.names, "location")])
    numbered = enumerate(rows, 1)
    while batch := list(islice(numbered, BATCH)):
        good: list[dict[str, str | None]] = []
        malformed: list[tuple[str, str]] = []
        skipped: list[tuple[str, str]] = []
        for number, row in batch:
            location = f"{name}:{number}"
            if row.problem:
                (skipped if row.skipped else malformed).append((location, row.problem))
            else:
                good.append({**row.values(), "location": location})
        yield Records(normalize_rows(pa.Table.from_pylist(good, schema)), malformed, skipped)
