"""example: one row of a training or test set: image, label, whether the label is right, and the origin of the image."""

import json
from collections.abc import Sequence

import pyarrow as pa

from schemas.retrieval import ATTRIBUTION
from schemas.table import IMAGE, Table, column

TEST_SET = "test"
"""Name of the test set, and of its folder in a dataset."""

SHARED_IMAGES = "images"
"""Name of the table, and its folder, of the images of a shared dataset, whose sets are lists of examples."""

EXAMPLE = Table(
    "example",
    pa.schema(
        [
            column("image", IMAGE, "the encoded image"),
            column("label", pa.int64(), "given label: the class id to train on"),
            column("is_clean", pa.bool_(), "whether the label is right"),
            column("image_id", pa.string(), "id of the image"),
            column("source", pa.string(), "clean, test or web"),
            column("true_label", pa.int64(), "true label, a class id, where it is known", required=False),
            column(
                "noise_type",
                pa.string(),
                "wrong label: closed (the image shows another listed class) or open (none of the listed classes is "
                "known to be shown); right label: null",
                required=False,
            ),
            column(
                "replaced_image_id",
                pa.string(),
                "red noise: the clean image that it replaces",
                required=False,
            ),
            column("url", pa.string(), "URL that the image was fetched from", required=False),
            *ATTRIBUTION,
            column("method", pa.string(), "web: text or image search", required=False),
            column("rank", pa.int32(), "web: position among the search results", required=False),
            column("votes_yes", pa.int16(), "web: number of votes yes", required=False),
            column("votes_no", pa.int16(), "web: number of votes no", required=False),
            column("votes_unsure", pa.int16(), "web: number of votes unsure", required=False),
            column("confidence", pa.float32(), "web: confidence of the verdict", required=False),
            column(
                "p_wrong",
                pa.float32(),
                "web: probability that the given label is wrong, estimated from the votes",
                required=False,
            ),
        ]
    ),
    key=("image_id",),
)


def set_name(color: str, level: float, trial: int = 0) -> str:
    """Return the name of a training set, and of its folder: `red-0.40`, and `red-0.40-trial-1` for the second trial.

    The level has two digits, or as many as it needs: `red-0.125`.
    """
    two_digits = f"{level:.2f}"
    digits = two_digits if float(two_digits) == level else repr(level)
    return f"{color}-{digits}" + (f"-trial-{trial}" if trial else "")


_HF_SCALARS = {
    pa.int64(): "int64",
    pa.int32(): "int32",
    pa.int16(): "int16",
    pa.float32(): "float32",
    pa.bool_(): "bool",
    pa.string(): "string",
}


def _with_features(fields: Sequence[pa.Field], class_names: Sequence[str]) -> pa.Schema:
    """Return a schema with Hugging Face metadata, so that `datasets` shows images and class names."""
    features: dict[str, dict[str, object]] = {}
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


# One image of a shared dataset, whose sets are lists of examples.
SHARED_IMAGE_SCHEMA = _with_features([pa.field("image_id", pa.string()), pa.field("image", IMAGE)], ())


def example_schema(class_names: Sequence[str], *, with_images: bool = True) -> pa.Schema:
    """Return the schema of examples with Hugging Face metadata, so that `datasets` shows images and class names.

    Without images, it is the schema of the sets of a shared dataset.
    """
    # `datasets` reads features from the metadata of nullable columns only.
    fields = [field.with_nullable(True) for field in EXAMPLE.schema if with_images or field.name != "image"]
    return _with_features(fields, class_names)
