"""Read Google Cloud exports as JSON lines: Vertex AI datasets and the older AI Platform Data Labeling Service.

Formats: https://cloud.google.com/vertex-ai/docs/image-data/classification/prepare-data (exports have the
format of imports) and https://cloud.google.com/ai-platform/data-labeling/docs/export; vote counts are those of
google.cloud.datalabeling.v1beta1.OperatorMetadata.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from common.errors import DataError
from pipeline import files
from pipeline.aggregate.readers.row import VoteRow, text
from schemas.vote import ANSWERS

ANNOTATION_SET = "aiplatform.googleapis.com/annotation_set_name"
MAX_VOTES = 1000  # votes for one label of an image; a larger count is treated as damaged


def is_google(line: str) -> bool:
    """Return whether a JSON lines file with this first line is a Google Cloud export."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(item, dict) and ("imageGcsUri" in item or "imagePayload" in item)


def read_google(path: str) -> Iterator[VoteRow]:
    """Yield one row per annotation of Vertex AI, or per vote counted by the Data Labeling Service.

    The image id is the file name without its extension. An answer yes, no or unsure is about the class that the folder is
    named after; any other answer is a class. Vertex AI: the labels image_id and class_name of the data item take
    precedence, and the worker is the annotation's label worker_id, or its annotation set; the annotation's label
    seen_class is the class that the worker saw instead. The Data Labeling Service names no workers: each vote gets a
    worker of its own, and votes counted for an unnamed other label become unsure. Raises DataError if a line is not
    UTF-8.
    """
    with files.open_read(path) as file:
        for number, line in enumerate(file, 1):
            try:
                item = json.loads(line.decode("utf-8-sig"))
                if not isinstance(item, dict):
                    raise ValueError("the line is not a JSON object")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}, line {number}: {error}; export it again as UTF-8") from error
            except (ValueError, RecursionError) as error:
                if line.strip():
                    yield VoteRow(problem=f"line {number}: {error}")
                continue
            yield from _vertex(item) if "imageGcsUri" in item else _data_labeling(item, number)


def _vertex(item: dict[str, Any]) -> Iterator[VoteRow]:
    labels = _object(item.get("dataItemResourceLabels"))
    several = item.get("classificationAnnotations")
    for annotation in several if isinstance(several, list) else [item.get("classificationAnnotation")]:
        labels_of_annotation = _object(_object(annotation).get("annotationResourceLabels"))
        answer = text(_object(annotation).get("displayName"))
        image, name = _question(item["imageGcsUri"], answer)
        yield VoteRow(
            text(labels.get("image_id")) or image,
            text(labels.get("class_name")) or name,
            text(labels_of_annotation.get("worker_id")) or text(labels_of_annotation.get(ANNOTATION_SET)),
            answer,
            seen_class=text(labels_of_annotation.get("seen_class")),
        )


def _data_labeling(item: dict[str, Any], number: int) -> Iterator[VoteRow]:
    uri = _object(item.get("imagePayload")).get("imageUri")
    annotations = item.get("annotations")
    total, given = 0, 0
    for annotation in annotations if isinstance(annotations, list) else []:
        value = _object(_object(annotation).get("annotationValue"))
        spec = _object(_object(value.get("imageClassificationAnnotation")).get("annotationSpec"))
        answer = text(spec.get("displayName"))
        metadata = _object(_object(annotation).get("annotationMetadata"))
        counts = _object(metadata.get("operatorMetadata"))
        votes, votes_in_total = (_count(counts.get(name)) for name in ("labelVotes", "totalVotes"))
        if votes is None or votes_in_total is None:
            yield VoteRow(
                problem=f"line {number}: labelVotes or totalVotes is not a whole number up to {MAX_VOTES}"
            )
            continue
        image, name = _question(uri, answer)
        for nth in range(given, given + (votes or 1)):  # an annotation without counts is one vote
            yield VoteRow(image, name, f"line {number}, vote {nth + 1}", answer)
        given, total = given + (votes or 1), max(total, votes_in_total)
    for nth in range(given, total):
        yield VoteRow(image, name, f"line {number}, vote {nth + 1}", "unsure")


def _question(uri: object, answer: str | None) -> tuple[str | None, str | None]:
    """Return (image_id, class_name) of gs://bucket/CLASS/IMAGE.jpg."""
    parts = (text(uri) or "").split("://", 1)[-1].split("/")
    folder = parts[-2] if len(parts) > 2 else None
    asked = (answer or "").strip().lower() in ANSWERS
    return parts[-1].rsplit(".", 1)[0] or None, folder if asked else None


def _count(value: object) -> int | None:
    """Return a number of votes; 0 if absent, None if invalid."""
    if value is None:
        return 0
    written = text(value) or ""
    number = int(written) if re.fullmatch("[0-9]{1,9}", written) else MAX_VOTES + 1
    return number if number <= MAX_VOTES else None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
