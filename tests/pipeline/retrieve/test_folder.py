"""Lists of pictures that one has: every file once, classes by folder, a held-out share that does not move."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.retrieve.folder import list_folder
from schemas.errors import DataError, UsageError


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, count in (("ant", 10), ("bee", 5), ("sea cow", 1)):
        for i in range(count):
            path = tmp_path / "photos" / name / ("more" if i % 2 else "") / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"picture")
    (tmp_path / "photos" / ".git").mkdir()
    (tmp_path / "photos" / ".git" / "x").touch()
    (tmp_path / "photos" / "ant" / ".DS_Store").touch()
    return tmp_path / "photos"


def test_every_file_stands_in_one_of_the_lists(photos: Path) -> None:
    output, test = photos.parent / "clean.csv", photos.parent / "test.csv"
    told = list_folder(str(photos), str(output), str(test), 0.3, 0)
    clean, held = rows(output), rows(test)
    assert told == {"classes": ["ant", "bee", "sea cow"], "rows": len(clean), "test_rows": len(held)}
    paths = [row["path"] for row in clean + held]
    there = {str(p.relative_to(photos.parent)) for p in photos.rglob("*.jpg")}
    assert len(paths) == len(set(paths)) == 16
    assert set(paths) == there
    assert {row["image_id"]: row["class_name"] for row in clean + held}["photos-sea cow-0"] == "sea cow"
    counts = {name: sum(row["class_name"] == name for row in held) for name in told["classes"]}
    assert counts == {"ant": 3, "bee": 2, "sea cow": 0}  # a class keeps at least one picture


def test_what_is_held_out_stays_so_when_pictures_are_added(photos: Path) -> None:
    def held(name: str, seed: int = 0) -> set[str]:
        output, test = photos.parent / f"{name}.csv", photos.parent / f"{name}-test.csv"
        list_folder(str(photos), str(output), str(test), 0.5, seed)
        return {row["image_id"] for row in rows(test)}

    before = held("before")
    assert held("again") == before
    assert held("seed", 1) != before
    for i in range(100, 110):
        (photos / "ant" / f"{i}.jpg").touch()
    after = held("after")
    assert len({one for one in before if "-ant-" in one} & after) >= 3


def test_two_pictures_of_one_name_are_told(photos: Path) -> None:
    (photos / "ant" / "0.png").touch()
    with pytest.raises(
        DataError, match=r"ant/0\.png.* and .*ant/0\.jpg would both be called 'photos-ant-0'; rename one"
    ):
        list_folder(str(photos), str(photos.parent / "clean.csv"), None, 0.2, 0)


@pytest.mark.parametrize(
    ("output", "test", "share", "told"),
    [
        ("../elsewhere/clean.csv", None, 0.2, "the lists lie beside or above the pictures"),
        ("clean.txt", None, 0.2, "ends in .csv"),
        ("clean.csv", "other/test.csv", 0.2, "both lists lie in one folder"),
        ("clean.csv", "test.csv", 1.0, "between 0 and 1"),
        ("there.csv", None, 0.2, "is there already"),
    ],
)
def test_wrong_usage_is_told(photos: Path, output: str, test: str | None, share: float, told: str) -> None:
    base = photos.parent
    (base / "there.csv").touch()
    with pytest.raises(UsageError, match=told):
        list_folder(str(photos), str(base / output), str(base / test) if test else None, share, 0)
    assert not (base / "clean.csv").exists()


def test_bad_names_and_folders_are_told(photos: Path) -> None:
    output = str(photos.parent / "clean.csv")
    with pytest.raises(DataError, match="No such file"):
        list_folder(str(photos / "none"), output, None, 0.2, 0)
    (photos / "ant" / "line\nbreak.jpg").touch()
    with pytest.raises(DataError, match="control characters"):
        list_folder(str(photos), output, None, 0.2, 0)
    (photos.parent / "empty").mkdir()
    with pytest.raises(DataError, match="a class is a subfolder"):
        list_folder(str(photos.parent / "empty"), output, None, 0.2, 0)


def test_the_verb_says_what_it_wrote(photos: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pipeline",
            "list-folder",
            str(photos),
            "--output",
            str(photos.parent / "clean.csv"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"16 rows in {photos.parent}/clean.csv, classes: [ant, bee, sea cow]\n"
