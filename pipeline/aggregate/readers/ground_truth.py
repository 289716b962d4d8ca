"""SageMaker Ground Truth: the output manifest, and the responses of the workers in the folders beside it.

Format: https://docs.aws.amazon.com/sagemaker/latest/dg/sms-data-output.html. A job writes
JOB/manifests/output/output.manifest and JOB/annotations/worker-response/iteration-N/LINE/TIME.json.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import DataError
from pipeline import files
from pipeline.aggregate.readers.row import VoteRow, chosen, text


def read_ground_truth(path: str) -> Iterator[VoteRow]:
    """One row for each answer of a worker; the manifest's lines carry `image_id` and `class_name`.

    Raises DataError if there are no responses: the manifest alone has the tool's own verdicts and no votes.
    """
    folders = _responses(path)
    lines = files.read_lines(path)
    _check_count(folders, len(lines), path)
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield VoteRow(problem=f"line {number + 1} of the manifest: {error}")
            continue
        if not isinstance(item, dict):
            yield VoteRow(problem=f"line {number + 1} of the manifest is no JSON object")
            continue
        for folder in folders:
            for response in sorted((folder / str(number)).glob("*.json")):
                yield from _answers(response, item, f"{folder.name}/{number}/{response.name}")


def _responses(path: str) -> list[Path]:
    places = [] if "://" in path else [parent / "annotations" for parent in Path(path).absolute().parents][:3]
    folders = [folder for place in places for folder in (place / "worker-response").glob("iteration-*")]
    if not folders:
        raise DataError(
            f"{path}: found no annotations/worker-response/iteration-1 beside or above it; copy the job's whole "
            "output folder to this machine, for the manifest alone has no votes"
        )
    return sorted(folders, key=lambda folder: (len(folder.name), folder.name))


def _answers(response: Path, item: dict[str, Any], where: str) -> Iterator[VoteRow]:
    try:
        answers = json.loads(response.read_text(encoding="utf-8"))["answers"]
        if not isinstance(answers, list):
            raise ValueError("answers is no list")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        yield VoteRow(problem=f"{where}: no answers ({type(error).__name__}: {error})")
        return
    for answer in answers:
        if not isinstance(answer, dict):
            yield VoteRow(problem=f"{where}: an answer is no object")
            continue
        label, problem = _label(answer.get("answerContent"))
        if problem:
            yield VoteRow(problem=f"{where}: {problem}")
            continue
        yield VoteRow(
            text(item.get("image_id")),
            text(item.get("class_name")),
            text(answer.get("workerId")),
            label,
            text(answer.get("timeSpentInSeconds")),
            text(answer.get("submissionTime")),
        )


def _check_count(folders: list[Path], lines: int, path: str) -> None:
    """Raise DataError where there are responses to more lines than the manifest has: it is another job's."""
    numbers = [int(one.name) for folder in folders for one in folder.iterdir() if one.name.isdecimal()]
    if numbers and max(numbers) >= lines:
        raise DataError(
            f"{path}: it has {lines} lines, but there are responses to line {max(numbers) + 1}; give the output manifest "
            "of the same job, as it was written"
        )


def _label(content: object) -> tuple[str | None, str | None]:
    """The answer in a form, and why there is none.

    The answer is the element called `answer`, or the only one: {"crowd-image-classifier": {"label": "yes"}}. Options may
    also stand for themselves: {"yes": true, "no": false}.
    """
    if not isinstance(content, dict) or not content:
        return None, None
    if "answer" in content:
        return chosen(content["answer"]), None
    if len(content) == 1:
        return chosen(*content.values()), None
    if answer := chosen(content):
        return answer, None
    names = ", ".join(map(str, content))
    return None, f"the form has the elements {names}; name the one that holds the vote 'answer'"
