"""Recall and false pairs of near-duplicate hashes by radius and transform.

    python -m benchmarks.calibrate                          # pictures drawn here, 256 to 400 pixels a side
    python -m benchmarks.calibrate --pictures DIR --size 32 # JPEG files of a folder, kept at 32×32

Each picture is transformed as copies on the web are. Original and copy then go through the pipeline's own
normalization and encoding, and are fingerprinted as it does. All originals are compared with all copies: a pair is
right where the copy is of that original. With pdqhash installed (pip install pdqhash), PDQ is a third long hash.
"""

import argparse
import io
import itertools
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from pipeline.ingest.decode import decode
from pipeline.ingest.fingerprint import fingerprint
from pipeline.ingest.normalize import decode_stored, encode, normalize
from pipeline.ingest_config import IngestConfig

try:
    import pdqhash
except ImportError:
    pdqhash = None

WIDEST = 14  # of 64 bits: beyond it nothing is counted
RADII, CONFIRM = (0, 2, 4, 6, 8, 10), (32, 48, 64, 80, 88, 96, 104, 112, 120, 256)
Transform = Callable[[Image.Image], Image.Image]


def _through(picture: Image.Image, kind: str, **options: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return Image.open(buffer).convert("RGB")


def _scale(picture: Image.Image, factor: float) -> Image.Image:
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _crop(picture: Image.Image, share: float) -> Image.Image:
    """Cut off `share` of width and height, one third of it on the left and at the top."""
    left, top = picture.width * share / 3, picture.height * share / 3
    box = (left, top, left + picture.width * (1 - share), top + picture.height * (1 - share))
    return picture.resize((round(box[2] - left), round(box[3] - top)), Image.Resampling.BICUBIC, box)


def _gamma(picture: Image.Image, gamma: float) -> Image.Image:
    return picture.point([round(255 * (i / 255) ** gamma) for i in range(256)] * 3)


def _text(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    size = max(6, picture.height // 10)
    ImageDraw.Draw(picture).text(
        (size / 2, picture.height - 1.5 * size), "example.org", fill="white", stroke_width=1,
        stroke_fill="black", font_size=size,
    )  # fmt: skip
    return picture


TRANSFORMS: dict[str, Transform] = {
    **{f"JPEG {q}": partial(_through, kind="JPEG", quality=q) for q in (95, 75, 50, 30)},
    "WebP 75": partial(_through, kind="WEBP", quality=75),
    "GIF": lambda p: _through(p.quantize(256), "GIF"),
    **{f"scaled ×{s}": partial(_scale, factor=f) for s, f in (("¼", 0.25), ("½", 0.5), ("2", 2), ("4", 4))},
    "gamma 0.7": partial(_gamma, gamma=0.7),
    "gamma 1.4": partial(_gamma, gamma=1.4),
    "gray": lambda p: ImageOps.grayscale(p).convert("RGB"),
    "blurred": lambda p: p.filter(ImageFilter.GaussianBlur(p.width / 200)),
    "text over it": _text,
    # From here on the copy does not lie on the original.
    **{f"cropped {s} %": partial(_crop, share=s / 100) for s in (5, 10, 20)},
    "border 5 %": lambda p: ImageOps.expand(p, max(1, p.width // 20), "white"),
    "mirrored": ImageOps.mirror,
    "rotated 90°": lambda p: p.transpose(Image.Transpose.ROTATE_90),
    "rotated 3°": lambda p: p.rotate(3, Image.Resampling.BICUBIC),
}
GEOMETRIC = list(TRANSFORMS)[-7:]


def dead_leaves(seed: int) -> Image.Image:
    """Discs and boxes that hide each other, sizes by a power law, each shaded and grained: edges and a spectrum
    as photographs have (Lee, Mumford and Huang, 2001)."""
    rng = np.random.default_rng([seed, 20011])
    width, height = int(rng.integers(256, 401)), int(rng.integers(256, 401))
    picture = Image.new("RGB", (width, height), tuple(rng.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(40, 400))):
        radius = min(width / 2, 6 * rng.random() ** -0.7)
        x, y = rng.random() * width, rng.random() * height
        shape = draw.ellipse if rng.random() < 0.7 else draw.rectangle
        shape((x - radius, y - radius * rng.uniform(0.4, 1), x + radius, y + radius * rng.uniform(0.4, 1)),
              fill=tuple(rng.integers(0, 256, 3).tolist()))  # fmt: skip
    levels = np.asarray(picture, np.float32)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    light = 1 + 0.5 * (rng.normal() * x / width + rng.normal() * y / height)[..., None]
    grain = rng.normal(0, 6, levels.shape).astype(np.float32)
    return Image.fromarray(np.clip(levels * light + grain, 0, 255).astype(np.uint8))


def as_stored(picture: Image.Image, config: IngestConfig) -> Image.Image:
    """The picture as the pipeline stores it and reads it again."""
    buffer = io.BytesIO()
    picture.save(buffer, "BMP")
    return decode_stored(encode(normalize(decode(buffer.getvalue(), config), config), config))


def hashes(source: int | str, config: IngestConfig) -> dict[str, np.ndarray]:
    """Hashes of the original and of all copies: arrays of (1 + transforms, bytes)."""
    original = dead_leaves(source) if isinstance(source, int) else Image.open(source).convert("RGB")
    pictures = [original, *(transform(original) for transform in TRANSFORMS.values())]
    stored = [as_stored(picture, config) for picture in pictures]
    prints = fingerprint(stored)
    found = {
        "pHash 64": prints.short.astype(">u8").view(np.uint8).reshape(-1, 8),
        "dHash 64": np.stack([np.packbits(imagehash.dhash(p).hash) for p in stored]),
        "pHash 256": prints.long,
        "pHash 256 of 64×64": np.stack([np.packbits(imagehash.phash(p, hash_size=16).hash) for p in stored]),
    }
    if pdqhash:
        found["PDQ"] = np.stack([np.packbits(pdqhash.compute(np.asarray(p))[0]) for p in stored])
    found["contrast"] = prints.contrast[:, None]
    return found


def main() -> None:
    """Recall and false pairs of our hashes by radius and transform, beside dHash, and PDQ where it is installed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", help="folder of JPEG files; without it pictures are drawn")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--size", type=int, default=224, help="side to which the pipeline brings a picture")
    parser.add_argument("--resize", default="crop", help="the pipeline's way to do so")
    parser.add_argument("--format", default="jpeg", help="the pipeline's encoding")
    parser.add_argument("--json", help="file for all counts")
    given = parser.parse_args()
    sources: list[int | str] = list(range(given.count))
    if given.pictures:
        files = sorted(str(path) for path in Path(given.pictures).glob("*.jpg"))
        sources = [files[i] for i in np.random.default_rng(0).permutation(len(files))[: given.count]]
    config = IngestConfig(size=given.size, resize=given.resize, format=given.format, min_side=4)
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(partial(hashes, config=config), sources, chunksize=8))
    stacked = {name: np.stack([one[name] for one in found]) for name in found[0]}
    contrast = stacked.pop("contrast")
    telling = contrast[:, 0, 0] >= 2
    print(f"{len(sources)} pictures, {int((~telling).sum())} too flat, {len(TRANSFORMS)} copies of each")
    long_names = [name for name in stacked if "256" in name or name == "PDQ"]
    counts = {
        (short, long): count(stacked[short][telling], stacked[long][telling])
        for short in ("pHash 64", "dHash 64")
        for long in (long_names if short == "pHash 64" else ["pHash 256"])
    }
    for pair, (right, false, _) in counts.items():
        curve(*pair, right, false, int(telling.sum()))
    table(*counts["pHash 64", "pHash 256"], int(telling.sum()))
    if given.json:
        result = {
            " + ".join(pair): {"right": r.tolist(), "false": f.tolist()} for pair, (r, f, _) in counts.items()
        }
        Path(given.json).write_text(json.dumps(result))


def count(short: np.ndarray, long: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs (transform, distance of 64 bits, distance of 256 bits) that are right, and false; false ones among the
    originals: (distance, distance)."""
    n, copies = len(short), len(TRANSFORMS)
    words, longs = short.view(np.uint64)[..., 0], np.ascontiguousarray(long).view(np.uint64)
    right = np.zeros((copies, WIDEST + 1, 257), np.int64)
    false, among = np.zeros_like(right), np.zeros((WIDEST + 1, 257), np.int64)
    for original in range(n):
        distance = np.bitwise_count(words[original, 0] ^ words)
        at, column = np.nonzero(distance <= WIDEST)
        bits = np.bitwise_count(longs[original, 0] ^ longs[at, column]).sum(axis=1)
        near = distance[at, column]
        copy = column > 0
        own = at == original
        np.add.at(right, (column[copy & own] - 1, near[copy & own], bits[copy & own]), 1)
        np.add.at(false, (column[copy & ~own] - 1, near[copy & ~own], bits[copy & ~own]), 1)
        np.add.at(among, (near[~copy & (at > original)], bits[~copy & (at > original)]), 1)
    return right, false, among


def curve(short: str, long: str, right: np.ndarray, false: np.ndarray, n: int) -> None:
    """Recall on copies that lie on their original, and precision, for each pair of radii."""
    plain = [i for i, name in enumerate(TRANSFORMS) if name not in GEOMETRIC]
    print(f"\n{short} confirmed by {long}: recall % of {n * len(plain)} copies / false pairs")
    print("radius " + " ".join(f"{c:>11}" for c in CONFIRM))
    for radius in RADII:
        cells = []
        for confirm in CONFIRM:
            hit = right[plain, : radius + 1, : confirm + 1].sum()
            wrong = false[plain, : radius + 1, : confirm + 1].sum()
            cells.append(f"{100 * hit / (n * len(plain)):5.2f}/{wrong:<5}")
        print(f"{radius:>6} " + " ".join(cells))


def table(right: np.ndarray, false: np.ndarray, among: np.ndarray, n: int) -> None:
    """Recall and false pairs by transform, for some radii."""
    shown = list(itertools.product((8, 10), (64, 80, 96, 112)))
    print("\n| transform | " + " | ".join(f"{r}/{c}" for r, c in shown) + " |")
    print("|---|" + "---:|" * len(shown))
    for i, name in enumerate(TRANSFORMS):
        cells = [
            f"{100 * right[i, : r + 1, : c + 1].sum() / n:.1f} ({false[i, : r + 1, : c + 1].sum()})"
            for r, c in shown
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("| pairs of originals | " + " | ".join(str(among[: r + 1, : c + 1].sum()) for r, c in shown) + " |")


if __name__ == "__main__":
    main()
