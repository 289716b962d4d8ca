"""suspect: how probably a verdict or a given label is wrong, by votes and by features of the images."""

import pyarrow as pa

from schemas.table import Table, column

GIVEN = "given"
"""The verdict of clean and test images, whose class is given by a list."""

NO_VOTES = "no votes"
"""The verdict of a candidate without votes."""

SUSPECT = Table(
    "suspect",
    pa.schema(
        [
            column("image_id", pa.string(), "id of the image"),
            column(
                "class_name",
                pa.string(),
                "clean and test: the given label; web: the class that was asked about",
            ),
            column("source", pa.string(), "clean, test or web"),
            column("verdict", pa.string(), f"yes, no, undecided, {NO_VOTES}, or {GIVEN} (clean and test)"),
            column(
                "p_error",
                pa.float32(),
                "probability that the verdict, or the given label, is wrong; null for undecided questions and those without votes",
                required=False,
            ),
            column(
                "p_wrong", pa.float32(), "probability that the image does not show the class, by all evidence"
            ),
            column(
                "p_wrong_votes",
                pa.float32(),
                "the same by the votes alone; null for clean and test images and without votes",
                required=False,
            ),
            column(
                "p_wrong_features",
                pa.float32(),
                "the same by the features alone; clean and test: not calibrated",
            ),
            column(
                "neighbor_share",
                pa.float32(),
                "share of the nearest labeled images that have the class; null without any",
                required=False,
            ),
            column(
                "probable_class", pa.string(), "class that the image shows most probably, by the features"
            ),
            column("probable_share", pa.float32(), "probability of `probable_class`, by the features"),
        ]
    ),
    key=("image_id", "class_name"),
)
