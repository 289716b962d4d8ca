"""Which altered copies of test photographs are found among training photographs: by hashes, and with features.

    python -m benchmarks.altered_copies DIR --weights tf_efficientnet_lite0.safetensors
    python -m benchmarks.altered_copies --test TEST --train TRAIN --size 32 --network-size 96 --weights …

DIR has `train` and `test`, with images below them. Some test photographs are altered as copies on the web are, go through
the pipeline's own decoding and encoding, and lie as wrong images among the training photographs. Recall is the share of
copies of which a pair is found. False pairs are those of training photographs and test photographs: look at what is listed,
since folders may hold real copies. CPU times are per training image.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image, ImageDraw, ImageOps

from benchmarks.calibrate import as_stored
from page.markdown import markdown_table
from pipeline import files
from pipeline.config import DedupeConfig
from pipeline.dedupe.feature_neighbors import nearest_tests, rounded_vectors
from pipeline.dedupe.leaks import find_leaks
from pipeline.dedupe.local_match import can_match, match_image, matches
from pipeline.embed.loading import open_network
from pipeline.embed.preprocess import read_pixels
from pipeline.embed.spec import NetworkSpec
from pipeline.ingest.fingerprint import Fingerprints, fingerprint
from pipeline.ingest.normalize import encode
from pipeline.ingest_config import IngestConfig

Alter = Callable[[Image.Image, np.random.Generator], Image.Image]
Pairs = set[tuple[int, int]]  # (training image, test image)


def crop(image: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """Cut off `share` of both sides, at a random place."""
    width, height = image.size
    left, top = rng.random(2) * share * np.array(image.size)
    return image.crop(
        (round(left), round(top), round(left + (1 - share) * width), round(top + (1 - share) * height))
    )


def text(image: Image.Image) -> Image.Image:
    image = image.copy()
    size = max(5, image.height // 10)
    ImageDraw.Draw(image).text(
        (size / 2, image.height - 1.6 * size), "example.org", fill="white", stroke_width=max(1, size // 12),
        stroke_fill="black", font_size=size,
    )  # fmt: skip
    return image


def border(image: Image.Image) -> Image.Image:
    return ImageOps.expand(image, max(1, round(0.04 * max(image.size))), "white")


ALTERED: dict[str, Alter] = {
    "re-encoded": lambda p, _: as_stored(p, IngestConfig(size=224, resize="none", quality=50)),
    "text": lambda p, _: text(p),
    "border 4 %": lambda p, _: border(p),
    "crop 6 %": lambda p, rng: crop(p, 0.06, rng),
    "crop 12 %": lambda p, rng: crop(p, 0.12, rng),
    "12 % cut off below": lambda p, _: p.crop((0, 0, p.width, round(0.88 * p.height))),
    "mirrored": lambda p, _: ImageOps.mirror(p),
    "mirrored, text": lambda p, _: text(ImageOps.mirror(p)),
    "mirrored, crop 12 %": lambda p, rng: crop(ImageOps.mirror(p), 0.12, rng),
    "mirrored, border": lambda p, _: border(ImageOps.mirror(p)),
    "crop 12 %, text": lambda p, rng: text(crop(p, 0.12, rng)),
    "border, text": lambda p, _: text(border(p)),
    "crop 6 %, border": lambda p, rng: border(crop(p, 0.06, rng)),
}


def images_below(folder: Path) -> list[Path]:
    endings = {".jpg", ".jpeg", ".png"}
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings)


def by_hash(stored: list[Image.Image], tests: int) -> Pairs:
    """Pairs that the search by hashes finds at its defaults; the first `tests` images are the test images."""
    prints: Fingerprints = fingerprint(stored)
    found = find_leaks(prints, np.arange(len(stored)) < tests, DedupeConfig())
    return set(zip((found.b - tests).tolist(), found.a.tolist(), strict=True))


def by_features(vectors: np.ndarray, stored: list[Image.Image], tests: int) -> tuple[Pairs, int]:
    """Pairs that features and matching find at the defaults, and the number of candidate pairs."""
    rules = DedupeConfig()
    usable = can_match(fingerprint(stored).thumbnails)
    test, train = np.flatnonzero(usable[:tests]), tests + np.flatnonzero(usable[tests:])
    i, j = nearest_tests(vectors[train], vectors[test], rules.neighbors, rules.min_similarity)
    a, b = train[i], test[j]
    levels = np.stack([match_image(image) for image in stored])
    match = matches(levels[a], levels[b], mirrored=True).match
    kept = match >= np.float32(rules.min_match)
    return set(zip((a[kept] - tests).tolist(), b[kept].tolist(), strict=True)), len(a)


def by_crop_resistant_hash(stored: list[Image.Image], tests: int, pairs: Pairs) -> Pairs:
    """Of candidate pairs, those that imagehash.crop_resistant_hash matches at its defaults."""
    needed = {i for pair in pairs for i in (tests + pair[0], pair[1])}
    hashes = {i: imagehash.crop_resistant_hash(stored[i]) for i in sorted(needed)}
    return {pair for pair in pairs if hashes[tests + pair[0]].matches(hashes[pair[1]])}


def embed(stored: list[Image.Image], spec: NetworkSpec, config: IngestConfig) -> np.ndarray:
    network, parts = open_network(spec), []
    for start in range(0, len(stored), spec.batch_size):
        some = stored[start : start + spec.batch_size]
        pixels = [read_pixels(encode(image, config), "image", network.preprocessing) for image in some]
        parts.append(network.features(np.stack(pixels)))
    return rounded_vectors(np.concatenate(parts))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR")
    parser.add_argument("--test", type=Path, help="folder of test images (default: DIR/test)")
    parser.add_argument("--train", type=Path, help="folder of training images (default: DIR/train)")
    parser.add_argument("--limit", type=int, default=10_000, help="images of each folder, at most")
    parser.add_argument("--altered", type=int, default=108, help="test images that are altered")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--network", default="tf_efficientnet_lite0")
    parser.add_argument("--network-size", type=int, default=96)
    parser.add_argument(
        "--crop-resistant", type=int, default=0, help="copies for imagehash.crop_resistant_hash"
    )
    given = parser.parse_args()
    if not given.folder and not (given.test and given.train):
        parser.error("give DIR, or --test and --train")
    return given


def main() -> None:
    """Recall of each alteration, and false pairs, by method."""
    given = arguments()
    test, train = (images_below(path or given.folder / name)[: given.limit]
                   for path, name in ((given.test, "test"), (given.train, "train")))  # fmt: skip
    config = IngestConfig(size=given.size, format="png" if given.size < 64 else "jpeg")
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(test))[: given.altered])
    opened = {i: Image.open(test[i]).convert("RGB") for i in chosen.tolist()}
    copies = [
        as_stored(alter(opened[i], np.random.default_rng([number, i])), config)
        for number, alter in enumerate(ALTERED.values())
        for i in chosen.tolist()
    ]
    stored = [as_stored(Image.open(path).convert("RGB"), config) for path in [*test, *train]] + copies
    spec = NetworkSpec(given.network, given.weights, files.sha256(given.weights), given.network_size, "exact",
                       None, None, None, 32, "float32")  # fmt: skip
    times = [time.process_time()]
    hashed = by_hash(stored, len(test))
    times.append(time.process_time())
    vectors = embed(stored, spec, config)
    times.append(time.process_time())
    matched, candidates = by_features(vectors, stored, len(test))
    times.append(time.process_time())
    methods = {"hashes": hashed, "features": matched, "both": hashed | matched}
    rows = []
    for number, name in enumerate(ALTERED):
        start = len(train) + number * len(chosen)
        own = {(start + k, i) for k, i in enumerate(chosen.tolist())}
        rows.append((name, *(f"{len(own & pairs)} of {len(own)}" for pairs in methods.values())))
    is_false = {
        name: sorted(
            pair
            for pair in pairs
            if pair[0] < len(train) or pair[1] != chosen[(pair[0] - len(train)) % len(chosen)]
        )
        for name, pairs in methods.items()
    }
    rows.append(("false or real pairs, listed below", *(str(len(pairs)) for pairs in is_false.values())))
    print(
        f"{len(test):,} test, {len(train):,} training, {len(copies):,} altered images; {candidates:,} candidate pairs"
    )
    print(markdown_table(("alteration", *methods), rows))
    count = len(stored)
    for name, seconds in zip(("hashes", "features", "candidates and matching"), np.diff(times), strict=True):
        print(f"{name}: {1000 * seconds / count:.2f} ms of CPU time per image, {seconds:.1f} s")
    for train_row, test_row in is_false["both"][:50]:
        what = train[train_row].name if train_row < len(train) else f"altered {train_row - len(train)}"
        print(f"pair: {what} {test[test_row].name}")
    if given.crop_resistant:
        peer(stored, len(test), len(train), chosen, given.crop_resistant, vectors)


def peer(
    stored: list[Image.Image], tests: int, trainings: int, chosen: np.ndarray, count: int, vectors: np.ndarray
) -> None:
    """Recall of crop_resistant_hash on the first copies of each alteration, and its false pairs among candidates."""
    start = time.process_time()
    rows = []
    for number, name in enumerate(ALTERED):
        first = trainings + number * len(chosen)
        own = {(first + k, int(chosen[k])) for k in range(count)}
        rows.append((name, f"{len(by_crop_resistant_hash(stored, tests, own))} of {count}"))
    i, j = nearest_tests(vectors[tests : tests + 4 * count], vectors[:tests], 5, 0.5)
    candidates = set(zip(i.tolist(), j.tolist(), strict=True))
    false = by_crop_resistant_hash(stored, tests, candidates)
    rows.append(("false pairs", f"{len(false)} of {len(candidates)} candidates"))
    print(markdown_table(("alteration", "imagehash.crop_resistant_hash"), rows))
    print(f"{time.process_time() - start:.1f} s of CPU time")


if __name__ == "__main__":
    main()
