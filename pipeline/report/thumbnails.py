"""Small versions of the images of a build, as data URIs for the report."""

import base64
from collections.abc import Collection

from pipeline.report.images import StoredImages, thumbnail
from pipeline.report.tables import BuildTables

LISTED_SIDE = 48  # pixels
LISTED_AT_MOST = 400  # thumbnails of counted images in a page


def thumbnails(tables: BuildTables, image_ids: Collection[str], side: int) -> dict[str, bytes]:
    """Return WebP thumbnails of at most `side` pixels in width and height; ids without an image are left out."""
    positions = tables.rows(
        "SELECT image_id, position FROM images WHERE image_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY position",
        [sorted(set(image_ids))],
    )
    if not positions:
        return {}
    images = StoredImages(tables.build)  # in order of position, which reads each row group once
    return {image_id: thumbnail(images.read(position), side) for image_id, position in positions}


def listed_thumbnails(tables: BuildTables) -> dict[str, str]:
    """Return data URIs by id of the images behind the numbers made so far, at most LISTED_AT_MOST.

    The first image of every number comes first, then the second of each, and so on.
    """
    listed = dict.fromkeys(image_id for _, image_id in sorted(tables.listed, key=lambda entry: entry[0]))
    encoded = thumbnails(tables, list(listed)[:LISTED_AT_MOST], LISTED_SIDE)
    return {image_id: data_uri(image) for image_id, image in encoded.items()}


def data_uri(encoded: bytes) -> str:
    """Return a data URI of a WebP image."""
    return f"data:image/webp;base64,{base64.b64encode(encoded).decode()}"
