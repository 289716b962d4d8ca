"""duplicate: an image with a near-duplicate, the keeper that stays for it, and whether it is removed."""

import pyarrow as pa

from schemas.table import Table, column

# Orientations of a copy. The hashes of an oriented image are computed from its own (dedupe/orientations.py).
ORIENTATIONS = ("none", "mirrored", "flipped", "rotated 180°", "transposed", "rotated 90°", "transverse")
# Number of ORIENTATIONS that are searched, from the first, by the configuration key dedupe.orientations.
SEARCHED_ORIENTATIONS = {"none": 1, "mirrored": 2, "all": len(ORIENTATIONS)}

# hash: both perceptual hashes are near. embedding: the features are near, and the aligned images agree.
WITNESSES = ("hash", "embedding")

DUPLICATE = Table(
    "duplicate",
    pa.schema(
        [
            column("image_id", pa.string(), "id of the image that is removed or reported"),
            column("source", pa.string(), "source of the image: clean, test or web"),
            column("keeper_id", pa.string(), "id of the keeper, the image that stays"),
            column("keeper_source", pa.string(), "source of the keeper: clean, test or web"),
            column("distance", pa.int16(), "number of differing bits of the 64-bit hashes"),
            column("distance_256", pa.int16(), "number of differing bits of the 256-bit hashes"),
            column(
                "orientation",
                pa.string(),
                f"orientation of the image relative to the keeper: {', '.join(ORIENTATIONS)}",
            ),
            column(
                "witness",
                pa.string(),
                f"how the pair was found: {', '.join(WITNESSES)} (docs/explanation/duplicates.md)",
            ),
            column(
                "match",
                pa.float32(),
                "share of the detailed blocks of the keeper that the image agrees with after alignment, 0 to 1; null for "
                "witness hash",
                required=False,
            ),
            column(
                "reason",
                pa.string(),
                "leak: near a test image; exact: same bytes as the keeper; near: near-duplicate",
            ),
            column(
                "rule",
                pa.string(),
                "criterion by which the keeper is better: source, pixels, sharpness, bytes or id",
            ),
            column(
                "removed",
                pa.bool_(),
                "whether the image is removed; false for test images, and for clean leaks with clean_leaks: keep",
            ),
        ]
    ),
    key=("image_id",),
)
