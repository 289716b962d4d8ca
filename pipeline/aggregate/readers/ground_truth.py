"""Read SageMaker Ground Truth: the output manifest, and the workers' responses in the folders next to it.

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

SEEN_CLASS_ELEMENT = "seen_class"
"""Name of the form element with the class that the worker saw instead."""


def read_ground_truth(path: str) -> Iterator[VoteRow]:
    """Yield one row per answer of a worker; the manifest's lines have `image_id` and `class_name`.

    The element `seen_class` of the form is the class that the worker saw instead. Raises DataError if there are no responses:
    the manifest alone has the tool's verdicts but no votes.
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
            yield VoteRow(problem=f"line {number + 1} of the manifest is not a JSON object")
            continue
        for folder in folders:
            for response in sorted((folder / str(number)).glob("*.json")):
                yield from _answers(response, item, f"{folder.name}/{number}/{response.name}")


def response_digests(path: str) -> list[tuple[str, str]]:
    """Return the name and SHA-256 of each file of responses beside an output manifest. Raises DataError without any folder."""
    return [
        (f"{folder.name}/{response.parent.name}/{response.name}", files.sha256(str(response)))
        for folder in _responses(path)
        for response in sorted(folder.glob("*/*.json"))
    ]


def _responses(path: str) -> list[Path]:
    parents = [] if "://" in path else list(Path(path).absolute().parents)[:3]
    responses = [parent / "annotations" / "worker-response" for parent in parents]
    folders = [folder for response in responses for folder in response.glob("iteration-*")]
    if not folders:
        raise DataError(
            f"{path}: there is no folder annotations/worker-response/iteration-1 next to it or above it; copy the whole "
            "output folder of the job to this machine, because the manifest alone has no votes"
        )
    return sorted(folders, key=lambda folder: (len(folder.name), folder.name))


def _answers(response: Path, item: dict[str, Any], where: str) -> Iterator[VoteRow]:
    try:
        answers = json.loads(response.read_text(encoding="utf-8"))["answers"]
        if not isinstance(answers, list):
            raise ValueError("answers is not a list")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        yield VoteRow(problem=f"{where}: no answers ({type(error).__name__}: {error})")
        return
    for answer in answers:
        if not isinstance(answer, dict):
            yield VoteRow(problem=f"{where}: an answer is not an object")
            continue
        content = answer.get("answerContent")
        seen = None
        if isinstance(content, dict):
            seen = chosen(content.get(SEEN_CLASS_ELEMENT))
            content = {name: value for name, value in content.items() if name != SEEN_CLASS_ELEMENT}
        label, problem = _label(content)
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
            seen,
        )


def _check_count(folders: list[Path], lines: int, path: str) -> None:
    """Raise DataError if there are responses to more lines than the manifest has: it belongs to another job."""
    numbers = [int(line.name) for folder in folders for line in folder.iterdir() if line.name.isdecimal()]
    if numbers and max(numbers) >= lines:
        raise DataError(
            f"{path}: the manifest has {lines} lines, but there are responses to line {max(numbers) + 1}; use the unchanged "
            "output manifest of the same job"
        )


def _label(content: object) -> tuple[str | None, str | None]:
    """Return (answer, problem) of the content of a form.

    The answer is the element named `answer`, or the only element: {"crowd-image-classifier": {"label": "yes"}}. The
    elements may also be options: {"yes": true, "no": false}.
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
    return None, f"the form has the elements {names}; name the element that holds the vote 'answer'"
