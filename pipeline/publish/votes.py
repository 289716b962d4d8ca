"""Publish single votes under pseudonyms: a keyed hash, whose key stays with the authors, in place of each worker id.

Without the key nobody can compute the pseudonym of a known worker id, and the authors can: to remove a worker's votes, or
to extend the table with the same pseudonyms. Times are not published, since they could identify a worker.
"""

import os
from hashlib import blake2b

import pyarrow as pa
from pyarrow import compute as pc

from common.config import stage_values
from common.errors import DataError, UsageError
from pipeline import files
from pipeline.aggregate.class_answers import expand_class_answers
from pipeline.aggregate.readers.votes import read_votes
from pipeline.aggregate.vote_columns import QUESTION, VoteColumns
from pipeline.aggregate.vote_validation import VOTE_ROWS, check_vote_rows, select_valid_votes
from pipeline.config import BuildConfig
from pipeline.keyed_hash import shard_key
from pipeline.layout import Layout
from pipeline.shards import directory
from schemas.published_vote import PUBLISHED_VOTE
from schemas.vote import ANSWERS

KEY = "PUBLICATION_KEY"
LEAST_KEY = 16  # characters


def read_key() -> bytes:
    """Return the key of the pseudonyms from the environment. Raises UsageError if it is missing or short."""
    key = os.environ.get(KEY, "")
    if len(key) < LEAST_KEY:
        raise UsageError(
            f"publication.votes: pseudonymous needs a secret text of {LEAST_KEY} or more characters in the environment variable "
            f"{KEY}; the same text gives the same pseudonyms, so keep it, and do not publish it"
        )
    return key.encode()


def pseudonyms(workers: pa.Array, key: bytes) -> pa.Array:
    """Return the pseudonym of each worker id. Raises DataError if two ids have the same one."""
    secret = blake2b(key, digest_size=32, person=b"publication").digest()
    found = [
        "w" + blake2b(name.encode(), key=secret, digest_size=8).hexdigest() for name in workers.to_pylist()
    ]
    if len(set(found)) < len(found):
        raise DataError(f"two workers have the same pseudonym; choose another {KEY}")
    return pa.array(found, pa.string())


def pseudonymous_votes(build: str, config: BuildConfig, key: bytes) -> pa.Table:
    """Return the valid votes of a build, ordered by shard key of the image, class and pseudonym.

    Raises DataError if the vote files, or the values that decide which votes are valid, are not those that the verdicts were
    made from.
    """
    layout = Layout(build)
    _check_files(layout, config)
    votes = _valid_votes(layout, config)
    questions = pa.array(votes.items)
    worker = pseudonyms(pa.array(votes.workers, pa.string()), key).take(pa.array(votes.voters))
    answer = pa.array(ANSWERS).take(pa.array(votes.answers))
    asked = [votes.questions[name].combine_chunks().take(questions) for name in QUESTION]
    table = pa.table([*asked, worker, answer], schema=PUBLISHED_VOTE.schema)
    keys = shard_key(votes.questions["image_id"].combine_chunks())[votes.items]
    ordered = table.append_column("key", pa.array(keys)).sort_by(
        [("key", "ascending"), *((name, "ascending") for name in PUBLISHED_VOTE.key)]
    )
    return ordered.drop_columns(["key"])


def _check_files(layout: Layout, config: BuildConfig) -> None:
    about = directory.read_manifest(layout.verdicts).about
    if about.get("config") != stage_values(config, "aggregate"):
        raise DataError(
            f"{layout.verdicts}: the verdicts were made with other values of votes or aggregate; give the configuration of the "
            "build"
        )
    stated = about.get("inputs", {})
    for name in config.votes:
        path = files.join(config.source, name)
        if files.sha256(path) not in stated.values():
            raise DataError(f"{path}: the file has changed since the verdicts were made; run aggregate again")


def _valid_votes(layout: Layout, config: BuildConfig) -> VoteColumns:
    """Validate the votes of all files, as the aggregate stage does for each bucket (pipeline/jobs/validate_votes.py)."""
    rule = config.aggregate
    answer_classes = config.classes if rule.class_answers else ()
    parts = [VOTE_ROWS.empty_table()]
    for name in config.votes:
        for records in read_votes(files.join(config.source, name), name):
            parts.append(check_vote_rows(records.rows, rule.answer_words, answer_classes, config.classes)[0])
    votes = pa.concat_tables(parts)
    asked = [
        part.filter(pc.equal(part["source"], "web"))
        for part in directory.read_shards(layout.retrievals, ["image_id", "class_name", "source"])
    ]
    questions = pa.concat_tables(asked)
    if rule.class_answers:
        votes = expand_class_answers(votes, questions)
    return select_valid_votes(votes, questions, rule.repeated_votes)[0]
