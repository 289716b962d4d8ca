"""Hashes and thumbnails that several test modules use."""

import numpy as np
from PIL import Image, ImageDraw

from pipeline.dedupe.neighbors import HashPairs
from pipeline.ingest.thumbnail import THUMBNAIL_BYTES

NOISE = np.random.default_rng(0).integers(0, 256, THUMBNAIL_BYTES, np.uint8)
"""Thumbnail of a detailed image."""

PILLOW_TRANSPOSES = {
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "flipped": Image.Transpose.FLIP_TOP_BOTTOM,
    "rotated 180°": Image.Transpose.ROTATE_180,
    "transposed": Image.Transpose.TRANSPOSE,
    "rotated 90°": Image.Transpose.ROTATE_90,
    "transverse": Image.Transpose.TRANSVERSE,
}


def photograph(seed: int) -> Image.Image:
    """Return discs that hide each other, of sizes that follow a power law, with grain: edges and spectrum of photographs
    (the dead leaves model of Lee, Mumford and Huang, 2001)."""
    rng = np.random.default_rng([seed, 20011])
    image = Image.new("RGB", (224, 224), tuple(rng.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(150):
        radius, x, y = min(70, 8 * rng.random() ** -0.7), *(224 * rng.random(2))
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius), tuple(rng.integers(0, 256, 3).tolist())
        )
    grain = rng.normal(0, 6, (224, 224, 3))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def pair_list(pairs: HashPairs) -> list[tuple[int, int]]:
    return list(zip(pairs.u.tolist(), pairs.v.tolist(), strict=True))


def flip_bits(rng: np.random.Generator, value: np.uint64, bits: int) -> np.uint64:
    for bit in rng.permutation(64)[:bits].tolist():
        value ^= np.uint64(1 << bit)
    return value


def planted_hashes(rng: np.random.Generator, n: int, spread: int = 64) -> np.ndarray:
    """Distinct hashes, every second one near the one before; only `spread` of the 64 bits vary."""
    hashes = rng.integers(0, 2**64, n, np.uint64) & np.uint64(2**spread - 1)
    for i in range(1, n, 2):
        hashes[i] = flip_bits(rng, hashes[i - 1], rng.integers(0, 14))
    return rng.permutation(np.unique(hashes))
