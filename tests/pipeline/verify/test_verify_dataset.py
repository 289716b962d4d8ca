"""verify: sets against their names and each other, what lies in the folder, and values that nothing can rely on."""

import hashlib
import io
import json
import math
import shutil
import weakref

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import compute as pc
from pyarrow.parquet import read_table, write_table

from common.errors import DataError
from pipeline.__main__ import main
from pipeline.ingest.normalize import decode_stored
from pipeline.keyed_hash import shard_key
from pipeline.shards.export import export
from pipeline.shards.packing import unpack
from pipeline.verify import batches, images
from pipeline.verify.dataset import verify
from pipeline.verify.leaks import read_near
from pipeline.verify.plan import plan_verification
from tests.pipeline.dataset_forgery import agree, problems, replaced, rewrite


def change(path, edit):
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def change_set(dataset, name, **about):
    """Change what the manifest of a set says, and the root manifest with it, as a careful forger would."""
    change(dataset / name / "_manifest.json", lambda manifest: manifest["about"].update(about))
    agree(dataset, name)


def change_root(dataset, edit):
    change(dataset / "_manifest.json", lambda manifest: edit(manifest["about"]))


@pytest.mark.parametrize("pair", [("red-0.20", "red-0.50"), ("red-0.20", "blue-0.20"), ("red-0.00", "test")])
@pytest.mark.parametrize("careful", [False, True])
def test_exchanged_folders_are_reported(dataset, pair, careful):
    first, second = (dataset / name for name in pair)
    first.rename(dataset / "third")
    second.rename(first)
    (dataset / "third").rename(second)
    if careful:
        for name in pair:
            agree(dataset, name)
    text = problems(dataset)
    assert (
        f"{pair[0]}: the folder holds the set '{pair[1]}'" in text
        or f"{pair[0]}: _manifest.json has missing or invalid values" in text
    )
    assert ("was changed" in text) == (not careful)


@pytest.mark.parametrize("change_of", [{"noise_level": 0.5}, {"color": "blue"}, {"trial": 1}])
def test_a_set_whose_manifest_is_that_of_another_name_is_reported(dataset, change_of):
    change_set(dataset, "red-0.20", **change_of)
    text = problems(dataset)
    assert "red-0.20: color, noise level and trial in its manifest are those of" in text
    key, value = next(iter(change_of.items()))
    assert f"red-0.20: {key} is {value!r} in its manifest and" in text


@pytest.mark.parametrize(
    "name", ["../outside", "..", ".", "", "/outside", "a/b", "a\\b", "red-0.20/../red-0.20"]
)
def test_sets_outside_of_the_dataset_are_not_read(dataset, name, tmp_path):
    shutil.copytree(dataset / "red-0.20", dataset.parent / "outside")
    change_root(dataset, lambda about: about["sets"].update({name: about["sets"]["red-0.20"]}))
    with pytest.raises(DataError, match="is a path out of the dataset"):
        verify(str(dataset))
    with pytest.raises(DataError, match="is a path out of the dataset"):
        export(str(dataset), name, "folder", str(tmp_path / "exported"))


@pytest.mark.parametrize("file", ["README.md", "croissant.json"])
def test_a_changed_or_missing_card_is_reported(dataset, file):
    (dataset / file).write_bytes((dataset / file).read_bytes() + b" ")
    assert f"{file}: changed since the dataset was built" in problems(dataset)
    (dataset / file).unlink()
    assert f"{file}: no such file" in problems(dataset)
    change_root(dataset, lambda about: about.update(files=None))
    assert f"has no digest of {file}" in problems(dataset)


def test_what_the_manifests_do_not_name_is_reported(dataset):
    shutil.copytree(dataset / "red-0.20", dataset / "red-0.30")
    (dataset / "notes.txt").write_text("")
    (dataset / "red-0.20" / "more").mkdir()
    (dataset / ".DS_Store").write_text("")
    (dataset / "red-0.20" / ".DS_Store").write_text("")
    assert [problem.partition(";")[0] for problem in verify(str(dataset)).problems] == [
        f"{dataset}/notes.txt: not part of the dataset (not in its manifest)",
        f"{dataset}/red-0.30: not part of the dataset (not in its manifest)",
        "red-0.20: more is not part of this set, but readers of the folder may load it",
    ]


