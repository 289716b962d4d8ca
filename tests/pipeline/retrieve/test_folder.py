"""Lists of the images of a folder: each file once, classes by folder, and a stable test share."""

import csv
import errno
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import DataError, UsageError
from pipeline.config import load_config
from pipeline.retrieve import search
from pipeline.retrieve.folder import build_yaml, list_folder


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


def test_every_file_is_in_one_list(photos: Path) -> None:
    output, test = photos.parent / "clean.csv", photos.parent / "test.csv"
    reported = list_folder(str(photos), str(output), str(test), 0.3, 0)
    clean, held = rows(output), rows(test)
    assert reported["classes"] == ["ant", "bee", "sea cow"]
    assert (reported["rows"], reported["test_rows"], reported["not_listed"]) == (len(clean), len(held), {})
    paths = [row["path"] for row in clean + held]
    there = {str(p.relative_to(photos.parent)) for p in photos.rglob("*.jpg")}
    assert len(paths) == len(set(paths)) == 16
    assert set(paths) == there
    assert {row["image_id"]: row["class_name"] for row in clean + held}["photos-sea cow-0"] == "sea cow"
    counts = {name: sum(row["class_name"] == name for row in held) for name in reported["classes"]}
    assert counts == {"ant": 3, "bee": 2, "sea cow": 0}  # a class keeps at least one image


