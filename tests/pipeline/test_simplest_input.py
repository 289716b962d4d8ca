"""The way of the README with nothing but two folders of images and votes, and every setting at its default."""

import csv
from pathlib import Path

import pytest

from pipeline.__main__ import main
from tests.pipeline.small_world import ONE_PROCESS, picture

CLASSES = ("ant", "bee")


def test_folders_and_votes_become_verified_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, count in (("photos", 12), ("found", 10)):
        for name in CLASSES:
            place = Path("mine", folder, name)
            place.mkdir(parents=True)
            for i in range(count):
                picture(f"{folder}-{name}-{i}").save(place / f"{i}.png")
    assert main(["list-folder", "mine/found", "--output", "mine/web.csv"]) == 0
    capsys.readouterr()
    assert main(["list-folder", "mine/photos", "--output", "mine/clean.csv", "--test", "mine/test.csv"]) == 0
    printed = capsys.readouterr().out.partition("for build.yaml:\n")[2]
    Path("mine/build.yaml").write_text(printed + "web: [web.csv]\nvotes: [votes.csv]\n")
    with Path("mine/web.csv").open(newline="") as file:
        questions = list(csv.DictReader(file))
    with Path("mine/votes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "class_name", "worker_id", "answer"])
        for number, row in enumerate(questions):
            answer = "no" if number % 2 else "yes"
            writer.writerows(
                [row["image_id"], row["class_name"], f"w{worker}", answer] for worker in range(3)
            )
    build = ["build", "--config", "mine/build.yaml", "--output", "out", ONE_PROCESS]
    assert main(build) == 0
    assert "too few wrong images for the noise levels 0.6, 0.8" in capsys.readouterr().out
    assert main(["verify", "out/dataset"]) == 0
    sets = {path.name for path in Path("out/dataset").iterdir() if path.is_dir()}
    assert {"red-0.50", "blue-0.50", "test"} <= sets
    assert not {name for name in sets if "text" in name or name.endswith(("0.60", "0.80"))}
