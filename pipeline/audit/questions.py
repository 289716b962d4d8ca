"""The questions whose verdicts are most likely to change with more votes."""

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline import files
from pipeline.aggregate.exports import EXPORTS
from pipeline.aggregate.next_questions import expected_bits
from pipeline.audit.inputs import input_folders
from pipeline.layout import Layout
from pipeline.shards import directory
from pipeline.shards.ingested_lists import read_ingested_lists
from schemas.next_question import NEXT_QUESTION
from schemas.retrieval import RETRIEVAL
from schemas.suspect import SUSPECT
from schemas.verdict import VERDICT
from schemas.vote import ANSWERS

_QUESTION = ["image_id", "class_name"]


def write_audit_questions(output: str, budget: int, form: str) -> tuple[list[str], pa.Table]:
    """Write the questions most likely to get another verdict, for at most `budget` answers; return paths and questions.

    `form` is a key of EXPORTS. Raises DataError if the build has no audit.
    """
    folders = input_folders(output)
    suspects = directory.read_table(
        Layout(output).suspects, SUSPECT, [*_QUESTION, "source", "verdict", "p_error", "p_wrong"]
    )
    verdicts = directory.read_table(folders["verdicts"], VERDICT, [*_QUESTION, *ANSWERS])
    retrievals = directory.read_table(folders["retrievals"], RETRIEVAL, [*_QUESTION, "path", "url"])
    questions = likely_changes(suspects.to_pandas(), verdicts.to_pandas(), budget, retrievals.to_pandas())
    written = []
    classes = read_ingested_lists(folders["retrievals"]).classes
    for ending, text in EXPORTS[form](questions, classes).items():
        path = Layout(output).audit_questions(ending)
        files.write_text(path, text)
        written.append(path)
    return written, questions


def likely_changes(
    suspects: pd.DataFrame, verdicts: pd.DataFrame, budget: int, retrievals: pd.DataFrame
) -> pa.Table:
    """Return the questions with the most expected corrections per answer, best first (NEXT_QUESTION).

    Each asks for as many votes as give the other answer a strict majority if all of them give it. Votes "unsure" count
    against a majority (pipeline/aggregate/verdicts.py). The expected corrections are
    `p_error`; equal ones are ordered by image and class. The first question that does not fit into the budget ends the list.
    """
    decided = suspects[suspects["verdict"].isin(["yes", "no"]) & (suspects["source"] == "web")]
    rows = decided.merge(verdicts, on=_QUESTION)
    votes = rows[list(ANSWERS)].to_numpy(np.int64)
    yes, no = votes[:, ANSWERS.index("yes")], votes[:, ANSWERS.index("no")]
    opposing = np.where(rows["verdict"] == "no", yes, no)
    rows["votes_wanted"] = np.maximum(votes.sum(axis=1) - 2 * opposing + 1, 1)
    rows["corrections"] = rows["p_error"] / rows["votes_wanted"]
    rows = rows.sort_values(["corrections", *_QUESTION], ascending=[False, True, True])
    rows = rows.head(budget)
    rows = rows[rows["votes_wanted"].cumsum() <= budget].merge(retrievals, on=_QUESTION, how="left")
    posterior = 1 - rows["p_wrong"].to_numpy(np.float64)
    rows["expected_bits"] = expected_bits(rows[list(ANSWERS)].to_numpy(np.int64), posterior)
    arrays = [pa.array(rows[field.name], field.type, from_pandas=True) for field in NEXT_QUESTION.schema]
    return pa.table(arrays, schema=NEXT_QUESTION.schema)