def test_if_the_second_list_cannot_be_written_the_command_can_be_repeated(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first list without the second one would be in the way of the next try."""
    output, test = photos.parent / "clean.csv", photos.parent / "test.csv"
    write_rows = search.write_rows

    def disk_full(file, rows, path, columns):
        if path == str(test):
            raise OSError(errno.ENOSPC, "No space left on device")
        write_rows(file, rows, path, columns)

    monkeypatch.setattr(search, "write_rows", disk_full)
    with pytest.raises(DataError, match="No space left"):
        list_folder(str(photos), str(output), str(test), 0.3, 0)
    assert [path.name for path in photos.parent.iterdir()] == ["photos"]
    monkeypatch.undo()
    list_folder(str(photos), str(output), str(test), 0.3, 0)
    assert len(rows(output)) + len(rows(test)) == 16


def test_the_test_share_is_stable_when_images_are_added(photos: Path) -> None:
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


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        (["ant/a.jpg", "ant/a.png", "ant/b.jpg"], {"p-ant-a.jpg", "p-ant-a.png", "p-ant-b"}),
        (["ant/a.jpg", "ant/a.json", "ant/a.txt", "ant/Thumbs.db", "ant/.DS_Store"], {"p-ant-a"}),
        (["ant/a.JPG", "ant/a.jpeg", "bee/a.jpg"], {"p-ant-a.JPG", "p-ant-a.jpeg", "p-bee-a"}),
        (["ant-x/1.jpg", "ant/x-1.png"], {"p-ant-x-1.jpg", "p-ant-x-1.png"}),
        (["ant/a.jpg", "ant/a.png", "ant/a.jpg.png"], {"p-ant-a.jpg", "p-ant-a.png", "p-ant-a.jpg.png"}),
        (["ant/1.tiff", "ant/2.heic", "ant/3"], {"p-ant-1", "p-ant-2", "p-ant-3"}),
        (["ant/e\u0301.jpg"], {"p-ant-é"}),
    ],
)
def test_each_image_is_listed_once_with_its_own_id(tmp_path: Path, files: list[str], ids: set[str]) -> None:
    for file in files:
        (tmp_path / "p" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / file).write_bytes(b"\xff\xd8\xff" if "." not in file.split("/")[1] else b"x")
    reported = list_folder(str(tmp_path / "p"), str(tmp_path / "clean.csv"), None, 0.2, 0)
    assert {row["image_id"] for row in rows(tmp_path / "clean.csv")} == ids
    visible = [file for file in files if "/." not in file]
    assert reported["rows"] + sum(reported["not_listed"].values()) == len(visible)


def test_all_problems_are_reported_in_one_run(photos: Path) -> None:
    output = photos.parent / "clean.csv"
    (photos / "ant" / "line\nbreak.jpg").touch()
    (photos / "ant" / f"{'x' * 210}.jpg").touch()
    (photos / "ant" / "back\\slash.jpg").touch()
    (photos / "nan").mkdir()
    (photos / "nan" / "1.jpg").touch()
    for name in ("u-v/w.jpg", "u/v-w.jpg"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).touch()
    with pytest.raises(DataError) as caught:
        list_folder(str(photos), str(output), None, 0.2, 0)
    text = str(caught.value)
    assert "5 invalid names; rename these:" in text
    for part in (
        "'photos/ant/line\\nbreak.jpg': the name has control characters",
        "longer than 200 bytes",
        "backslash",
        "folder 'nan' is not a valid class name: means a missing value",
        "'photos/u-v/w.jpg' and 'photos/u/v-w.jpg' would both have the id 'photos-u-v-w.jpg'",
    ):
        assert part in text
    assert not output.exists()


def links(tmp_path: Path) -> Path:
    for name in ("photos/ant/1.jpg", "more/2.jpg", "more/below/3.jpg", "photos/bee/4.jpg"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).touch()
    (tmp_path / "secret.jpg").touch()
    ant = tmp_path / "mine" / "photos" / "ant"
    (ant / "inside.jpg").symlink_to("../bee/4.jpg")
    (ant / "out.jpg").symlink_to("../../more/2.jpg")
    (ant / "far.jpg").symlink_to(tmp_path / "secret.jpg")
    (ant / "broken.jpg").symlink_to("nowhere.jpg")
    (ant / "folder").symlink_to("../../more/below")
    (ant / "loop").symlink_to("..")
    (ant / "itself.jpg").symlink_to("itself.jpg")
    return tmp_path / "mine"


@pytest.mark.parametrize(
    ("follow", "listed", "not_listed"),
    [
        (False, {"1", "inside", "4"}, {"broken links": 2, "links out of the folder": 2, "links to folders": 2}),
        (True, {"1", "inside", "4", "out", "3"}, {"broken links": 2, "links out of the folder": 1}),
    ],
)  # fmt: skip
def test_links_are_followed_within_the_folder_or_if_asked_to_the_folder_of_the_lists(
    tmp_path: Path, follow: bool, listed: set[str], not_listed: dict[str, int]
) -> None:
    mine = links(tmp_path)
    reported = list_folder(str(mine / "photos"), str(mine / "clean.csv"), None, 0.2, 0, follow)
    assert listed <= {Path(row["path"]).stem for row in rows(mine / "clean.csv")}
    assert {Path(row["path"]).stem for row in rows(mine / "clean.csv")}.isdisjoint({"far", "broken"})
    assert reported["not_listed"] == not_listed


@pytest.mark.parametrize(
    ("folders", "clean", "test"),
    [
        (("train", "test"), {"train"}, {"test"}),
        (("train", "val"), {"train"}, {"val"}),
        (("Training", "Validation", "Test"), {"Training", "Validation"}, {"Test"}),
    ],
)
def test_folders_of_train_and_test_hold_the_classes(
    tmp_path: Path, folders: tuple[str, ...], clean: set[str], test: set[str]
) -> None:
    for name in folders:
        for i in range(3):
            for class_name in ("ant", "bee"):
                path = tmp_path / "p" / name / class_name / f"{i}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    reported = list_folder(str(tmp_path / "p"), str(tmp_path / "c.csv"), str(tmp_path / "t.csv"), 0.2, 0)
    assert reported["classes"] == ["ant", "bee"]
    for file, expected in (("c.csv", clean), ("t.csv", test)):
        assert {row["path"].split("/")[1] for row in rows(tmp_path / file)} == expected


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "car"):
        (tmp_path / "p" / name / "x").mkdir(parents=True)
        (tmp_path / "p" / name / "x" / "1.jpg").touch()
    reported = list_folder(str(tmp_path / "p"), str(tmp_path / "c.csv"), None, 0.2, 0)
    assert reported["classes"] == ["car", "train"]


@pytest.mark.parametrize("names", [("yes", "no"), ("1", "2"), ("a, b", "c: d"), ("#x", "é'\""), ("-", "[x]")])
def test_the_printed_configuration_can_be_pasted(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / "mine" / "p" / name).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "mine" / "p" / name / f"{i}.jpg").touch()
    output, test = str(tmp_path / "mine" / "clean.csv"), str(tmp_path / "mine" / "test.csv")
    reported = list_folder(str(tmp_path / "mine" / "p"), output, test, 0.5, 0)
    text = build_yaml(reported["classes"], output, test)
    (tmp_path / "build.yaml").write_text(text + "web: [web.csv]\nvotes: [votes.csv]\n", encoding="utf-8")
    config = load_config(str(tmp_path / "build.yaml"), [])
    assert (config.source, list(config.classes)) == (str(tmp_path / "mine"), reported["classes"])
    assert (config.clean, config.test) == (("clean.csv",), ("test.csv",))


@pytest.mark.parametrize(
    ("output", "test", "share", "reported"),
    [
        ("../elsewhere/clean.csv", None, 0.2, "beside or above the images"),
        ("clean.txt", None, 0.2, "ends in .csv"),
        ("clean.csv", "other/test.csv", 0.2, "write both lists to one folder"),
        ("clean.csv", "test.csv", 1.0, "between 0 and 1"),
        ("there.csv", None, 0.2, "the file exists"),
        ("clean.csv", "photos/../clean.csv", 0.2, "the same file as --output; choose another name"),
    ],
)
def test_wrong_usage_is_reported(
    photos: Path, output: str, test: str | None, share: float, reported: str
) -> None:
    base = photos.parent
    (base / "there.csv").touch()
    with pytest.raises(UsageError, match=reported):
        list_folder(str(photos), str(base / output), str(base / test) if test else None, share, 0)
    assert not (base / "clean.csv").exists()


def test_missing_and_empty_folders_are_reported(photos: Path) -> None:
    output = str(photos.parent / "clean.csv")
    with pytest.raises(DataError, match="No such file"):
        list_folder(str(photos / "none"), output, None, 0.2, 0)
    (photos.parent / "empty").mkdir()
    with pytest.raises(DataError, match="no images in subfolders"):
        list_folder(str(photos.parent / "empty"), output, None, 0.2, 0)


def test_the_verb_reports_the_lists(photos: Path) -> None:
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
    assert done.stdout == (
        f"16 rows in {photos.parent}/clean.csv\n\nfor build.yaml:\nsource: {photos.parent}\n"
        "classes: [ant, bee, sea cow]\nclean: [clean.csv]\n"
        "if workers are to check these images, write 'web' instead of 'clean'\n"
    )
