"""A small benchmark in the released format, with images in the folder layouts in circulation."""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.pipeline.small_world import CLASSES, picture

LEVELS = ("0.0", "0.05", "0.1", "0.15", "0.2", "0.3", "0.4", "0.5", "0.6", "0.8")
CLEAN, TEST, RIGHT, WRONG = 10, 2, 2, 9  # of each class


@dataclass
class Released:
    """The texts of an archive by name, the verdicts in it, and the splits as (id, class) lists."""

    texts: dict[str, str] = field(default_factory=dict)
    splits: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    is_right: dict[str, bool] = field(default_factory=dict)
    clean_class: dict[str, int] = field(default_factory=dict)
    test_ids: list[str] = field(default_factory=list)


def clean_id(label, i):
    return f"n{label:08d}{i:08d}"


def web_id(label, i):
    return f"{label:08x}{i:08x}"


def released(set_folder="mini-imagenet", annotations="mini-imagenet-annotations.json"):
    made = Released()
    items, clean = [], []
    for label in range(len(CLASSES)):
        clean += [(clean_id(label, i), label) for i in range(CLEAN)]
        for i in range(RIGHT + WRONG):
            made.is_right[web_id(label, i)] = i < RIGHT
            items.append([
                {
                    "image/uri": f"https://example.org/{web_id(label, i)}.jpg",
                    "image/id": web_id(label, i),
                    "image/class/label": label,
                    "image/class/label/is_clean": int(i < RIGHT),
                }
            ])  # fmt: skip
    made.clean_class = dict(clean)
    for level in LEVELS:
        count = round(float(level) * CLEAN)
        # The last of each class give way: to wrong web images (red), or to the next label (blue).
        made.splits[f"red_noise_nl_{level}"] = [
            (
                web_id(label, RIGHT + CLEAN - 1 - i)
                if (i := int(image_id[9:])) >= CLEAN - count
                else image_id,
                label,
            )
            for image_id, label in clean
        ]
        made.splits[f"blue_noise_nl_{level}"] = [
            (image_id, (label + 1) % len(CLASSES) if int(image_id[9:]) >= CLEAN - count else label)
            for image_id, label in clean
        ]
    tests = [
        (f"ILSVRC2012_val_{label:04d}{i:04d}", label) for label in range(len(CLASSES)) for i in range(TEST)
    ]
    made.test_ids = [image_id for image_id, _ in tests]
    made.texts[annotations] = json.dumps(
        {"name": "image-search noisy labels", "version": "1.0", "data": items}
    )
    made.texts[f"{set_folder}/class_names.txt"] = "\n".join(CLASSES)
    for name, pairs in {**made.splits, "clean_validation": tests}.items():
        made.texts[f"{set_folder}/split/{name}"] = "\n".join(f"{i}.jpg {label}" for i, label in pairs)
    return made


def write_zip(made: Released, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in made.texts.items():
            archive.writestr(f"dataset_no_images/{name}", text)
    return path


def write_folder(made: Released, path: Path) -> Path:
    for name, text in made.texts.items():
        file = path / "dataset_no_images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return path


def write_images(made: Released, folder: Path) -> Path:
    """all_images/ with clean images, training/…/ with web images, validation/<class>/ with test images."""
    places = dict.fromkeys(made.clean_class, "all_images")
    places |= {image_id: f"training/red_noise_nl_0.8/{int(image_id[:8], 16)}" for image_id in made.is_right}
    places |= {image_id: f"validation/{int(image_id[-8:-4])}" for image_id in made.test_ids}
    for image_id, place in places.items():
        (folder / place).mkdir(parents=True, exist_ok=True)
        picture(image_id).save(folder / place / f"{image_id}.jpg", quality=95)
    return folder
