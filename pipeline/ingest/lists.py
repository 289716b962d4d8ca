"""The lists of a build: where they are, how long they are, and whether they hold URLs."""

from pyarrow import parquet

from pipeline import files
from pipeline.config import BuildConfig
from pipeline.records import columns_of
from schemas.retrieval import RETRIEVAL_LIST


def named_lists(config: BuildConfig) -> list[tuple[str, str, str]]:
    """Return (source, name, path) of each list, where the source is clean, test or web."""
    return [
        (source, name, files.join(config.source, name))
        for source in ("clean", "test", "web")
        for name in getattr(config, source)
    ]


def list_paths(config: BuildConfig) -> dict[str, str]:
    """Return the path of each list by "source/name"."""
    return {f"{source}/{name}": path for source, name, path in named_lists(config)}


def has_urls(config: BuildConfig) -> bool:
    """Whether a list may hold URLs: it has a column `url`, or is of a form in which each row has columns of its own."""
    return any(
        path.lower().endswith(".jsonl") or "url" in columns_of(path, RETRIEVAL_LIST)
        for path in list_paths(config).values()
    )


def count_rows(path: str) -> int:
    """Return a quick upper bound of the rows of a list."""
    with files.open_read(path) as file:
        if path.lower().endswith(".parquet"):
            return int(parquet.ParquetFile(file).metadata.num_rows)
        lines = 0
        while piece := file.read(1 << 20):
            lines += piece.count(b"\n")
        return lines
