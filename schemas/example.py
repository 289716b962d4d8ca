"""example: one row of a training or test set: picture, label, whether it is right, and where it came from."""

import json
from collections.abc import Sequence

import pyarrow as pa

from schemas.retrieval import ATTRIBUTION
from schemas.table import IMAGE, Table, column

TEST_SPLIT = "test"
"""Name of the test set, and of its folder in a dataset."""

PICTURES = "images"
"""Folder of the pictures that all sets of a shared dataset use; the sets beside it are lists of examples then."""

EXAMPLE = Table(
    "example",
    pa.schema(
        [
            column("image", IMAGE, "the encoded picture"),
            column("label", pa.int64(), "class id to train on, noisy or not"),
            column("is_clean", pa.bool_(), "whether the label is right"),
            column("image_id", pa.string(), "the image"),
            column("source", pa.string(), "clean, test or web"),
            column("true_label", pa.int64(), "class id where the true one is known", required=False),
            column(
                "replaced_image_id",
                pa.string(),
                "red noise: the clean image that it replaces",
                required=False,
            ),
            column("url", pa.string(), "where it was fetched from", required=False),
            *ATTRIBUTION,
            column("method", pa.string(), "web: text or image search", required=False),
            column("rank", pa.int32(), "web: position among the search results", required=False),
            column("votes_yes", pa.int16(), "web: votes that it shows the class", required=False),
            column("votes_no", pa.int16(), "web: votes that it does not", required=False),
            column("votes_unsure", pa.int16(), "web: votes unsure", required=False),
            column("confidence", pa.float32(), "web: confidence of the verdict", required=False),
        ]
    ),
    key=("image_id",),
)

_HF_SCALARS = {
    pa.int64(): "int64",
    pa.int32(): "int32",
    pa.int16(): "int16",
    pa.float32(): "float32",
    pa.bool_(): "bool",
    pa.string(): "string",
}


# One picture of a shared dataset, whose sets are lists of examples.
PICTURE_SCHEMA = pa.schema([pa.field("image_id", pa.string()), pa.field("image", IMAGE)])


def example_schema(class_names: Sequence[str], *, pictures: bool = True) -> pa.Schema:
    """The example schema with Hugging Face feature metadata, so `datasets` shows pictures and class names.

    Without `pictures`, the schema of the sets of a shared dataset.
    """
    features: dict[str, dict[str, object]] = {}
    # `datasets` takes its features from the metadata only where the column is nullable, as its own files have it.
    fields = [field.with_nullable(True) for field in EXAMPLE.schema if pictures or field.name != "image"]
    for field in fields:
        if field.name == "image":
            features[field.name] = {"_type": "Image"}
        elif field.name in ("label", "true_label"):
            features[field.name] = {"names": list(class_names), "_type": "ClassLabel"}
        else:
            features[field.name] = {"dtype": _HF_SCALARS[field.type], "_type": "Value"}
    return pa.schema(
        fields, {"huggingface": json.dumps({"info": {"features": features}}, ensure_ascii=False)}
    )
