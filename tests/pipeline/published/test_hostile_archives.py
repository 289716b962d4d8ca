"""Malformed and malicious archives: errors name the location, and no member escapes the archive."""

import csv
import json
import re
import zipfile

import numpy as np
import pytest
import torch

from common.errors import DataError
from pipeline.__main__ import main
from pipeline.published import archive as reading
from pipeline.published import problems
from pipeline.published.cifar_n_files import read_choices
from pipeline.published.release import read_release
from tests.pipeline.published import released as release
from training.methods.mentornet_pd import SHAPES, MentorNetPD


@pytest.fixture
def imported(tmp_path, capsys):
    """Import an archive from raw members (name, bytes); returns (exit code, what was printed as error)."""
    made = release.released()
    (tmp_path / "images").mkdir()

    def run(changes, more=()):
        members = {f"dataset_no_images/{name}": text.encode() for name, text in made.texts.items()}
        members |= {f"dataset_no_images/{name}": data for name, data in changes.items()}
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in [*members.items(), *more]:
                if data is not None:
                    file.writestr(name, data)
        code = main(
            ["import-cnwl", str(tmp_path / "a.zip"), "--images", str(tmp_path / "images"),
             "--output", str(tmp_path / "lists")]
        )  # fmt: skip
        return code, capsys.readouterr().err

    return run


