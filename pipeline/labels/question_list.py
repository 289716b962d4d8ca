"""Writes the questions of the next round, in the form of a labelling tool."""

import pyarrow as pa
from pyarrow import compute as pc

from pipeline import files
from pipeline.config import BuildConfig
from pipeline.labels.exports import EXPORTS
from pipeline.labels.rounds import next_questions
from pipeline.layout import Layout
from pipeline.shards import directory
from schemas.retrieval import RETRIEVAL
from schemas.verdict import VERDICT


def write_next_questions(
    config: BuildConfig, output: str, budget: int, form: str
) -> tuple[list[str], pa.Table]:
    """List what to ask next, after the label stage; return the files written below `output`/labels, and the list.

    `form` is a key of EXPORTS. Raises DataError if the stage has not been run.
    """
    layout = Layout(output)
    columns = ["image_id", "class_name", "path", "url", "source"]
    asked = directory.read_table(layout.ingest["retrievals"], RETRIEVAL, columns)
    web = asked.filter(pc.equal(asked["source"], "web")).to_pandas()
    verdicts = directory.read_table(layout.labels["verdicts"], VERDICT).to_pandas()
    settings = config.label
    found = next_questions(
        web, verdicts, budget, settings.min_votes, settings.max_votes, ask_again=settings.ties == "ask"
    )
    written = []
    for name, text in EXPORTS[form](found).items():
        path = layout.next_questions(name)
        files.write_text(path, text)
        written.append(path)
    return written, found
