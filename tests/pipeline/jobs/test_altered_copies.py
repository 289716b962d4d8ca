"""A red set that is made of altered test images: found with features, and not called free of leaks without them."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from pipeline.__main__ import main
from tests.pipeline.dedupe.samples import photograph

pytest.importorskip("timm")
from tests.pipeline.embed.conftest import NETWORK, save_weights

CLASSES = ("ant", "bee")
CLEAN, TEST = 10, 4  # images of each class


def altered(image: Image.Image, index: int) -> Image.Image:
    cropped = image.crop((0, 26, 200, 224))  # 11 % of both sides
    return [
        cropped,
        ImageOps.mirror(cropped),
        ImageOps.expand(image, 9, "white"),
        image.crop((0, 0, 224, 198)),
    ][index]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a world whose web images are all altered test images; return its folder."""
    folder = tmp_path_factory.mktemp("altered")
    lists: dict[str, list] = {"clean": [], "test": [], "web": []}
    for number, name in enumerate(CLASSES):
        for i in range(CLEAN + TEST):
            image = photograph(100 * number + i)
            source = "clean" if i < CLEAN else "test"
            shown = [(f"{source}-{name}-{i}", image, source)]
            if source == "test":
                shown.append((f"web-{name}-{i}", altered(image, i - CLEAN), "web"))
            for image_id, each, of in shown:
                each.save(folder / f"{image_id}.png")
                lists[of].append((image_id, CLASSES[1 - number] if of == "web" else name, f"{image_id}.png"))
    for source, rows in lists.items():
        write(folder / f"{source}.csv", ("image_id", "class_name", "path"), rows)
    votes = [(image_id, name, f"w{k}", "no") for image_id, name, _ in lists["web"] for k in range(3)]
    write(folder / "votes.csv", ("image_id", "class_name", "worker_id", "answer"), votes)
    (folder / "build.yaml").write_text(
        f"source: {folder}\nclasses: [ant, bee]\nclean: [clean.csv]\ntest: [test.csv]\nweb: [web.csv]\n"
        "votes: [votes.csv]\nnoise: {levels: [0, 0.2]}\n"
    )
    return folder


def write(path: Path, columns: tuple, rows: list) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def build(world: Path, output: Path, *flags: str) -> int:
    return main(["build", "--config", str(world / "build.yaml"), "--output", str(output), *flags])


def duplicates(output: Path) -> list[dict]:
    return pq.read_table(output / "dedupe" / "duplicates").to_pylist()


def test_a_set_of_altered_test_images_is_not_called_free_of_leaks(world, tmp_path, capsys):
    assert build(world, tmp_path) == 0
    assert not [row for row in duplicates(tmp_path) if row["reason"] == "leak"]
    about = json.loads((tmp_path / "dataset" / "_manifest.json").read_text())["about"]
    limits = "crops, borders and rotated copies were not looked for"
    assert limits in about["leaks"]["search"]
    assert limits in (tmp_path / "dataset" / "README.md").read_text()
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "dataset")]) == 0
    assert f"0 leaks within 8 of 64 bits (mirrored copies included); {limits}" in capsys.readouterr().out
    assert main(["report", str(tmp_path)]) == 0
    assert limits in (tmp_path / "report.html").read_text()


def test_altered_test_images_are_leaks_where_there_are_features(world, tmp_path, capsys):
    weights = tmp_path / "tiny.safetensors"
    save_weights(weights)
    flags = [
        f"--set=embed.network={NETWORK}", f"--set=embed.weights={weights}", "--set=dedupe.neighbors=8",
        "--set=dedupe.min_similarity=-1", "--set=noise.levels=[0]",
    ]  # fmt: skip
    assert build(world, tmp_path, *flags) == 0
    leaks = [row for row in duplicates(tmp_path) if row["reason"] == "leak"]
    expected = {f"web-{name}-{i}": f"test-{name}-{i}" for name in CLASSES for i in range(CLEAN, CLEAN + TEST)}
    assert {row["image_id"]: row["keeper_id"] for row in leaks} == expected
    assert all(row["removed"] and row["witness"] == "embedding" and row["match"] >= 0.75 for row in leaks)
    orientations = {row["image_id"]: row["orientation"] for row in leaks}
    assert {i for i, o in orientations.items() if o == "mirrored"} == {f"web-{name}-11" for name in CLASSES}
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "dataset")]) == 0
    assert "the build found 8 altered copies of test images by features" in capsys.readouterr().out
    first = (tmp_path / "dedupe" / "duplicates" / "_manifest.json").read_text()
    assert build(world, tmp_path, *flags, "--force") == 0
    assert (tmp_path / "dedupe" / "duplicates" / "_manifest.json").read_text() == first
    assert build(world, tmp_path, *flags) == 0
    assert "dedupe    up to date" in capsys.readouterr().out
