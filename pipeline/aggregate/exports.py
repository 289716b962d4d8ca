"""Export questions in the formats of labeling tools; `readers` reads the answers."""

import json
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import pyarrow as pa

from schemas.cells import csv_text
from schemas.vote import ANSWERS

# Label Studio's labeling configuration; $class_name is a field of the task.
_LABEL_STUDIO_CONFIG = """<View>
  <Header value="Does this image show this class: $class_name?"/>
  <Image name="image" value="$image"/>
  <Choices name="answer" toName="image" choice="single" required="true" showInLine="true">
{answers}
  </Choices>
  <Choices name="seen_class" toName="image" choice="single" layout="select" visibleWhen="choice-selected" whenTagName="answer" whenChoiceValue="no">
{classes}
  </Choices>
</View>
"""


def label_studio_config(classes: Iterable[str]) -> str:
    """Return the labeling configuration: yes, no or unsure, and with no the class that the image shows instead."""

    def choices(values: Iterable[str]) -> str:
        return "\n".join(f"    <Choice value={quoteattr(value)}/>" for value in values)

    return _LABEL_STUDIO_CONFIG.format(answers=choices(ANSWERS), classes=choices(classes))


def to_csv(questions: pa.Table, _classes: Sequence[str]) -> dict[str, str]:
    """Return the table as CSV, which is also the input format of a Mechanical Turk batch."""
    rows = zip(*questions.to_pydict().values(), strict=True)
    return {".csv": csv_text(questions.column_names, rows)}


def to_label_studio(questions: pa.Table, classes: Sequence[str]) -> dict[str, str]:
    """Return the tasks to import, and the labeling configuration of the project.

    With the answer no, a worker may choose one of `classes`.

    A path becomes a URL of Label Studio's local files, whose root must be the source folder of the build.
    """
    tasks = []
    for row in questions.to_pylist():
        image = row["url"] or f"/data/local-files/?d={quote(row['path'])}"
        data = {"image": image, **{name: row[name] for name in ("image_id", "class_name", "votes_wanted")}}
        tasks.append({"data": data})
    text = json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"
    return {".label-studio.json": text, ".label-studio.xml": label_studio_config(classes)}


def to_ground_truth(questions: pa.Table, _classes: Sequence[str]) -> dict[str, str]:
    """Return an input manifest of SageMaker Ground Truth: one JSON object per line, the image as `source-ref`.

    That is the URL or path of the list. Ground Truth reads images in S3 only.
    """
    lines = [
        {
            "source-ref": row["url"] or row["path"],
            "image_id": row["image_id"],
            "class_name": row["class_name"],
        }
        for row in questions.to_pylist()
    ]
    return {".manifest": "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)}


EXPORTS: dict[str, Callable[[pa.Table, Sequence[str]], dict[str, str]]] = {
    "csv": to_csv,
    "label-studio": to_label_studio,
    "ground-truth": to_ground_truth,
}
"""Functions of (questions, classes of the build) that return the texts of files by their ending."""
