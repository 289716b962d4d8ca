"""Decode, normalize, encode and fingerprint JPEGs of 500×375 on one core, beside the same in plain Pillow and imagehash.

    python -m benchmarks.decode [--images 100] [--rounds 5] [--quick]

Both sides make the same things of each file: an upright RGB picture of the configured size, its JPEG, and the 64- and
256-bit hashes of the picture that this JPEG gives back. "same" resizes with the filter that is nearest to ours,
"usual" with Lanczos, and hashes the picture before it is resized, as most do. Each round takes all sides in turn over
the same files; it prints images per CPU second of the fastest round, and those of libjpeg alone.

It also measures the effect of scaled decoding and, if OpenCV is installed (pip install --target DIR --no-deps
opencv-python-headless, and DIR on PYTHONPATH), whether the preset `tfds` stores the same bytes as TFDS, and how long its
INTER_AREA takes.
"""

import argparse
import dataclasses
import importlib.util
import io
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import imagehash
import numpy as np
from PIL import Image, ImageOps

from benchmarks.rows import record
from pipeline.ingest.area_resize import resize_by_area
from pipeline.ingest.decode import decode
from pipeline.ingest.fingerprint import fingerprint
from pipeline.ingest.normalize import decode_stored, encode, normalize
from pipeline.ingest_config import PRESETS, IngestConfig

Work = Callable[[Sequence[bytes]], object]


def photo(seed: int, width: int, height: int) -> bytes:
    """A JPEG whose detail falls off with its fineness as in photographs."""
    rng, levels = np.random.default_rng(seed), np.zeros((height, width, 3))
    for cells, strength in ((4, 70), (16, 40), (60, 25), (200, 12)):
        detail = Image.fromarray(rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8))
        levels += (
            strength
            / 64
            * (np.asarray(detail.resize((width, height), Image.Resampling.BICUBIC), float) - 128)
        )
    levels += rng.normal(0, 4, levels.shape)
    file = io.BytesIO()
    Image.fromarray((levels + 128).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=87)
    return file.getvalue()


def ours(config: IngestConfig) -> Work:
    def work(files: Sequence[bytes]) -> object:
        stored = [encode(normalize(decode(data, config), config), config) for data in files]
        return fingerprint([decode_stored(data) for data in stored])

    return work


def plain(config: IngestConfig, *, usual: bool) -> Work:
    area = config.resample == "area" and not usual
    resample = Image.Resampling.BOX if area else Image.Resampling.LANCZOS

    def hashes(image: Image.Image) -> object:
        return imagehash.phash(image), imagehash.phash(image, hash_size=16, highfreq_factor=2)

    def one(data: bytes) -> object:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        file = io.BytesIO()
        ImageOps.fit(image, (config.size, config.size), resample).save(file, "JPEG", quality=config.quality)
        return hashes(image if usual else Image.open(io.BytesIO(file.getvalue())))

    return lambda files: [one(data) for data in files]


def libjpeg(part: int) -> Work:
    def one(data: bytes) -> object:
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
        image.draft("RGB", (image.width // part, image.height // part))
        return image.load()

    return lambda files: [one(data) for data in files]


def rates(sides: dict[str, Work], files: Sequence[bytes], rounds: int) -> dict[str, float]:
    """Images per CPU second of each side, in its fastest round. Each round begins with another side."""
    best = dict.fromkeys(sides, float("inf"))
    names = list(sides)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            work = sides[name]
            start = time.process_time()
            work(files)
            best[name] = min(best[name], time.process_time() - start)
    return {name: len(files) / seconds for name, seconds in best.items()}


def difference(config: IngestConfig, files: Sequence[bytes]) -> str:
    """Scaled against full decoding, over the files that are decoded at a part of their size."""
    exact = dataclasses.replace(config, scaled_decoding=False)
    decoded = [decode(data, config) for data in files]
    here = [normalize(result, config).convert("RGB") for result in decoded if result.reduction > 1]
    there = [
        normalize(decode(d, exact), exact).convert("RGB")
        for d, f in zip(files, decoded, strict=True)
        if f.reduction > 1
    ]
    if not here:
        return "decoded in full"
    errors = [
        np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2) for a, b in zip(here, there, strict=True)
    ]
    bits = np.bitwise_count(fingerprint(here).short ^ fingerprint(there).short)
    psnr = 10 * np.log10(255**2 / np.array(errors))
    return f"{psnr.min():.1f} to {psnr.max():.1f} dB, {bits.mean():.2f} of 64 bits, at most {bits.max()}"


def equal_to_tfds(files: Sequence[bytes]) -> int:
    """How many files come out of TFDS' calls of OpenCV as they come out here, byte for byte."""
    import cv2

    config, equal = IngestConfig(**PRESETS["tfds"]), 0
    for data in files:
        small = cv2.resize(
            cv2.imdecode(np.frombuffer(data, np.uint8), 3), (84, 84), interpolation=cv2.INTER_AREA
        )
        theirs = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 72])[1].tobytes()
        equal += theirs == encode(normalize(decode(data, config), config), config)
    return equal


