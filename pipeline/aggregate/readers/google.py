"""Google Cloud: the exports of Vertex AI datasets and of the older AI Platform Data Labeling Service, as JSON lines.

Formats: https://cloud.google.com/vertex-ai/docs/image-data/classification/prepare-data (exports have the form of
imports) and https://cloud.google.com/ai-platform/data-labeling/docs/export; the counts of votes are those of
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
MOST_VOTES = 1000  # on one label of an image: more is a damaged count


def is_google(line: str) -> bool:
    """Whether a JSON lines file with this first line is such an export."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(item, dict) and ("imageGcsUri" in item or "imagePayload" in item)


def read_google(path: str) -> Iterator[VoteRow]:
    """One row for each annotation of Vertex AI, or for each vote that the Data Labeling Service has counted.

    The image's id is its file name without the ending. An answer yes, no or unsure is about the class whose name its
    folder bears; any other is a choice among the classes. With Vertex AI the labels image_id and class_name
    of the data item tell both where they are given, and the worker is the annotation's label worker_id, or else its
    annotation set. The Data Labeling Service names no workers: each vote is somebody's of their own, and those
    that it has counted for another label, without saying which, are unsure. Raises DataError where there is no text.
    """
    with files.open_read(path) as file:
        for number, line in enumerate(file, 1):
            try:
                item = json.loads(line.decode("utf-8-sig"))
                if not isinstance(item, dict):
                    raise ValueError("no JSON object")
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
        told = _object(_object(annotation).get("annotationResourceLabels"))
        answer = text(_object(annotation).get("displayName"))
        image, name = _question(item["imageGcsUri"], answer)
        yield VoteRow(
            text(labels.get("image_id")) or image,
            text(labels.get("class_name")) or name,
            text(told.get("worker_id")) or text(told.get(ANNOTATION_SET)),
            answer,
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
        votes, of = (_count(counts.get(name)) for name in ("labelVotes", "totalVotes"))
        if votes is None or of is None:
            yield VoteRow(problem=f"line {number}: labelVotes or totalVotes is no number up to {MOST_VOTES}")
            continue
        image, name = _question(uri, answer)
        for nth in range(given, given + (votes or 1)):  # an annotation without counts is one vote
            yield VoteRow(image, name, f"line {number}, vote {nth + 1}", answer)
        given, total = given + (votes or 1), max(total, of)
    for nth in range(given, total):
        yield VoteRow(image, name, f"line {number}, vote {nth + 1}", "unsure")


def _question(uri: object, answer: str | None) -> tuple[str | None, str | None]:
    """(image_id, class_name) of gs://bucket/CLASS/IMAGE.jpg."""
    parts = (text(uri) or "").split("://", 1)[-1].split("/")
    folder = parts[-2] if len(parts) > 2 else None
    asked = (answer or "").strip().lower() in ANSWERS
    return parts[-1].rsplit(".", 1)[0] or None, folder if asked else None


def _count(value: object) -> int | None:
    """A number of votes, 0 if there is none, None if it cannot be one."""
    if value is None:
        return 0
    written = text(value) or ""
    number = int(written) if re.fullmatch("[0-9]{1,9}", written) else MOST_VOTES + 1
    return number if number <= MOST_VOTES else None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
