"""Write the questions of the next round of votes, in the format of a labeling tool."""

from collections.abc import Iterator, Sequence

import pandas as pd
import pyarrow as pa
from pyarrow import compute as pc

from pipeline import files
from pipeline.aggregate.exports import EXPORTS
from pipeline.aggregate.next_questions import next_questions
from pipeline.aggregate.noise_questions import NoisePlan, noise_questions
from pipeline.config import BuildConfig
from pipeline.layout import Layout
from pipeline.noise_config import PAPER_LEVELS
from pipeline.shards import directory
from schemas.retrieval import RETRIEVAL
from schemas.verdict import VERDICT

_RETRIEVAL_COLUMNS = pa.schema(
    [RETRIEVAL.schema.field(name) for name in ("image_id", "class_name", "path", "url", "source")]
)


def write_next_questions(
    config: BuildConfig, output: str, budget: int, form: str
) -> tuple[list[str], pa.Table]:
    """Write the questions that should get up to `budget` more votes; return the file paths and the questions.

    `form` is a key of EXPORTS. Raises DataError if the aggregate stage has not been run.
    """
    layout, settings = Layout(output), config.aggregate
    questions = next_questions(
        _buckets(layout), budget, settings.min_votes, settings.max_votes, settings.ties == "ask"
    )
    return _write(layout, questions, form, config.classes), questions


def write_noise_questions(
    config: BuildConfig, output: str, tolerance: float, budget: int | None, form: str
) -> tuple[list[str], NoisePlan]:
    """Write the questions that bring the highest noise level within `tolerance`; return the file paths and the plan.

    Raises DataError if the aggregate stage has not been run.
    """
    layout, levels = Layout(output), config.noise.levels or PAPER_LEVELS
    plan = noise_questions(_buckets(layout), tolerance, max(levels), budget)
    return _write(layout, plan.questions, form, config.classes), plan


def _write(layout: Layout, questions: pa.Table, form: str, classes: Sequence[str]) -> list[str]:
    written = []
    for ending, text in EXPORTS[form](questions, classes).items():
        path = layout.next_questions(ending)
        files.write_text(path, text)
        written.append(path)
    return written


def _buckets(layout: Layout) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield (web retrievals, verdicts) bucket by bucket: the shards of both tables are ranges of the shard key."""
    verdicts = directory.read_manifest(layout.verdicts)
    buckets = verdicts.about["buckets"]
    verdict_shards = directory.by_bucket(verdicts.shards, buckets)
    retrieval_shards = directory.by_bucket(directory.read_manifest(layout.retrievals).shards, buckets)
    for index, shards in sorted(retrieval_shards.items()):
        retrievals = directory.read_bucket(layout.retrievals, shards, _RETRIEVAL_COLUMNS)
        web = retrievals.filter(pc.equal(retrievals["source"], "web")).to_pandas()
        of_bucket = directory.read_bucket(layout.verdicts, verdict_shards.get(index, []), VERDICT.schema)
        yield web, of_bucket.to_pandas()
