"""A small set with known truth: pictures, lists and votes in the form that users bring."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

ONE_PROCESS = "--direct_num_workers=1"
CLASSES = ("ant", "bee", "cow")
CLEAN, TEST, WEB = 20, 6, 45  # of each class
RIGHT = 15  # of the web images of each class, the rest are wrong


@dataclass(frozen=True)
class World:
    """Where a small set lies, and what is planted in it."""

    folder: Path
    config: Path
    leak: str = "web-ant-0"  # a copy of test-ant-0
    double: str = "web-bee-1"  # the same file as web-bee-0
    tie: str = "web-cow-0"  # its votes do not settle it


def picture(name: str) -> Image.Image:
    """A picture like no other: smooth blobs drawn from the name."""
    rng = np.random.default_rng(list(name.encode()))
    blobs = Image.fromarray(rng.integers(0, 256, (7, 7, 3), np.uint8).astype(np.uint8))
    return blobs.resize((40, 40), Image.Resampling.BICUBIC)


def write_world(folder: Path) -> World:
    """Write the small set below `folder`."""
    world = World(folder, folder / "build.yaml")
    images = folder / "images"
    images.mkdir(parents=True)
    lists: dict[str, list[dict[str, object]]] = {"clean": [], "test": [], "web": []}
    votes: list[dict[str, object]] = []
    for source, count in (("test", TEST), ("clean", CLEAN), ("web", WEB)):
        for name in CLASSES:
            for i in range(count):
                image_id = f"{source}-{name}-{i}"
                shown = {world.leak: "test-ant-0", world.double: "web-bee-0"}.get(image_id, image_id)
                picture(shown).save(images / f"{image_id}.png")
                row: dict[str, object] = {
                    "image_id": image_id,
                    "class_name": name,
                    "path": f"images/{image_id}.png",
                }
                if source == "web":
                    row |= {"method": "image" if i % 5 == 0 else "text", "rank": i}
                    row |= {
                        "license": "CC BY 4.0" if i % 2 else "",
                        "creator": f"artist {i}",
                        "title": f"No. {i}",
                    }
                    right = "yes" if i < RIGHT else "no"
                    answers = ["yes", "no", "unsure"] if image_id == world.tie else [right, right, "no"]
                    votes += [
                        {
                            "image_id": image_id,
                            "class_name": name,
                            "worker_id": f"w{k}",
                            "answer": a,
                            "seconds": 3 + k,
                        }
                        for k, a in enumerate(answers)
                    ]
                lists[source].append(row)
    for source, rows in lists.items():
        write_csv(folder / f"{source}.csv", rows)
    write_csv(folder / "votes.csv", votes)
    config = {
        "source": str(folder),
        "classes": list(CLASSES),
        "clean": ["clean.csv"],
        "test": ["test.csv"],
        "web": ["web.csv"],
        "votes": ["votes.csv"],
        "ingest": {"size": 32, "format": "png"},
        "noise": {"levels": [0, 0.2, 0.5], "colors": ["red", "red-text", "blue", "blue-asymmetric"]},
        "shards": {"max_rows": 16},
    }
    world.config.write_text(yaml.safe_dump(config))
    return world


def build(world: World, output: Path, *more: str) -> int:
    """Build the small set in this process, and return the exit code."""
    from pipeline.__main__ import main  # not needed by those who only write the set

    return main(["build", "--config", str(world.config), "--output", str(output), ONE_PROCESS, *more])


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    """Write rows that all have the same keys."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
