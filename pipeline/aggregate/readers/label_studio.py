"""Read Label Studio's JSON export: a list of tasks, each with its annotations.

Format: https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks
"""

import json
from collections.abc import Iterator
from typing import Any

from common.errors import DataError
from pipeline import files
from pipeline.aggregate.readers.row import VoteRow, text

VOTE_CONTROL = "answer"
"""Name of the control with the vote, as `exports` writes it."""

SEEN_CLASS_CONTROL = "seen_class"
"""Name of the control with the class that the worker saw instead."""


def read_label_studio(path: str) -> Iterator[VoteRow]:
    """Yield one row per annotation; `image_id` and `class_name` are fields of the task's data, as `exports` writes them.

    The vote is the choice in the control `answer`, or in the only control with choices besides `seen_class`, whose choice is
    the class that the worker saw instead. The worker is the number or e-mail address of the user who completed the task,
    `seconds` the lead time, `time` when it was first saved. A skipped task has no answer. Raises DataError if the file is not
    such an export.
    """
    try:
        tasks = json.loads(files.read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: not JSON ({error}); export the project as JSON from Label Studio"
        ) from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) and "data" in task for task in tasks):
        raise DataError(
            f"{path}: not a list of tasks; export the project as JSON (not JSON-MIN) from Label Studio"
        )
    for number, task in enumerate(tasks, 1):
        data = task["data"] if isinstance(task["data"], dict) else {}
        annotations = task.get("annotations", task.get("completions", []))
        if not isinstance(annotations, list):
            yield VoteRow(problem=f"task {number}: annotations is not a list")
            continue
        for annotation in annotations:
            yield _annotation(data, annotation, number)


def _annotation(data: dict[str, Any], annotation: object, number: int) -> VoteRow:
    if not isinstance(annotation, dict):
        return VoteRow(problem=f"task {number}: an annotation is not an object")
    worker = annotation.get("completed_by")
    if isinstance(worker, dict):
        worker = worker.get("email") or worker.get("id")
    if annotation.get("was_cancelled"):
        return VoteRow(problem=f"task {number}: skipped by worker {text(worker)}", skipped=True)
    controls = _choices(annotation.get("result"))
    seen = controls.pop(SEEN_CLASS_CONTROL, [])
    if len(controls) > 1 and VOTE_CONTROL not in controls:
        names = ", ".join(map(repr, controls))
        return VoteRow(
            problem=f"task {number}: the controls {names} have choices; name the one with the vote {VOTE_CONTROL!r} in "
            "the labeling configuration, or 'from_name' in the export"
        )
    chosen = controls.get(VOTE_CONTROL) or next(iter(controls.values()), [])
    if len(chosen) > 1:
        return VoteRow(
            problem=f"task {number}: worker {text(worker)} chose {len(chosen)} answers instead of one"
        )
    return VoteRow(
        text(data.get("image_id")),
        text(data.get("class_name")),
        text(worker),
        text(chosen[0]) if chosen else None,
        text(annotation.get("lead_time")),
        text(annotation.get("created_at")),
        text(seen[0]) if len(seen) == 1 else None,
    )


def _choices(results: object) -> dict[str, list[object]]:
    """Return the choices by the name of their control; other types of controls are ignored."""
    controls: dict[str, list[object]] = {}
    for result in results if isinstance(results, list) else []:
        is_choice = isinstance(result, dict) and result.get("type") == "choices"
        value = result.get("value") if is_choice else None
        choices = value.get("choices") if isinstance(value, dict) else None
        if isinstance(choices, list) and choices:
            controls.setdefault(text(result.get("from_name")) or "", []).extend(choices)
    return controls