ANNOTATIONS = "mini-imagenet-annotations.json"
SPLIT = "mini-imagenet/split/red_noise_nl_0.2"


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({ANNOTATIONS: b"[1, 2]"}, "no annotations"),
        ({ANNOTATIONS: b'{"data": 3}'}, "'data' is not a list"),
        # A RecursionError, or from Python 3.14 on, which allows more depth, a JSONDecodeError.
        ({ANNOTATIONS: b'{"data": ' + (b"[" + b" " * 40) * 5_000}, "no annotations ("),
        ({ANNOTATIONS: b'{"data": [' + b"[]," * 100_000 + b"[]]}"}, "brackets and 100000 commas"),
        ({ANNOTATIONS: b'{"data": ["' + b'a","' * 100_000 + b'"]}'}, "100000 commas in 400014 characters"),
        ({ANNOTATIONS: b" " * (8 << 20)}, "mini-imagenet-annotations.json: more than 1"),
        ({SPLIT: b"\n" * (8 << 20)}, "red_noise_nl_0.2: more than 1"),
        ({ANNOTATIONS: None}, "contains no mini-imagenet-annotations.json"),
        ({SPLIT: b"a.jpg 0\nb.jpg 1\n\xff\xfe.jpg 2"}, "red_noise_nl_0.2, line 3: not UTF-8 text"),
        ({"mini-imagenet/class_names.txt": b"ant\nbee\nant\n"}, "line 3: 'ant' is also in line 1"),
        ({"mini-imagenet/class_names.txt": b"ant\n\nbee\n"}, "line 2: '' is not a class name"),
        ({"mini-imagenet/class_names.txt": None}, "class_names.txt: no such file in the archive"),
        ({"mini-imagenet/split/clean_validation": None}, "clean_validation: no such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(imported, changes, reported):
    code, text = imported(changes)
    assert code == 1
    assert reported in text
    assert "Traceback" not in text


def test_members_that_lead_out_are_never_followed(imported, tmp_path):
    outside = [("dataset_no_images/../../escaped.txt", b"x"), ("/tmp/escaped-absolute.txt", b"x")]
    code, text = imported({}, outside)
    assert "no clean image found among 0 files" in text
    assert code == 1
    assert not list(tmp_path.parent.glob("escaped*"))


def test_a_member_that_unpacks_to_too_much_is_refused(imported, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 100_000)
    code, text = imported({SPLIT: b"a" * 200_000})
    assert code == 1
    assert "red_noise_nl_0.2: more than 100000 bytes" in text


def test_many_small_members_are_read_up_to_a_limit_in_all(imported):
    code, text = imported(
        {f"mini-imagenet/split/red_noise_nl_0.{n:04d}": b"\n" * (1 << 19) for n in range(9)}
    )
    assert code == 1
    assert "which is too much for an archive of this size" in text


def test_of_each_kind_of_problem_the_first_are_kept_and_all_are_counted(
    imported, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(problems, "KEPT", 5)
    release.write_images(release.released(), tmp_path / "images")
    code, _ = imported({SPLIT: b"=x\n" * 1000})
    assert code == 0
    with (tmp_path / "lists" / "problems.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "malformed_line"]
    assert [row["detail"] for row in rows] == ["'=x"] * 5
    counted = problems.Problems()
    for _ in range(1000):
        counted.add("malformed_line", "x")
    assert counted.counts() == {"malformed_line": 1000}


def test_two_members_of_one_name_are_refused(imported):
    with pytest.warns(UserWarning, match="Duplicate name"):
        code, text = imported({}, [(f"dataset_no_images/{SPLIT}", b"a.jpg 0")])
    assert code == 1
    assert "two members are named" in text


@pytest.mark.parametrize(
    ("content", "reported"),
    [(b"not a zip", "not a zip file"), (b"", "not a zip file"), (None, "no such file or folder")],
)
def test_what_is_no_archive_is_reported(tmp_path, capsys, content, reported):
    if content is not None:
        (tmp_path / "a.zip").write_bytes(content)
    code = main(
        ["import-cnwl", str(tmp_path / "a.zip"), "--images", str(tmp_path), "--output", str(tmp_path / "o")]
    )
    assert code == 1
    assert reported in capsys.readouterr().err


def test_a_damaged_member_is_reported(imported, tmp_path, capsys):
    imported({})
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[data.index(b"mini-imagenet-annotations.json") + 60] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(data)
    code = main(
        [
            "import-cnwl",
            str(tmp_path / "a.zip"),
            "--images",
            str(tmp_path),
            "--output",
            str(tmp_path / "lists"),
        ]
    )
    assert code == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["gs://x/a.zip"], ["A", "--dataset", "imagenet"]])
def test_bad_usage_is_exit_code_2(tmp_path, arguments):
    command = ["import-cnwl", *arguments, "--images", str(tmp_path), "--output", str(tmp_path / "o")]
    try:
        code = main(command)
    except SystemExit as stop:
        code = stop.code
    assert code == 2


def test_ids_that_are_paths_never_become_files(imported, tmp_path):
    item = {"image/uri": "https://x.example/", "image/id": "../../etc/passwd", "image/class/label": 0,
            "image/class/label/is_clean": 0}  # fmt: skip
    release.write_images(release.released(), tmp_path / "images")
    code, _ = imported({ANNOTATIONS: json.dumps({"data": [[item]]}).encode(), SPLIT: b"../x.jpg 0"})
    assert code == 0
    written = (tmp_path / "lists" / "problems.csv").read_text()
    assert "malformed_annotation" in written
    assert "malformed_line" in written


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_data_of_any_compression_are_named(tmp_path, compression):
    data = np.random.default_rng(0).bytes(2000)
    for name, read in (
        ("a.npz", lambda path: read_choices(str(path))),
        ("m.npz", lambda path: MentorNetPD.load(path, torch.device("cpu"))),
        ("r.zip", lambda path: read_release(str(path), "mini-imagenet", problems.Problems())),
    ):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", compression) as file:
            for member in (
                "random_label1.npy",
                *(f"{shape}.npy" for shape in SHAPES),
                ANNOTATIONS,
                "mini-imagenet/class_names.txt",
            ):
                file.writestr(member, data)
        damaged = bytearray(path.read_bytes())
        for header in re.finditer(rb"PK\x03\x04", bytes(damaged)):
            start = header.end() + 60
            damaged[start : start + 400] = bytes(400)
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=re.escape(str(path))):
            read(path)
