"""image: decoded, normalized and encoded images with their fingerprints."""

import pyarrow as pa

from schemas.table import IMAGE, Table, column

IMAGES = Table(
    "image",
    pa.schema(
        [
            column("image_id", pa.string(), "as in the retrieval list"),
            column("source", pa.string(), "clean, test or web"),
            column("image", IMAGE, "the normalized image, encoded"),
            column("width", pa.int32(), "width of the original in pixels"),
            column("height", pa.int32(), "height of the original in pixels"),
            column("format", pa.string(), "format of the original, detected from its content"),
            column(
                "animated", pa.bool_(), "whether the original has several frames, of which the first was used"
            ),
            column("bytes_in", pa.int64(), "size of the original file in bytes"),
            column("sha256", pa.string(), "SHA-256 of the original file, hexadecimal"),
            column(
                "phash", pa.uint64(), "64-bit perceptual hash, equal to imagehash.phash, first bit highest"
            ),
            column(
                "phash_orientations",
                pa.list_(pa.uint64(), 3),
                "phash of the image mirrored, flipped top to bottom, and rotated by 180°",
            ),
            column(
                "phash_256",
                pa.binary(32),
                "256-bit perceptual hash: imagehash.phash with hash_size 16 and highfreq_factor 2",
            ),
            column(
                "contrast",
                pa.float32(),
                "standard deviation of gray levels in the frequencies of phash; near 0 its bits are noise",
            ),
            column("sharpness", pa.float32(), "variance of the Laplacian of the normalized image"),
            column(
                "thumbnail",
                pa.binary(1216),
                "32×32 gray levels, then 8×8 pixels of red, green and blue, row by row",
            ),
        ]
    ),
    key=("image_id",),
)
