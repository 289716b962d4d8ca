"""Exports are opened by the tools that they are for: the real webdataset, torchvision's ImageFolder, tarfile."""

import hashlib
import json
import shutil
import tarfile

import pandas as pd
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from common.atomic_file import TEMPORARY_PREFIX
from pipeline import files
from pipeline.__main__ import main
from pipeline.shards.export import safe_name
from tests.pipeline.dataset_forgery import replaced, rewrite
from tests.pipeline.small_world import build


@pytest.fixture(scope="module")
def shared(world, tmp_path_factory):
    output = tmp_path_factory.mktemp("shared-export") / "out"
    quick = ("--set", "noise.levels=[0.2]", "--set", "noise.colors=[red]", "--set", "shards.mode=shared")
    assert build(world, output, *quick) == 0
    return output / "dataset"


def export(dataset, output, kind, split="red-0.20", *more):
    return main(
        ["export", str(dataset), "--set-name", split, "--format", kind, "--output", str(output), *more]
    )


def stored(dataset, split):
    tables = [parquet.read_table(path) for path in sorted((dataset / split).glob("*.parquet"))]
    return {row["image_id"]: row for row in pa.concat_tables(tables).to_pylist()}


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_the_webdataset_library_reads_every_example(built, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    assert export(built / "dataset", tmp_path / "wds", "webdataset") == 0
    tars = sorted(str(path) for path in (tmp_path / "wds").glob("*.tar"))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil"))
    rows = stored(built / "dataset", "red-0.20")
    assert {sample["json"]["image_id"] for sample in samples} == rows.keys()
    assert len(samples) == len(rows)
    for sample in samples:
        row = rows[sample["json"]["image_id"]]
        assert sample["cls"] == row["label"]
        assert sample["png"].size == (32, 32)
        assert {k: v for k, v in row.items() if k != "image"}.items() <= sample["json"].items()


def test_tar_members_have_no_clock_owner_or_machine_in_them(built, tmp_path):
    assert export(built / "dataset", tmp_path / "wds", "webdataset") == 0
    first = next(iter(sorted((tmp_path / "wds").glob("*.tar"))))
    with tarfile.open(first) as tar:
        kinds = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar.getmembers()}
    assert kinds == {(0, 0, 0, "", "", 0o644)}


@pytest.mark.parametrize("kind", ["webdataset", "folder"])
def test_two_exports_are_the_same_bytes_and_a_shared_dataset_has_the_same_pictures(
    built, shared, tmp_path, kind
):
    for name, dataset in (("one", built / "dataset"), ("two", built / "dataset"), ("shared", shared)):
        assert export(dataset, tmp_path / name, kind) == 0
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    if kind == "folder":
        one, other = digests(tmp_path / "one"), digests(tmp_path / "shared")
        assert {n: d for n, d in one.items() if n.endswith("png")} == {
            n: d for n, d in other.items() if n.endswith("png")
        }


def test_torchvision_opens_the_folder_and_the_table_beside_it_has_the_other_columns(built, tmp_path):
    ImageFolder = pytest.importorskip("torchvision.datasets").ImageFolder
    assert export(built / "dataset", tmp_path / "folder", "folder") == 0
    opened = ImageFolder(str(tmp_path / "folder"))
    rows = stored(built / "dataset", "red-0.20")
    assert len(opened) == len(rows)
    assert opened.classes == ["ant", "bee", "cow"]
    table = pd.read_csv(tmp_path / "folder" / "examples.csv").set_index("path")
    for path, label in opened.samples:
        facts = table.loc[str(path).removeprefix(f"{tmp_path}/folder/")]
        assert facts["class_name"] == opened.classes[label]
        assert facts["is_clean"] == rows[facts["image_id"]]["is_clean"]


def test_the_test_set_is_exported_too_and_printed_as_json(built, tmp_path, capsys):
    assert export(built / "dataset", tmp_path / "t", "webdataset", "test", "--json") == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["rows"] == 18
    assert json.loads((tmp_path / "t" / "export.json").read_text()) == reported


@pytest.mark.parametrize("kind", ["webdataset", "folder"])
def test_an_interrupted_export_goes_on_and_no_other_one_takes_its_folder(
    built, tmp_path, kind, monkeypatch, capsys
):
    assert export(built / "dataset", tmp_path / "whole", kind) == 0
    replaced, replace = 0, files.replace

    def interrupted(path):
        nonlocal replaced
        replaced += 1
        if replaced == stop:
            raise KeyboardInterrupt
        return replace(path)

    monkeypatch.setattr(files, "replace", interrupted)
    for stop in (1, 2, 5):
        replaced, output = 0, tmp_path / f"after {stop}"
        assert export(built / "dataset", output, kind) == 130
        assert output.exists() == (stop > 1)
        (tmp_path / f"after {stop}").mkdir(exist_ok=True)
        (output / f"{TEMPORARY_PREFIX}killed").touch()
        if stop > 1:
            assert export(built / "dataset", output, kind, "test") == 2
            assert "the folder is not empty" in capsys.readouterr().err
        assert export(built / "dataset", output, kind) == 0
        assert digests(output) == digests(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["webdataset", "folder"])
