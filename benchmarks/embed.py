"""Measure the stage embed next to a plain loop of timm: images per second of CPU time, and the difference of the features.

    python -m benchmarks.embed --images 512 --network tf_efficientnet_lite0 --size 96
    python -m benchmarks.embed --weights FILE.safetensors --photos FOLDER

Without --weights the network is random, without --photos images are drawn. The loop is the one of timm's documentation: it
opens the same encoded images, applies timm's evaluation transform, and passes batches to the network with one thread. Ours
is the whole command with one worker: loading the network, reading and checking shards, digests, features, writing and committing the table.
"""

import argparse
import csv
import io
import tempfile
import time
from pathlib import Path

import numpy as np
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from benchmarks.rows import record
from pipeline.__main__ import main as pipeline
from pipeline.embed.features import read_features
from pipeline.shards import directory
from schemas.image import IMAGES

CLASSES = ("ant", "bee")


def draw(folder: Path, count: int) -> None:
    """Write `count` smooth JPEG images of 224 pixels."""
    rng = np.random.default_rng(0)
    for index in range(count):
        blobs = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8).astype(np.uint8))
        blobs.resize((224, 224), Image.Resampling.BICUBIC).save(folder / f"{index:06}.jpg", quality=90)


def write_build(folder: Path, photos: Path | None, count: int) -> Path:
    """Write the lists and the configuration of a build of `count` images; return its file."""
    (folder / "images").mkdir()
    if photos:
        found = [
            path for path in sorted(photos.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png")
        ]
        for index, path in enumerate(found[:count]):
            (folder / "images" / f"{index:06}{path.suffix}").write_bytes(path.read_bytes())
    else:
        draw(folder / "images", count)
    paths = sorted((folder / "images").iterdir())
    for name, listed in (("clean", paths[::2]), ("test", paths[1::4]), ("web", paths[3::4])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("image_id", "class_name", "path"))
            writer.writerows(
                (path.stem, CLASSES[i % 2], f"images/{path.name}") for i, path in enumerate(listed)
            )
    config = {"source": str(folder), "classes": list(CLASSES), "votes": []}
    config |= {name: [f"{name}.csv"] for name in ("clean", "test", "web")}
    (folder / "build.yaml").write_text(yaml.safe_dump(config))
    return folder / "build.yaml"


@torch.inference_mode()
def plain_loop(
    encoded: list[bytes], network: str, weights: Path, size: int | None, batch: int
) -> tuple[np.ndarray, float]:
    """Return features float32 [n, C] by timm's own pipeline, and the CPU seconds that it took."""
    torch.set_num_threads(1)
    model = timm.create_model(network, pretrained=False)
    model.load_state_dict(load_file(weights))
    model.reset_classifier(0)
    model.eval()
    data = timm.data.resolve_model_data_config(model)
    if size:
        data["input_size"] = (3, size, size)
    transform = timm.data.create_transform(**data, is_training=False)
    start = time.process_time()
    result = []
    for index in range(0, len(encoded), batch):
        images = [Image.open(io.BytesIO(each)).convert("RGB") for each in encoded[index : index + batch]]
        result.append(model(torch.stack([transform(image) for image in images])).numpy())
    return np.concatenate(result), time.process_time() - start


def main() -> None:
    """Print images per second of both, the ratio, and the largest difference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--network", default="tf_efficientnet_lite0")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--photos", type=Path, help="folder with images (default: drawn ones)")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch-size", type=int, default=32)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        weights = given.weights or folder / "random.safetensors"
        if not given.weights:
            torch.manual_seed(0)
            save_file(timm.create_model(given.network, pretrained=False).state_dict(), weights)
        config, output = write_build(folder, given.photos, given.images), folder / "out"
        command = ["--config", str(config), "--output", str(output), "--direct_num_workers=1"]
        assert pipeline(["ingest", *command]) == 0
        keys = {"weights": weights, "network": given.network, "batch_size": given.batch_size}
        keys |= {"size": given.size} if given.size else {}
        command += [f"--set=embed.{key}={value}" for key, value in keys.items()]
        start = time.process_time()
        assert pipeline(["embed", *command]) == 0
        ours = time.process_time() - start
        features = read_features(str(output / "embed" / "features")).vectors.astype(np.float32)
        images = directory.read_table(str(output / "ingest" / "images"), IMAGES, ["image"])
        encoded = [each["bytes"] for each in images["image"].to_pylist()]
        expected, theirs = plain_loop(encoded, given.network, weights, given.size, given.batch_size)
        count = len(encoded)
        print(
            f"ours {count / ours:,.1f} images/s, plain loop {count / theirs:,.1f} images/s of CPU time, ratio {theirs / ours:.2f}"
        )
        difference = np.abs(features - expected).max() / np.abs(expected).max()
        print(f"largest difference {difference:.1e} of the largest feature")
        record(
            f"embed {given.network}, 1 thread", "images per CPU s", count / ours, "timm loop", count / theirs
        )


if __name__ == "__main__":
    main()
