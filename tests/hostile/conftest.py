"""A tiny build that a test may damage, and a function that runs commands on it."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.__main__ import main

CLASSES = ("ant", "bee", "cow")


@dataclass
class Tiny:
    """Lists and votes as rows, which a test changes before `write`."""

    folder: Path
    lists: dict[str, list[dict[str, object]]]
    config: dict[str, object] = field(default_factory=dict)

    def write(self) -> None:
        for name, rows in self.lists.items():
            columns = list(dict.fromkeys(column for row in rows for column in row))
            with (self.folder / f"{name}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(rows)
        (self.folder / "build.yaml").write_text(yaml.safe_dump(self.config))


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """Return three classes with two clean, one test and two web images each, and three votes per web image."""
    folder = tmp_path / "set"
    folder.mkdir()
    lists: dict[str, list[dict[str, object]]] = {"clean": [], "test": [], "web": [], "votes": []}
    for source, count in (("clean", 2), ("test", 1), ("web", 2)):
        for name in CLASSES:
            for i in range(count):
                image_id = f"{source}-{name}-{i}"
                blobs = np.random.default_rng(list(image_id.encode())).integers(0, 256, (5, 5, 3), np.uint8)
                Image.fromarray(blobs.astype(np.uint8)).resize((16, 16)).save(folder / f"{image_id}.png")
                lists[source].append({"image_id": image_id, "class_name": name, "path": f"{image_id}.png"})
                if source == "web":
                    lists["votes"] += [
                        {"image_id": image_id, "class_name": name, "worker_id": worker, "answer": "no"}
                        for worker in ("w1", "w2", "w3")
                    ]
    config: dict[str, object] = {
        "source": str(folder),
        "classes": list(CLASSES),
        "clean": ["clean.csv"],
        "test": ["test.csv"],
        "web": ["web.csv"],
        "votes": ["votes.csv"],
        "fetch": {"contact": "test@example.org"},
        "ingest": {"size": 16, "resize": "exact", "format": "png"},
        "noise": {"levels": [0, 0.5], "colors": ["red"]},
    }
    return Tiny(folder, lists, config)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command."""

    code: int
    output: str
    error: str

    def counts(self, stage: str) -> dict[str, int]:
        return json.loads(self.output)[stage]


Run = Callable[..., Outcome]


@pytest.fixture
def run(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that writes the build and runs a verb on it in this process."""

    def command(verb: str, *more: str) -> Outcome:
        tiny.write()
        arguments = ["--config", str(tiny.folder / "build.yaml"), "--output", str(tiny.folder.parent / "out")]
        try:
            code = main([verb, *arguments, "--json", "--direct_num_workers=1", *more])
        except SystemExit as stopped:  # argparse
            code = int(str(stopped.code))
        return Outcome(code, *capsys.readouterr())

    return command