def test_what_verify_prints_cannot_be_forged_by_names(dataset, capsys):
    evil = "x\x1b[2J\rok: \nok: 13 sets\x9b2K"
    (dataset / evil).write_text("")
    (dataset / "test" / evil).write_text("")
    change_set(dataset, "red-0.20", color=evil, set_name=evil)
    change_root(dataset, lambda about: about["leaks"].update({evil: 1}))
    assert main(["verify", str(dataset)]) == 1
    printed = capsys.readouterr()
    assert (printed.out + printed.err).replace("\n", "").isprintable()
    assert not any(line.startswith("ok") for line in (printed.out + printed.err).split("\n"))


def test_a_picture_of_another_size_is_reported(dataset):
    def enlarge(table):
        rows = table.to_pylist()
        buffer = io.BytesIO()
        Image.open(io.BytesIO(rows[0]["image"]["bytes"])).resize((48, 40)).save(buffer, "PNG")
        rows[0]["image"]["bytes"] = buffer.getvalue()
        return pa.Table.from_pylist(rows, table.schema)

    rewrite(dataset, "test", enlarge)
    assert "images that are 48×40 instead of 32×32" in problems(dataset)


def rewrite_files(dataset, name, change=lambda table: table, **options):
    """Change the rows of a set, or the options of Parquet with which they are written; the names of the shards stay."""
    path = dataset / name / "_manifest.json"
    manifest = json.loads(path.read_text())
    for shard in manifest["shards"]:
        file = dataset / name / shard["file"]
        write_table(change(read_table(file)), file, **options)
        shard["bytes"], shard["sha256"] = file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest()
    path.write_text(json.dumps(manifest))
    agree(dataset, name)


def test_a_value_that_is_stored_once_for_many_rows_is_read_in_small_batches(dataset, monkeypatch):
    def repeat(table):
        images = table["image"].to_pylist()
        return replaced(table, "image", [{**image, "bytes": images[0]["bytes"]} for image in images])

    rewrite(dataset, "test", repeat)
    rewrite_files(dataset, "test", compression="none", use_dictionary=True)
    monkeypatch.setattr(batches, "BYTES_AT_ONCE", 20_000)
    sizes = []
    for file in (dataset / "test").glob("*.parquet"):
        sizes += [pc.sum(pc.binary_length(pc.struct_field(table["image"], "bytes"))).as_py()
                  for table in batches.batches(str(file))]  # fmt: skip
    assert len(sizes) > len(list((dataset / "test").glob("*.parquet")))
    assert max(sizes) <= 20_000


def test_images_that_are_compressed_again_are_reported(dataset):
    rewrite_files(dataset, "test", compression="zstd")
    assert "cannot be read (its images are compressed a second time" in problems(dataset)


def test_the_decoded_images_of_a_batch_are_not_held_together(dataset, monkeypatch):
    decoded, alive = [], []

    def decode(data):
        image = decode_stored(data)
        decoded.append(weakref.ref(image))
        alive.append(sum(reference() is not None for reference in decoded))
        return image

    monkeypatch.setattr(images, "decode_stored", decode)
    assert problems(dataset) == ""
    assert 1 <= max(alive) <= 2


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("test", {"seed": 1}),
        ("red-0.20", {"image_settings": {"resize": "crop", "size": 1}}),
        ("blue-0.20", {"nested": False}),
        ("blue-0.20", {"blue_size": "all"}),
        ("blue-0.20", {"on_shortage": "cap"}),
    ],
)
def test_sets_of_two_datasets_are_reported(dataset, name, about):
    change_set(dataset, name, **about)
    [key] = about
    assert f"{key} differs from that of" in problems(dataset)


def test_a_set_of_other_clean_images_is_reported(dataset):
    rewrite(dataset, "red-0.00", lambda table: table.slice(1))
    text = problems(dataset)
    assert "is not made of the clean images of" in text
    assert "(4, for example clean-ant-13)" in text


def test_training_examples_in_the_test_set_and_the_other_way_round_are_reported(dataset):
    rewrite(dataset, "test", lambda table: replaced(table, "source", ["clean"] * table.num_rows))
    rewrite(dataset, "red-0.00", lambda table: replaced(table, "source", ["test"] * table.num_rows))
    text = problems(dataset)
    assert "test: rows that are not right examples of the test lists (18" in text
    assert "red-0.00: rows from the test lists in a training set (60" in text


