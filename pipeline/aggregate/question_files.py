"""Write the questions of the next round of votes, in the format of a labeling tool."""

import pyarrow as pa
from pyarrow import compute as pc

from pipeline import files
from pipeline.aggregate.exports import EXPORTS
from pipeline.aggregate.rounds import next_questions
from pipeline.config import BuildConfig
from pipeline.layout import Layout
from pipeline.shards import directory
from schemas.retrieval import RETRIEVAL
from schemas.verdict import VERDICT


def write_next_questions(
    config: BuildConfig, output: str, budget: int, form: str
) -> tuple[list[str], pa.Table]:
    """Write what to ask next, after the aggregate stage; return the paths of the files, and the questions.

    `form` is a key of EXPORTS. Raises DataError if the stage has not been run.
    """
    columns = ["image_id", "class_name", "path", "url", "source"]
    layout = Layout(output)
    asked = directory.read_table(layout.retrievals, RETRIEVAL, columns)
    web = asked.filter(pc.equal(asked["source"], "web")).to_pandas()
    verdicts = directory.read_table(layout.verdicts, VERDICT).to_pandas()
    settings = config.aggregate
    found = next_questions(
        web, verdicts, budget, settings.min_votes, settings.max_votes, ask_again=settings.ties == "ask"
    )
    written = []
    for ending, text in EXPORTS[form](found).items():
        path = layout.next_questions(ending)
        files.write_text(path, text)
        written.append(path)
    return written, found
