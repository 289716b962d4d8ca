"""image: a fetched, decoded, checked and normalized picture with its fingerprints."""

import pyarrow as pa

from schemas.table import IMAGE, Table, column

IMAGES = Table(
    "image",
    pa.schema(
        [
            column("image_id", pa.string(), "as in the retrieval list"),
            column("source", pa.string(), "clean, test or web"),
            column("image", IMAGE, "the normalized picture, encoded"),
            column("width", pa.int32(), "pixels of the original"),
            column("height", pa.int32(), "pixels of the original"),
            column("format", pa.string(), "format of the original, found by its content"),
            column("animated", pa.bool_(), "whether the original holds more pictures; the first was taken"),
            column("bytes_in", pa.int64(), "size of the original file"),
            column("sha256", pa.string(), "of the original file, hex"),
            column(
                "phash", pa.uint64(), "64-bit perceptual hash, equal to imagehash.phash, first bit highest"
            ),
            column(
                "phash_orientations",
                pa.list_(pa.uint64(), 3),
                "phash of the picture mirrored, flipped top to bottom, and turned by 180°",
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
            column("sharpness", pa.float32(), "variance of the Laplacian of the normalized picture"),
            column(
                "thumbnail",
                pa.binary(1216),
                "the picture as 32×32 gray levels, then as 8×8 times red, green and blue, row by row",
            ),
        ]
    ),
    key=("image_id",),
)
