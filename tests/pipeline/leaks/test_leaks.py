"""The verb `leaks`: collections in all forms, rejections, the cache, and pairs as the search finds them."""

import csv
import errno
import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from common.errors import DataError
from pipeline.__main__ import main
from pipeline.embed import loading
from pipeline.leaks import collect
from pipeline.leaks.inputs import read_images
from pipeline.retrieve import search
from tests.pipeline.dedupe.samples import photograph


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return A and B: B has photographs 0 to 3; A has 2 mirrored, 3 saved again, 3 itself, others, and a broken file."""
    top = tmp_path_factory.mktemp("leaks")
    train, test = top / "A", top / "B"
    for folder in (train / "deep", test):
        folder.mkdir(parents=True)
    for i in range(4):
        (test / f"{i}.jpg").write_bytes(encoded(photograph(i)))
    (train / "mirror.jpg").write_bytes(encoded(ImageOps.mirror(photograph(2))))
    (train / "deep" / "again.png").write_bytes(encoded(photograph(3).resize((150, 150))))
    (train / "same.jpg").write_bytes(encoded(photograph(3)))
    for i in range(4, 9):
        (train / f"{i}.jpg").write_bytes(encoded(photograph(i)))
    (train / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    os.symlink("/etc/hostname", train / "link.jpg")
    return train, test


EXPECTED = {
    ("mirror.jpg", "2.jpg", "mirrored"),
    ("deep/again.png", "3.jpg", "none"),
    ("same.jpg", "3.jpg", "none"),
}


def leaks(capsys: pytest.CaptureFixture, *arguments: object) -> dict:
    capsys.readouterr()
    assert main(["leaks", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_pairs_and_rejections_are_written_together(folders, tmp_path, monkeypatch, capsys):
    """Pairs without rejections would be in the way of the next try, which may take hours."""
    write_rows = search.write_rows

    def disk_full(file, rows, path, columns):
        if "rejected" in path:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_rows(file, rows, path, columns)

    flags = ["--output", tmp_path / "pairs.csv", "--rejected", tmp_path / "rejected.csv"]
    monkeypatch.setattr(search, "write_rows", disk_full)
    assert main(["leaks", *map(str, folders), *map(str, flags)]) == 1
    assert "No space left" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    leaks(capsys, *folders, *flags)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.csv", "rejected.csv"]


def test_copies_are_found_and_broken_files_are_rejected_with_a_code(folders, tmp_path, capsys):
    train, test = folders
    output, rejected = tmp_path / "pairs.csv", tmp_path / "rejected.csv"
    counts = leaks(capsys, train, test, "--output", output, "--rejected", rejected)
    with output.open() as file:
        pairs = {(row["train_id"], row["test_id"], row["orientation"]) for row in csv.DictReader(file)}
    assert pairs == EXPECTED
    assert (counts["train_images"], counts["test_images"], counts["pairs"]) == (8, 4, 3)
    assert (counts["leaked_train_images"], counts["leaked_test_images"]) == (3, 2)
    assert sum(counts["rejected"]["A"].values()) == 1
    assert "broken.jpg" in rejected.read_text()
    assert "crops, borders and rotated copies were not looked for" in counts["search"]


def test_a_second_run_decodes_only_new_images_and_finds_the_same(folders, tmp_path, capsys):
    train, test = folders
    cache = tmp_path / "prints.parquet"
    outputs = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    first = leaks(capsys, train, test, "--cache", cache, "--output", outputs[0])
    written = cache.read_bytes()
    second = leaks(capsys, train, test, "--cache", cache, "--output", outputs[1])
    assert (first["decoded"], second["decoded"]) == (
        12,
        1,
    )  # 11 different images; the broken one is tried again
    assert pq.read_table(outputs[0]) == pq.read_table(outputs[1])
    assert pq.read_table(cache).equals(pq.read_table(pa.BufferReader(written)))
    cache.write_bytes(b"not Parquet")
    assert main(["leaks", str(train), str(test), "--cache", str(cache)]) == 1
    assert "not a cache of `leaks`" in capsys.readouterr().err


def test_a_folder_parquet_files_and_a_saved_dataset_hold_the_same_images(folders, tmp_path):
    datasets = pytest.importorskip("datasets")
    _, test = folders
    data = [(test / f"{i}.jpg").read_bytes() for i in range(4)]
    structs = pa.array([{"bytes": each, "path": "x"} for each in data])
    pq.write_table(pa.table({"image": structs, "image_id": list("abcd")}), tmp_path / "train-0.parquet")
    pq.write_table(pa.table({"n": [1, 2, 3, 4], "jpeg": data}), tmp_path / "plain.parquet")
    rows = {"image": [{"bytes": each, "path": None} for each in data]}
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "set").mkdir()
    os.rename(tmp_path / "train-0.parquet", tmp_path / "set" / "train-0.parquet")
    for path in (test, tmp_path / "set", tmp_path / "plain.parquet", tmp_path / "saved"):
        assert [each.data for each in read_images(str(path))] == data
    assert [each.image_id for each in read_images(str(tmp_path / "set"))] == list("abcd")


@pytest.mark.parametrize("binary", [pa.binary(), pa.large_binary(), pa.binary_view()])
@pytest.mark.parametrize(
    "ids",
    [
        pa.array(["7", "8", None], pa.large_string()),  # of pandas 3
        pa.array(["7", "8", None], pa.string_view()),  # of polars
        pa.array(["7", "8", None]).dictionary_encode(),
        pa.array([7, 8, None], pa.int64()),
    ],
    ids=lambda ids: str(ids.type),
)
def test_ids_and_images_are_read_in_the_types_of_other_libraries(tmp_path, ids, binary):
    images = pa.array([b"a", b"b", b"c"], binary)
    pq.write_table(pa.table({"image": images, "image_id": ids}), tmp_path / "x.parquet")
    found = [(each.image_id, each.data) for each in read_images(str(tmp_path / "x.parquet"))]
    assert found == [("7", b"a"), ("8", b"b"), ("x.parquet:3", b"c")]


def test_what_is_no_collection_of_images_is_named(tmp_path):
    pq.write_table(pa.table({"n": [1]}), tmp_path / "numbers.parquet")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("numbers.parquet", "no column of encoded images"),
        ("empty", "no images in it"),
        ("missing", "no such file or folder"),
    ):
        with pytest.raises(DataError, match=message):
            list(read_images(str(tmp_path / name)))


def test_images_beside_a_parquet_file_are_not_left_out(folders, tmp_path, capsys):
    """A cache within the folder of the images would otherwise be the whole collection of the next run."""
    (tmp_path / "A" / "ant").mkdir(parents=True)
    (tmp_path / "A" / "ant" / "1.jpg").write_bytes((folders[1] / "1.jpg").read_bytes())
    arguments = ["leaks", str(tmp_path / "A"), str(folders[1])]
    cache = ["--cache", str(tmp_path / "A" / "prints.parquet")]
    assert leaks(capsys, *arguments[1:], *cache)["pairs"] == 1
    assert main([*arguments, *cache]) == 2
    message = "A: has image files beside prints.parquet; move the Parquet files to another folder"
    assert message in capsys.readouterr().err


def test_an_image_with_the_name_of_a_parquet_file_is_an_unreadable_parquet_file(folders, tmp_path, capsys):
    """It is not beside itself."""
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "1.parquet").write_bytes((folders[1] / "1.jpg").read_bytes())
    assert main(["leaks", str(tmp_path / "A"), str(folders[1])]) == 1
    assert "1.parquet: cannot be read as Parquet" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [("--output", "--rejected"), ("--output", "--cache")])
def test_two_files_of_one_name_are_refused(folders, tmp_path, capsys, flags):
    (tmp_path / "link").symlink_to(tmp_path)
    paths = [str(tmp_path / "x.parquet"), str(tmp_path / "link" / "x.parquet")]
    assert main(["leaks", *map(str, folders), flags[0], paths[0], flags[1], paths[1]]) == 2
    assert f"{flags[1]} {paths[1]}: the same file as --output; choose another name" in capsys.readouterr().err
    assert not (tmp_path / "x.parquet").exists()


def test_few_large_images_are_held_at_once(folders, monkeypatch, capsys):
    held = []
    monkeypatch.setattr(collect, "BYTES_AT_ONCE", 20_000)
    real = collect._add
    monkeypatch.setattr(collect, "_add", lambda batch, *rest: held.append(len(batch)) or real(batch, *rest))
    size = min(os.path.getsize(folders[1] / f"{i}.jpg") for i in range(4))
    counts = leaks(capsys, *folders)
    assert (counts["train_images"], counts["test_images"], counts["pairs"]) == (8, 4, 3)
    assert (sum(held), max(held)) == (13, max(1, -(-20_000 // size)))


def test_weights_and_network_belong_together(folders, capsys):
    train, test = folders
    assert main(["leaks", str(train), str(test), "--network", "x"]) == 2
    assert "--weights and --network belong together" in capsys.readouterr().err


def test_altered_copies_are_found_with_a_network(tmp_path, capsys, monkeypatch):
    pytest.importorskip("timm")
    from tests.pipeline.embed.conftest import NETWORK, save_weights

    weights = tmp_path / "tiny.safetensors"
    save_weights(weights)
    for name in ("A", "B"):
        (tmp_path / name).mkdir()
        for i in range(4):
            image = photograph(i) if name == "B" else ImageOps.expand(photograph(i), 9, "white")
            image.save(tmp_path / name / f"{i}.png")
    arguments = [
        tmp_path / "A", tmp_path / "B", "--network", NETWORK, "--weights", weights, "--cache", tmp_path / "c.parquet",
        "--set", "min_similarity=-1", "--set", "neighbors=4",
    ]  # fmt: skip
    counts = leaks(capsys, *arguments, "--output", tmp_path / "pairs.parquet")
    pairs = pq.read_table(tmp_path / "pairs.parquet").to_pylist()
    assert {(row["train_id"], row["test_id"]) for row in pairs} == {
        (f"{i}.png", f"{i}.png") for i in range(4)
    }
    assert "embedding" in {row["witness"] for row in pairs}
    assert "features of" in counts["search"]
    assert leaks(capsys, *arguments)["decoded"] == 0
    installed = loading.version
    monkeypatch.setattr(loading, "version", lambda name: "0.0" if name == "torch" else installed(name))
    assert leaks(capsys, *arguments)["decoded"] == 8


@pytest.mark.parametrize(
    ("images", "ids", "message"),
    [
        (pa.array([b"x", b"y"]), pa.array([b"a", b"\xff"]).view(pa.string()), "cannot be read as Parquet"),
        (pa.array([{"bytes": {"bytes": b"x"}}] * 2), pa.array(["a", "b"]), "no column of encoded images"),
    ],
)
def test_a_parquet_file_that_only_seems_to_hold_images_is_named(tmp_path, images, ids, message):
    pq.write_table(pa.table({"image": images, "image_id": ids}), tmp_path / "images.parquet")
    with pytest.raises(DataError, match=rf"images\.parquet: {message}"):
        list(read_images(str(tmp_path / "images.parquet")))


def test_a_parquet_file_with_a_column_name_that_is_not_utf8_is_named(tmp_path):
    file = tmp_path / "images.parquet"
    pq.write_table(pa.table({"image": [b"x"], "image_id": ["a"]}), file)
    file.write_bytes(file.read_bytes().replace(b"image_id", b"image\xffid"))
    with pytest.raises(DataError, match=r"images\.parquet: cannot be read as Parquet"):
        list(read_images(str(file)))


def test_the_files_that_a_saved_dataset_names_are_read_or_rejected(folders, tmp_path):
    """`save_to_disk` of today stores all bytes, that of earlier versions the paths of files."""
    datasets = pytest.importorskip("datasets")
    good, saved = folders[1] / "0.jpg", tmp_path / "saved"
    rows = [{"bytes": None, "path": str(path)} for path in (good, "/proc/self/mem", "/none")]
    fields = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    datasets.Dataset.from_dict({"image": rows}, features=datasets.Features({"image": fields})).save_to_disk(
        saved
    )
    info = json.loads((saved / "dataset_info.json").read_text())
    info["features"] = {"image": {"_type": "Image"}}
    (saved / "dataset_info.json").write_text(json.dumps(info))
    first, unreadable, missing = read_images(str(saved))
    assert first.data == good.read_bytes()
    assert [each.rejection.code for each in (unreadable, missing)] == ["unreadable_file", "empty"]
