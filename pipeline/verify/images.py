"""Check the encoded images of one bucket: each must decode, be the same in all sets, and have the size of the others."""

import hashlib

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from pipeline.config import DedupeConfig
from pipeline.ingest.fingerprint import fingerprint_thumbnails
from pipeline.ingest.normalize import decode_stored
from pipeline.ingest.thumbnail import thumbnail
from pipeline.verify.leaks import pack_hashes
from pipeline.verify.tally import Tally


class BucketImages:
    """The different images of a bucket: the digest of each, and, if leaks are searched by `rules`, its hashes."""

    def __init__(self, tally: Tally, resize: str, rules: DedupeConfig | None) -> None:
        self.digests: dict[str, bytes] = {}
        self._tally, self._resize, self._rules = tally, resize, rules
        self._hashed: list[tuple[list[str], np.ndarray, np.ndarray]] = []

    def add(self, name: str, rows: pa.Table) -> None:
        """Check the images of some rows of a set; those that another set has are only compared."""
        ids, thumbnails = [], []
        for image_id, image in zip(rows["image_id"].to_pylist(), rows["image"].to_pylist(), strict=True):
            if image is None:  # withheld, or a row without image
                continue
            data = image["bytes"] or b""
            digest = hashlib.sha256(data).digest()
            if image_id in self.digests:
                if self.digests[image_id] != digest:
                    self._tally.add_finding(("differs", name), [image_id])
                continue
            try:
                # One at a time: without resizing (ingest.resize), the images of a batch may take gigabytes.
                opened = decode_stored(data)
                small = thumbnail(opened)
            except Exception as error:  # whatever a damaged file makes a decoder raise
                self._tally.add_finding(("decode", name), [f"{image_id}: {_reason(error)}"])
                continue
            self.digests[image_id] = digest
            ids.append(image_id)
            thumbnails.append(small)
            self._count_size(opened.size, image_id)
        self._tally.counts[("images",)] += len(ids)
        if ids and self._rules:
            prints = fingerprint_thumbnails(thumbnails)
            telling = prints.contrast >= self._rules.min_contrast
            self._tally.counts[("flat",)] += int((~telling).sum())
            kept = [image_id for image_id, keep in zip(ids, telling, strict=True) if keep]
            self._hashed.append((kept, prints.short[telling], prints.orientations[telling]))

    def _count_size(self, size: tuple[int, int], image_id: str) -> None:
        if self._resize != "none":
            self._tally.add_size((max(size),) if self._resize == "fit" else size, image_id)

    def packed_hashes(self, test: set[str]) -> tuple[bytes | None, bytes | None]:
        """Return the packed hashes of the images in `test` and of all others; None where there are none.

        Counts both kinds of images.
        """
        number = sum(image_id in test for image_id in self.digests)
        self._tally.counts[("test_images",)] += number
        if not self._hashed or not self._rules:
            return None, None
        ids = [image_id for some, _, _ in self._hashed for image_id in some]
        short, oriented = (np.concatenate([each[i] for each in self._hashed]) for i in (1, 2))
        is_test = np.array([image_id in test for image_id in ids], bool)
        packed = [
            pack_hashes(
                [i for i, keep in zip(ids, part, strict=True) if keep],
                short[part],
                oriented[part],
                self._rules,
            )
            for part in (is_test, ~is_test)
        ]
        return packed[0], packed[1]


def _reason(error: Exception) -> str:
    """Say why an image does not decode, in the same words each time: some messages hold memory addresses."""
    if isinstance(error, UnidentifiedImageError):
        return "not JPEG, PNG or WebP"
    if isinstance(error, Image.DecompressionBombError):
        return "too many pixels"
    return str(error) or type(error).__name__
