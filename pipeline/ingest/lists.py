"""The retrieval lists of a build: their paths, their parts, and whether they contain URLs."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline import files
from pipeline.config import BuildConfig
from pipeline.file_parts import FilePart
from pipeline.records import Records, columns_of, cut_file, read_records
from schemas.retrieval import RETRIEVAL_LIST


@dataclass(frozen=True)
class ListPart:
    """A part of a retrieval list: the work of one task.

    source: clean, test or web. name: path of the list as the configuration gives it.
    """

    source: str
    name: str
    path: str
    part: FilePart


def named_lists(config: BuildConfig) -> list[tuple[str, str, str]]:
    """Return (source, name, path) of each list; the source is clean, test or web."""
    return [
        (source, name, files.join(config.source, name))
        for source in ("clean", "test", "web")
        for name in getattr(config, source)
    ]


def list_paths(config: BuildConfig) -> dict[str, str]:
    """Return the path of each list by "source/name"."""
    return {f"{source}/{name}": path for source, name, path in named_lists(config)}


def has_urls(config: BuildConfig) -> bool:
    """Return whether a list may contain URLs: it has a column `url`, or it is JSON lines, whose rows may differ in columns."""
    return any(
        path.lower().endswith(".jsonl") or "url" in columns_of(path, RETRIEVAL_LIST)
        for path in list_paths(config).values()
    )


def list_parts(config: BuildConfig) -> list[ListPart]:
    """Cut all lists into parts that tasks read separately; a small list is one part. Raises DataError."""
    return [
        ListPart(source, name, path, part)
        for source, name, path in sorted(set(named_lists(config)))
        for part in cut_file(path, RETRIEVAL_LIST)
    ]


def read_list(part: ListPart) -> Iterator[Records]:
    """Read a part of a list as batches of rows."""
    return read_records(part.path, RETRIEVAL_LIST, part.name, part.part)