def area_beside_opencv(size: tuple[int, int], new: tuple[int, int], rounds: int) -> str:
    """Resizing by area alone, on random pixels of `size` (width, height): our time as a multiple of OpenCV's."""
    import cv2

    cv2.setNumThreads(1)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    three = np.ascontiguousarray(pixels[:, :, :3])

    def here(_: object) -> np.ndarray:
        return resize_by_area(pixels, (0, 0, *size), new)

    def there(_: object) -> np.ndarray:
        return cv2.resize(three, new, interpolation=cv2.INTER_AREA)

    sides: dict[str, Work] = {
        "ours": lambda many: [here(each) for each in many],
        "theirs": lambda many: [there(each) for each in many],
    }
    rate = rates(sides, [b""] * 100, rounds)
    differ = int((here(None)[:, :, :3] != there(None)).sum())
    return f"{rate['theirs'] / rate['ours']:.2f} of OpenCV's time, {differ} of {three[: new[1], : new[0]].size} values differ"


def main() -> None:
    """Images per CPU second from JPEG to stored image and hashes: ours beside plain Pillow and imagehash."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="20 images, 2 rounds")
    arguments = parser.parse_args()
    count, rounds = (20, 2) if arguments.quick else (arguments.images, arguments.rounds)
    files = [photo(seed, 500, 375) for seed in range(count)]
    print(
        f"{count} JPEGs of 500×375, {sum(map(len, files)) / count / 1000:.0f} kB each, one core, {rounds} rounds\n"
    )
    alone = rates({"1": libjpeg(1), "1/2": libjpeg(2), "1/8": libjpeg(8)}, files, rounds)
    print("libjpeg alone, at " + ", ".join(f"{part}: {rate:,.0f}/s" for part, rate in alone.items()) + "\n")
    print(
        "| size | filter | ours | ours, full decoding | plain, same | plain, usual | ours/same | ours/usual |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for size in (32, 84, 224):
        for resample in ("area", "lanczos"):
            config = IngestConfig(size=size, resample=resample)
            sides = {
                "ours": ours(config),
                "full": ours(dataclasses.replace(config, scaled_decoding=False)),
                "same": plain(config, usual=False),
                "usual": plain(config, usual=True),
            }
            result = rates(sides, files, rounds)
            ratios = [result["ours"] / result[name] for name in ("same", "usual")]
            numbers = " | ".join(f"{rate:,.0f}/s" for rate in result.values())
            print(f"| {size} | {resample} | {numbers} | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)
            what = f"500×375 JPEG to stored {size} px ({resample}) and hashes"
            record(
                what, "per CPU second", result["ours"], "Pillow + imagehash, the usual way", result["usual"]
            )
            record(
                what, "per CPU second", result["ours"], "Pillow + imagehash, the same work", result["same"]
            )

    shapes = [(500, 375), (375, 500), (640, 480), (801, 667), (1600, 1201), (90, 1000), (84, 84)]
    files = [photo(seed, *shapes[seed % len(shapes)]) for seed in range(count)]
    print(f"\nscaled against full decoding, {count} JPEGs of {len(shapes)} shapes")
    shown: tuple[tuple[int, Any], ...] = ((32, "area"), (84, "area"), (224, "area"), (84, "lanczos"))
    for size, resample in shown:
        print(f"{size} {resample}: {difference(IngestConfig(size=size, resample=resample), files)}")
    if importlib.util.find_spec("cv2"):
        print(f"equal to TFDS' calls of OpenCV, to the byte: {equal_to_tfds(files)} of {count}")
        for whole, new in (((500, 375), (299, 224)), ((250, 188), (112, 84)), ((125, 94), (43, 32))):
            shape = "{}×{} to {}×{}".format(*whole, *new)
            print(f"area alone, {shape}: {area_beside_opencv(whole, new, rounds)}")


if __name__ == "__main__":
    main()