def test_colors_that_hit_other_clean_images_are_reported_for_every_kind_of_noise(dataset):
    def move(table):
        """Exchange one wrong and one right example of a class."""
        rows = table.to_pylist()
        wrong = next(row for row in rows if not row["is_clean"])
        right = next(row for row in rows if row["is_clean"] and row["label"] == wrong["label"])
        wrong["replaced_image_id"], kept = right["image_id"], wrong["replaced_image_id"]
        right["image_id"] = kept
        return pa.Table.from_pylist(rows, table.schema)

    rewrite(dataset, "red-text-0.50", move)
    assert "red-0.50 and red-text-0.50 do not replace or relabel the same clean images" in problems(dataset)


def test_two_examples_in_the_place_of_one_are_reported(dataset):
    def repeat(table):
        rows = table.to_pylist()
        first, second = [row for row in rows if not row["is_clean"]][:2]
        second["replaced_image_id"] = first["replaced_image_id"]
        return pa.Table.from_pylist(rows, table.schema)

    rewrite(dataset, "red-0.50", repeat)
    assert (
        "red-0.50: rows that replace or relabel a clean image that another row of the set uses (4)"
        in problems(dataset)
    )


def not_utf8(table, column):
    values = pa.array([b"\xff\xfe"] * table.num_rows, pa.binary()).view(pa.string())
    return table.set_column(table.schema.get_field_index(column), table.schema.field(column), values)


@pytest.mark.parametrize("column", ["image_id", "source", "url", "replaced_image_id"])
def test_text_that_is_not_utf8_is_an_error_and_no_traceback(dataset, column):
    rewrite(dataset, "red-0.20", lambda table: not_utf8(table, column))
    assert "cannot be read" in problems(dataset)
    with pytest.raises(DataError, match="cannot be read as a table of this version"):
        export(str(dataset), "red-0.20", "folder", str(dataset.parent / "exported"))


def test_the_search_for_leaks_leaves_out_shards_with_ids_that_are_not_utf8(dataset):
    ids = read_table(dataset / "red-0.20")["image_id"].to_pylist()
    rewrite(dataset, "red-0.20", lambda table: not_utf8(table, "image_id"))
    plan, buckets = plan_verification(str(dataset))
    found = [rows for each in buckets if (rows := read_near(each, plan, np.sort(shard_key(ids))))]
    assert found  # the images of other sets
    for rows in found:
        assert set(unpack(rows)["image_id"].to_pylist()) <= set(ids)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.select([]),
        lambda table: table.drop_columns(["image_id"]),
        lambda table: table.drop_columns(["source"]),
        lambda table: table.drop_columns(["image"]),
        lambda table: replaced(table, "image_id", [None] * table.num_rows),
        lambda table: table.drop_columns(["image"]).append_column("image", table["image_id"]),
    ],
)
def test_the_search_for_leaks_leaves_out_shards_with_other_columns(dataset, change):
    ids = read_table(dataset / "red-0.20")["image_id"].to_pylist()
    rewrite_files(dataset, "red-0.20", change)
    plan, buckets = plan_verification(str(dataset))
    assert [rows for each in buckets if (rows := read_near(each, plan, np.sort(shard_key(ids))))]


@pytest.mark.parametrize(
    ("column", "kind"),
    [("label", pa.int32()), ("label", pa.string()), ("image_id", pa.binary()), ("is_clean", pa.int8())],
)
def test_columns_of_other_types_are_an_error_and_no_traceback(dataset, column, kind):
    def retype(table):
        return table.set_column(table.schema.get_field_index(column), column, table[column].cast(kind))

    rewrite(dataset, "red-0.20", retype)
    assert "columns or class names are not those of the example table" in problems(dataset)


BAD = [None, "", "0.2", [], {}, [None], [{}], {"a": 1}, math.nan, math.inf, -1, 1.5, True, 10**400]


# The same code reads the manifests of both sets, so some of the values are enough for the second.
@pytest.mark.parametrize(("name", "values"), [("red-0.20", BAD), ("test", BAD[::3])])
def test_no_value_of_a_manifest_is_trusted(dataset, name, values):
    """Whatever stands for a fact of a set, verify ends with problems."""
    change_root(dataset, lambda about: about.update(sets={n: about["sets"][n] for n in ("red-0.20", "test")}))
    path = dataset / name / "_manifest.json"
    before = json.loads(path.read_text())
    for key, right in before["about"].items():
        for value in values:
            if value != right:
                path.write_text(json.dumps({**before, "about": {**before["about"], key: value}}))
                assert verify(str(dataset)).problems, (key, value)