def test_an_interrupted_export_to_a_bucket_goes_on_and_is_not_mixed_with_another(
    built, tmp_path, bucket, kind, monkeypatch, capsys
):
    """Images of the first set in the folders of the second would be in its classes."""
    assert export(built / "dataset", tmp_path / "whole", kind) == 0
    whole = {str(path.relative_to(tmp_path / "whole")) for path in (tmp_path / "whole").rglob("*.*")}
    for stop in (1, 2, 3):
        replaced, output = [0], f"{bucket}/after {stop}"

        def interrupted(path, replace=files.replace, replaced=replaced, stop=stop):
            replaced[0] += 1
            if replaced[0] == stop:
                raise KeyboardInterrupt
            return replace(path)

        with monkeypatch.context() as patch:
            patch.setattr(files, "replace", interrupted)
            assert export(built / "dataset", output, kind) == 130
        # before that, there is nothing to continue with
        if stop > 2:
            assert export(built / "dataset", output, kind, "test") == 2
            assert "the folder is not empty" in capsys.readouterr().err
        assert export(built / "dataset", output, kind) == 0
        stored = {name.partition(f"/after {stop}/")[2] for name in MemoryFileSystem.store}
        assert stored - {""} == whole
        assert export(built / "dataset", output, kind) == 2


def test_what_cannot_be_exported_is_reported(dataset, tmp_path, capsys):
    assert export(dataset, tmp_path / "x", "folder", "red-0.21") == 2
    assert "has blue-0.00" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    assert export(dataset, tmp_path / "full", "folder") == 2
    assert "the folder is not empty" in capsys.readouterr().err
    shard = next((dataset / "red-0.20").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert export(dataset, tmp_path / "y", "webdataset") == 1
    assert shard.name in capsys.readouterr().err
    assert not (tmp_path / "y" / "export.json").exists()


@pytest.mark.parametrize("kind", ["webdataset", "folder"])
def test_a_changed_image_of_a_shared_dataset_is_not_exported(shared, tmp_path, kind, capsys):
    dataset = tmp_path / "dataset"
    shutil.copytree(shared, dataset)
    for shard in (dataset / "images").glob("*.parquet"):
        image = parquet.read_table(shard)["image"][0].as_py()["bytes"]
        data = bytearray(shard.read_bytes())
        data[data.find(image) + len(image) // 2] ^= 1
        shard.write_bytes(data)
    assert export(dataset, tmp_path / "x", kind) == 1
    assert "its bytes differ from those that were written" in capsys.readouterr().err
    assert not (tmp_path / "x" / "export.json").exists()


def altered(name, value):
    def change(table):
        values = table[name].to_pylist()
        values[0] = value
        return replaced(table, name, values)

    return change


@pytest.mark.parametrize("kind", ["webdataset", "folder"])
@pytest.mark.parametrize(
    ("change", "reported"),
    [
        (altered("label", -1), "labels range from -1 to 2, but the set has 3 classes"),
        (altered("label", 3), "labels range from 0 to 3, but the set has 3 classes"),
        (altered("label", None), "label is missing in some rows"),
        (altered("is_clean", None), "is_clean is missing in some rows"),
        (altered("image_id", None), "image_id is missing in some rows"),
        (altered("image", {"bytes": None, "path": None}), "is not a JPEG, PNG or WebP file"),
        (altered("image", {"bytes": b"GIF89a", "path": None}), "is not a JPEG, PNG or WebP file"),
        (lambda table: table.drop_columns(["source"]), "its columns are not those of this table"),
        (lambda table: table.set_column(1, "label", table["label"].cast("string")), "its columns are not"),
    ],
)
def test_altered_rows_are_reported_and_not_exported(dataset, tmp_path, capsys, kind, change, reported):
    rewrite(dataset, "red-0.20", change)
    assert export(dataset, tmp_path / "x", kind) == 1
    assert reported in capsys.readouterr().err
    assert not (tmp_path / "x" / "export.json").exists()


def test_no_file_of_an_example_is_replaced_by_that_of_another(dataset, tmp_path, capsys):
    rewrite(dataset, "red-0.20", lambda table: replaced(table, "image_id", ["same"] * table.num_rows))
    assert export(dataset, tmp_path / "x", "folder") == 1
    assert "two examples would be this file" in capsys.readouterr().err


def rename_second_class(dataset, other):
    path = dataset / "red-0.20" / "_manifest.json"
    manifest = json.loads(path.read_text())
    manifest["about"]["class_names"][1] = manifest["about"]["classes"][1]["class"] = other
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(("other", "ignores_case"), [("ant", False), ("ANT", True)])
def test_no_two_classes_are_exported_to_one_folder(
    dataset, tmp_path, capsys, monkeypatch, other, ignores_case
):
    if ignores_case:
        monkeypatch.setattr("pipeline.shards.export.UNFINISHED", ".")  # a name that exists in upper case
    rename_second_class(dataset, other)
    assert export(dataset, tmp_path / "x", "folder") == 1
    assert f"the classes 'ant' and {other!r} would have one folder" in capsys.readouterr().err


def test_classes_that_differ_in_case_are_exported_where_their_folders_do(dataset, tmp_path):
    (tmp_path / "probe").touch()
    if (tmp_path / "PROBE").exists():
        pytest.skip("this file system ignores case")
    rename_second_class(dataset, "ANT")
    assert export(dataset, tmp_path / "x", "folder") == 0
    assert {"ant", "ANT"} <= {path.name for path in (tmp_path / "x").iterdir()}


@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80))
def test_names_are_safe_short_and_distinct(one, other):
    names = [safe_name(text) for text in (one, other)]
    for name in names:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-%")
        assert 0 < len(name) <= 170
    assert (names[0] == names[1]) == (one == other)


def test_a_name_with_dots_and_slashes_is_one_key():
    assert safe_name("a.b/c~é") == "a%2Eb%2Fc%7E%C3%A9"