@pytest.mark.parametrize("name", ["red-0.20", "test", ""])
def test_no_key_of_a_manifest_is_needed(dataset, name):
    """Without any one of the facts of a set or of the dataset, verify ends with a result."""
    change_root(dataset, lambda about: about.update(sets={n: about["sets"][n] for n in ("red-0.20", "test")}))
    path = dataset / name / "_manifest.json"
    before = json.loads(path.read_text())
    for key in before["about"]:
        about = {other: value for other, value in before["about"].items() if other != key}
        path.write_text(json.dumps({**before, "about": about}))
        if name:
            agree(dataset, name)
        if (name, key) == ("", "sets"):
            with pytest.raises(DataError, match="lists no sets"):
                verify(str(dataset))
        else:
            verify(str(dataset))


def test_an_image_that_one_set_lacks_and_another_has_from_the_test_set_is_reported(dataset):
    names = ("blue-0.00", "red-0.00", "test")
    change_root(dataset, lambda about: about.update(sets={n: about["sets"][n] for n in names}))
    leaked = read_table(dataset / "test").slice(0, 1).to_pylist()[0]

    def give(image):
        def change_image(table):
            rows = table.to_pylist()
            for row in rows:
                if row["image_id"] == "clean-ant-0":
                    row["image"] = image
            return pa.Table.from_pylist(rows, table.schema)

        return change_image

    rewrite(dataset, "blue-0.00", give(None))
    rewrite(dataset, "red-0.00", give(leaked["image"]))
    text = problems(dataset)
    assert "image is missing in some rows" in text
    assert f"training image clean-ant-0 looks like test image {leaked['image_id']}" in text


@pytest.mark.parametrize("value", [*BAD, {"radius": 8}])
@pytest.mark.parametrize("key", ["leaks", "files"])
def test_no_value_of_the_root_manifest_is_trusted(dataset, key, value):
    change_root(dataset, lambda about: about.update({key: value}))
    if isinstance(value, float) and not math.isfinite(value):
        with pytest.raises(DataError, match="is not a number in JSON"):
            problems(dataset)
    else:
        assert problems(dataset)


def test_a_contrast_that_is_not_a_number_does_not_switch_off_the_search_for_leaks(dataset):
    change_root(dataset, lambda about: about["leaks"].update(min_contrast="nan"))
    assert "the leak rules ('leaks') are missing or invalid" in problems(dataset)
    change_root(dataset, lambda about: about["leaks"].update(min_contrast=math.nan))
    with pytest.raises(DataError, match="NaN is not a number in JSON"):
        problems(dataset)


def test_an_estimated_noise_that_is_not_the_sum_of_p_wrong_is_reported(dataset, capsys):
    name = "red-0.50"
    estimated = json.loads((dataset / name / "_manifest.json").read_text())["about"]["estimated_noise"]
    assert 0 < estimated["low"] <= estimated["value"] <= estimated["high"] <= 0.5
    assert main(["verify", str(dataset)]) == 0
    assert f"{name}: nominal 50.0 %, estimated" in capsys.readouterr().out
    forged = {**estimated, "value": round(estimated["value"] - 0.01, 4)}
    change_set(dataset, name, estimated_noise=forged)
    assert f"{name}: estimated_noise is" in problems(dataset)  # not what the root manifest says
    entry = {key: forged[key] for key in ("value", "low", "high")}
    change_root(dataset, lambda about: about["sets"][name].update(estimated_noise=entry))
    assert f"{name}: the sum of p_wrong" in problems(dataset)


def test_the_digest_and_the_leak_rules_are_printed(dataset, capsys):
    change_root(dataset, lambda about: about["leaks"].update(radius=0))
    assert main(["verify", str(dataset), "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["leak_rules"] == {
        "radius": 0, "confirm_radius": 64, "min_contrast": 2.0, "clean_leaks": "remove", "orientations": "mirrored",
        "neighbors": 5, "min_similarity": 0.5, "min_match": 0.75,
    }  # fmt: skip
    assert (
        reported["manifest_sha256"] == hashlib.sha256((dataset / "_manifest.json").read_bytes()).hexdigest()
    )
    assert main(["verify", str(dataset)]) == 0
    printed = "".join(capsys.readouterr())
    assert f"dataset manifest sha256 {reported['manifest_sha256']}" in printed
    assert "leak rules: radius 0 (default: 8), confirm_radius 64," in printed
